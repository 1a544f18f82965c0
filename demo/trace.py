"""What a session measured: latency spans and synchrony of every turn, as a JSON report.

The spans of a turn are consecutive, so they add up to ``voice_to_voice``:

    true last speech sample ─endpoint▶ end decided ─stt▶ text known ─llm_first_token▶ ─llm_first_sentence▶
    ─tts_first_audio▶ ─first_frame▶ first frame sent ─first_sample_played▶ first audible sample leaves the speaker

Only what is waited for counts: a step that an answer begun in secret took before the text was known takes no time.
"""

import dataclasses
import itertools
import json
import logging
import sys
from dataclasses import dataclass, field
from pathlib import Path

from streamingtalker.errors import UserError

log = logging.getLogger(__name__)

SPANS = (
    "endpoint",
    "stt",
    "llm_first_token",
    "llm_first_sentence",
    "tts_first_audio",
    "first_frame",
    "first_sample_played",
)


class TraceError(UserError):
    """A report that cannot be written."""


@dataclass
class TurnTrace:
    """One turn; times in milliseconds unless the name says otherwise."""

    turn: int
    transcript: str = ""
    reply: str = ""
    audio_seconds: float = 0.0
    frames_generated: int = 0
    frames_rendered: int = 0
    frames_late: int = 0
    generation_speed: float | None = None  # times real time, at which the answer came while there was room for it
    speculative: bool = False  # the answer was begun before the end of the question was certain
    interrupted: bool = False
    heard_seconds: float = 0.0  # of its sound that left the speaker
    underruns: int = 0  # times the voice came too late, once it was heard
    starved_ms: float = 0.0  # of silence put in for it
    dry: int = 0  # times the loudspeaker ran out of samples meanwhile
    silence_ms: float | None = None  # from the first sound of whoever interrupted to silence at the speaker
    spans_ms: dict[str, float] = field(default_factory=dict)
    av_offset_ms: dict[str, float] = field(default_factory=dict)

    def finish_spans(self, voice_to_voice_ms: float) -> None:
        """Set the total, and ``first_sample_played`` as what the other spans leave of it."""
        others = sum(self.spans_ms.get(name, 0.0) for name in SPANS if name != "first_sample_played")
        self.spans_ms["first_sample_played"] = voice_to_voice_ms - others
        self.spans_ms["voice_to_voice"] = voice_to_voice_ms


def waited_ms(steps_ms: dict[str, float], lead_ms: float) -> dict[str, float]:
    """What is waited for of ``steps_ms``, durations in their order, when they were begun ``lead_ms`` too early.

    A negative lead is a delay: it counts as part of the first step.
    """
    waited, at = {}, -lead_ms
    reached = 0.0
    for name, duration in steps_ms.items():
        at += duration
        waited[name] = max(at - reached, 0.0)
        reached = max(at, reached)
    return waited


@dataclass
class SessionTrace:
    """One run of the demo.

    Every turn goes to ``journal`` at once, a line of JSON each, lest a crash take them all along; it is gone when the
    report has been written. One that is found there is of a session that crashed: see ``keep_earlier``.
    """

    engines: dict[str, str] = field(default_factory=dict)  # stt, llm, tts, talker, device
    cold_start_s: float = 0.0  # from the start of the program to the first moment a question can be asked
    turns: list[TurnTrace] = field(default_factory=list)
    journal: Path | None = None

    def keep_earlier(self) -> None:
        """Rename the journal that an earlier session left, lest this one take its place: "t.jsonl" to "t.1.jsonl"."""
        if self.journal is None or not self.journal.exists():
            return
        names = (self.journal.with_suffix(f".{number}{self.journal.suffix}") for number in itertools.count(1))
        kept = next(name for name in names if not name.exists())
        try:
            self.journal.rename(kept)
            log.info("The turns of a session that did not end in good order are in %s.", kept)
        except OSError as error:  # they stay where they are, and others follow
            log.warning("%s cannot be renamed (%s); this session is written after it.", self.journal, error.strerror)

    def add(self, turn: TurnTrace) -> None:
        """A turn is over."""
        self.turns.append(turn)
        if self.journal is None:
            return
        try:
            self.journal.parent.mkdir(parents=True, exist_ok=True)
            with self.journal.open("a", encoding="utf-8") as file:
                file.write(json.dumps(_rounded(dataclasses.asdict(turn)), ensure_ascii=False) + "\n")
        except OSError as error:
            log.warning("Turn %d is not in %s (%s).", turn.turn, self.journal, error.strerror)

    def to_dict(self) -> dict[str, object]:
        """The report, version 1."""
        return {
            "version": 1,
            "engines": self.engines,
            "cold_start_s": round(self.cold_start_s, 3),
            "peak_rss_mb": peak_rss_mb(),
            "turns": [_rounded(dataclasses.asdict(turn)) for turn in self.turns],
        }

    def write(self, path: Path) -> None:
        """Write the report to ``path``, making its folder. Raises TraceError."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
            if self.journal is not None:
                self.journal.unlink(missing_ok=True)
        except OSError as error:
            raise TraceError(
                f"The trace {path} cannot be written ({error.strerror}); check --trace and the free space there."
            ) from error


def peak_rss_mb() -> float | None:
    """Peak resident memory in MB of this process plus its largest ended child; None where the system keeps none."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, KiB elsewhere
    peaks = (resource.getrusage(who).ru_maxrss * unit for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return round(sum(peaks) / 1e6, 1)


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return value
