"""The figures an operator may want to see while it runs: the last turn's latency, pictures, synchrony."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from demo.playback import PlaybackCounts
from demo.stage import SyncSummary
from demo.trace import SessionTrace

_REFRESH_SECONDS = 0.5
_SHORT = {"stt": "recognition", "tts_first_audio": "voice", "first_sample_played": "loudspeaker"}

Rows = tuple[tuple[str, str], ...]


@dataclass
class Figures:
    """Rows of names and values, renewed twice a second: each renewal costs a drawing."""

    trace: SessionTrace
    pictures: Callable[[], tuple[int, int]]  # shown so far, and left out because they came too late
    synchrony: Callable[[], SyncSummary]  # of the turn now spoken
    sound: Callable[[], PlaybackCounts]  # of that turn
    monotonic: Callable[[], float] = time.monotonic
    _rows: Rows = ()
    _renewed: float = field(default=float("-inf"))
    _shown: int = 0

    def rows(self) -> Rows:
        """What to show now."""
        now = self.monotonic()
        if now - self._renewed >= _REFRESH_SECONDS:
            self._rows = (*self._latency(), *self._rate(now), *self._offset(), *self._lost())
        return self._rows

    def _latency(self) -> Rows:
        spans = self.trace.turns[-1].spans_ms if self.trace.turns else {}
        total = spans.get("voice_to_voice")
        parts = tuple((f"· {_words(name)}", _ms(value)) for name, value in spans.items() if name != "voice_to_voice")
        return (("voice to voice", "–" if total is None else _ms(total)), *parts)

    def _rate(self, now: float) -> Rows:
        shown = self.pictures()[0]
        rate = (shown - self._shown) / (now - self._renewed)
        first = self._renewed == float("-inf")
        self._renewed, self._shown = now, shown
        return (("pictures/s", "–" if first else f"{rate:.1f}"),)

    def _offset(self) -> Rows:
        last = self.trace.turns[-1].av_offset_ms if self.trace.turns else {}
        values = self.synchrony().as_trace() or last
        if not values:
            return (("A/V offset", "–"),)
        return ("A/V offset", f"{values['p50']:+.0f} ms"), ("· 5 … 95 %", f"{values['p5']:+.0f} … {values['p95']:+.0f}")

    def _lost(self) -> Rows:
        return ("late pictures", str(self.pictures()[1])), ("late sound", str(self.sound().underruns))


def _words(name: str) -> str:
    return _SHORT.get(name, name.removeprefix("llm_")).replace("_", " ")


def _ms(value: float) -> str:
    return f"{value:.0f} ms"
