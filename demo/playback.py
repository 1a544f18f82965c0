"""Sound out: the answer's samples go to a loudspeaker that never stops, and the loudspeaker drives the clock.

One stream stays open and plays silence between turns: opening one for every answer costs a second on some systems. A
voice that comes too slowly is filled up with silence that counts as no turn sample, so face and voice wait
together.
"""

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from demo.clock import PlaybackClock
from demo.devices import Device, DeviceError, PortAudioStreams, load_portaudio
from streamingtalker.audio.resample import Resampler

log = logging.getLogger(__name__)

Fill = Callable[[np.ndarray, float], None]  # (float32 [n] to be filled, monotonic time its first sample is heard)
# Given every block handed to the speaker, silence too: float32 [n] at ``Speaker.rate``, and the monotonic time at which
# its first sample is heard. Called in the audio thread: it must return at once.
Tap = Callable[[np.ndarray, float], None]

_FADE_SECONDS = 0.008  # an interrupted voice is faded out: cutting it would click
_SLOWEST_DEVICE = 2.0  # seconds of latency beyond which a report is taken for rubbish


class Speaker(Protocol):
    """Whatever asks for samples in real time."""

    rate: int  # Hz
    on_lost: Callable[[DeviceError], None]  # called from a thread of its own when it has gone
    # Called in the audio thread when the device ran out of samples: it was asked too late, or answered too slowly.
    on_dry: Callable[[], None]

    def open(self, fill: Fill) -> None:
        """Call ``fill`` from a thread of its own until ``close``. Raises DeviceError where that cannot be."""

    def close(self) -> None:
        """Stop asking."""


@dataclass(frozen=True)
class PlaybackCounts:
    """How a turn's sound went."""

    played: int = 0  # samples of the turn handed to the device, at its rate
    underruns: int = 0  # times the voice came too late
    starved: int = 0  # samples of silence put in for it
    dry: int = 0  # times the device itself ran out of samples while the turn was heard


class Playback:
    """The samples of the current turn on their way to a speaker. Its ``clock`` tells how many have left it."""

    def __init__(
        self,
        speaker: Speaker,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        offset_ms: float = 0.0,
    ) -> None:
        """Nothing sounds before ``open``."""
        self.clock = PlaybackClock(speaker.rate, monotonic, offset_ms / 1000)
        self.taps: list[Tap] = []
        self._speaker = speaker
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._turn = _Turn(-1, Resampler(speaker.rate, speaker.rate))
        self._fading = np.zeros(0, np.float32)
        self._asked_until = monotonic()  # when the last sample handed over is heard
        speaker.on_dry = self._note_dry

    def open(self) -> None:
        """Start the stream. Raises DeviceError."""
        self._speaker.open(self._fill)

    def close(self) -> None:
        """Stop the stream and the turn."""
        self.stop()
        self._speaker.close()

    def begin(self, turn: int, rate: int) -> "Future[bool]":
        """Make ``turn`` the current one, whose samples come at ``rate`` Hz; an older one falls silent.

        The future is True when the turn's last sample has left the speaker, False when the turn was stopped. It is set
        in the audio thread.
        """
        self.stop()
        with self._lock:
            self._turn = _Turn(turn, Resampler(rate, self._speaker.rate))
            self.clock.begin(turn)
            return self._turn.done

    def write(self, turn: int, pcm: np.ndarray) -> bool:
        """Append float32 samples [n]. False where ``turn`` is not the current one: they are dropped."""
        with self._lock:
            if turn != self._turn.number or self._turn.ended:
                return False
            self._turn.append(self._turn.resampler.feed(pcm))
            return True

    def start(self, turn: int) -> None:
        """Let the turn be heard."""
        with self._lock:
            if turn == self._turn.number:
                self._turn.started = True

    def end(self, turn: int) -> None:
        """Nothing more comes; starts the turn if nobody has."""
        with self._lock:
            if turn == self._turn.number and not self._turn.ended:
                self._turn.append(self._turn.resampler.finish())
                self._turn.started = self._turn.ended = True

    def stop(self) -> float:
        """Fall silent at once and forget the turn's samples. Seconds of them that will have been heard."""
        with self._lock:
            turn = self._turn
            if turn.heard_at is not None and turn.buffered:
                self._fading = _faded(turn.take(int(_FADE_SECONDS * self._speaker.rate)))
            turn.drop()
            self.clock.begin(-1)
        turn.settle(False)
        return turn.played / self._speaker.rate

    def silent_at(self) -> float:
        """Monotonic time at which a stopped turn's last sample is heard: what the device has, and the fading."""
        with self._lock:
            return self._asked_until + len(self._fading) / self._speaker.rate

    def first_sample_at(self, turn: int) -> float | None:
        """Monotonic time at which the turn's first sample is heard, None before it was handed over."""
        with self._lock:
            return self._turn.heard_at if turn == self._turn.number else None

    def counts(self) -> PlaybackCounts:
        """How the current turn's sound went so far."""
        with self._lock:
            return PlaybackCounts(self._turn.played, self._turn.underruns, self._turn.starved, self._turn.dry)

    def _note_dry(self) -> None:
        with self._lock:
            self._turn.dry += self._turn.heard_at is not None and self._turn.silent_at is None

    def _fill(self, out: np.ndarray, dac_time: float) -> None:
        """The audio callback."""
        with self._lock:
            turn, first, count = self._turn, self._turn.played, self._pour(out, dac_time)
            self.clock.advance(turn.number, first, count, dac_time)
            self.clock.advance(None, 0, len(out) - count, dac_time + count / self._speaker.rate)
            self._asked_until = dac_time + len(out) / self._speaker.rate
        if turn.silent_at is not None and self._monotonic() >= turn.silent_at:
            turn.settle(True)
        self._tap(out, dac_time)

    def _pour(self, out: np.ndarray, dac_time: float) -> int:
        """Fill ``out`` and return how many of its samples are the turn's."""
        turn, count = self._turn, 0
        if turn.started:
            pcm = turn.take(len(out))
            count = len(pcm)
            out[:count] = pcm
            turn.note(count, len(out) - count, dac_time, self._speaker.rate)
        out[count:] = 0
        tail, self._fading = self._fading[: len(out)], self._fading[len(out) :]
        out[: len(tail)] = np.clip(out[: len(tail)] + tail, -1, 1)
        return count

    def _tap(self, out: np.ndarray, dac_time: float) -> None:
        for tap in self.taps[:]:
            try:
                tap(out.copy(), dac_time)
            except Exception:
                log.exception("What listens to the loudspeaker failed; the sound goes on without it.")
                self.taps.remove(tap)


class _Turn:
    """Samples of one turn that wait, and what became of the others."""

    def __init__(self, number: int, resampler: Resampler) -> None:
        self.number = number
        self.resampler = resampler
        self.done: Future[bool] = Future()
        self.started = False
        self.ended = False
        self.heard_at: float | None = None  # monotonic, of the first sample
        self.silent_at: float | None = None  # monotonic, of the end
        self.played = 0
        self.underruns = 0
        self.starved = 0
        self.dry = 0
        self.buffered = 0
        self._chunks: deque[np.ndarray] = deque()
        self._starving = False

    def append(self, pcm: np.ndarray) -> None:
        if len(pcm):
            self._chunks.append(np.clip(pcm, -1, 1, dtype=np.float32))
            self.buffered += len(pcm)

    def take(self, count: int) -> np.ndarray:
        """Up to ``count`` samples that are next."""
        taken: list[np.ndarray] = []
        while count > 0 and self._chunks:
            chunk = self._chunks.popleft()
            if len(chunk) > count:
                self._chunks.appendleft(chunk[count:])
            taken.append(chunk[:count])
            count -= len(taken[-1])
        pcm = np.concatenate(taken) if taken else np.zeros(0, np.float32)
        self.buffered -= len(pcm)
        return pcm

    def note(self, count: int, missing: int, dac_time: float, rate: int) -> None:
        """Keep the books: ``count`` samples handed over from ``dac_time`` on, ``missing`` ones were not there."""
        self.played += count
        if count and self.heard_at is None:
            self.heard_at = dac_time
        if self.ended and not self.buffered and self.silent_at is None:
            self.silent_at = dac_time + count / rate
        starving = bool(missing) and not self.ended and self.heard_at is not None
        if starving:
            self.starved += missing
            self.underruns += not self._starving
        self._starving = starving

    def drop(self) -> None:
        self._chunks.clear()
        self.buffered = 0
        self.started, self.ended, self.silent_at = False, True, None

    def settle(self, complete: bool) -> None:
        """Say how the turn ended, once."""
        with contextlib.suppress(InvalidStateError):  # it was stopped while its last sample left the speaker
            self.done.set_result(complete)


def _faded(pcm: np.ndarray) -> np.ndarray:
    return pcm * np.linspace(1, 0, len(pcm), dtype=np.float32)


def _nobody_cares(error: DeviceError) -> None:
    log.error("%s", error)


def _nobody_counts() -> None:
    log.debug("The loudspeaker ran dry.")


class SoundDeviceSpeaker:
    """A real loudspeaker, through PortAudio."""

    def __init__(
        self,
        device: str | None = None,
        *,
        latency: float = 0.06,
        rate: int | None = None,
        streams: PortAudioStreams | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        backend: Any = None,  # noqa: ANN401 - a stand-in for sounddevice
    ) -> None:
        """``device``: a name, part of one, or a number; None takes the system's default. ``latency``: seconds, a wish.

        ``rate`` in Hz, None: the device's own. ``streams``: who must know what is open. Raises DeviceError.
        """
        self._portaudio = backend or load_portaudio()
        self._streams = streams or PortAudioStreams(self._portaudio)
        self._wanted = device
        found = self._streams.find(device, "output")
        self.name, self.rate = found.name, rate or int(found.rate)
        self._latency = latency
        self._monotonic = monotonic
        self.on_lost: Callable[[DeviceError], None] = _nobody_cares
        self.on_dry: Callable[[], None] = _nobody_counts
        self._stream: Any = None
        self._closing = False
        self._distrusts = False

    def open(self, fill: Fill) -> None:
        """Start asking ``fill`` for samples. Raises DeviceError."""
        self._closing = False
        self._fill = fill
        with self._streams.opening(self._interrupt):
            self._start(self._streams.find(self._wanted, "output"))  # its number may be another one by now

    def _start(self, device: Device) -> None:
        self.name = device.name
        try:
            self._stream = self._portaudio.OutputStream(
                samplerate=self.rate,
                device=device.index,
                channels=min(2, device.outputs),
                dtype="float32",
                latency=self._latency,
                callback=self._called,
                finished_callback=self._finished,
            )
            self._stream.start()
        except self._portaudio.PortAudioError as error:
            self._end()
            raise DeviceError(
                f"The loudspeaker {self.name!r} does not open ({error}); close what else uses it, or choose "
                "another with --output-device."
            ) from error

    def close(self) -> None:
        """Stop the stream."""
        self._closing = True
        self._streams.closed(self._interrupt)
        self._end()

    def _interrupt(self) -> None:
        """The sound system starts anew."""
        self._end()
        self._finished()

    def _end(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()

    def _called(self, out: np.ndarray, frames: int, times: Any, status: Any) -> None:  # noqa: ANN401 - PortAudio's
        if status.output_underflow:
            self.on_dry()
        mono = np.empty(frames, np.float32)
        self._fill(mono, self._monotonic() + self._delay(times))
        out[:] = mono[:, None]

    def _finished(self) -> None:
        if not self._closing:
            self.on_lost(DeviceError(f"The loudspeaker {self.name!r} is gone; plug it in again and restart the demo."))

    def _delay(self, times: Any) -> float:  # noqa: ANN401 - PortAudio's
        """Seconds until the samples now asked for are heard."""
        delay = times.outputBufferDacTime - times.currentTime
        if 0 < delay < _SLOWEST_DEVICE:
            return delay
        if not self._distrusts:
            self._distrusts = True
            log.warning("The loudspeaker reports a delay of %.3f s; using its stated latency instead.", delay)
        stream = self._stream
        return self._latency if stream is None else stream.latency


class SimulatedSpeaker:
    """No sound card: a thread that asks for samples at exactly the pace at which a loudspeaker would play them."""

    def __init__(
        self,
        rate: int = 48000,
        *,
        latency: float = 0.05,
        block: int = 480,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.rate = rate
        self.on_lost: Callable[[DeviceError], None] = _nobody_cares  # never called
        self.on_dry: Callable[[], None] = _nobody_counts  # nor this
        self._latency = latency
        self._block = block
        self._monotonic = monotonic
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def open(self, fill: Fill) -> None:
        """Start the thread."""
        self._closing.clear()
        self._thread = threading.Thread(target=self._run, args=(fill,), name="simulated speaker", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop the thread."""
        self._closing.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self, fill: Fill) -> None:
        out = np.zeros(self._block, np.float32)
        began, blocks = self._monotonic(), 0
        while not self._closing.wait(max(0.0, began + blocks * self._block / self.rate - self._monotonic())):
            fill(out, began + blocks * self._block / self.rate + self._latency)
            blocks += 1
