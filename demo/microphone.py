"""Microphones: a real one through PortAudio, and recordings that play the part of one.

Whatever the device delivers is converted once, here, to blocks of 512 samples at 16 kHz mono. Every block knows its
position in samples and when it was captured.
"""

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from demo.devices import Device, DeviceError, PortAudioStreams, load_portaudio
from streamingtalker.audio import AudioError, Resampler, load_audio

log = logging.getLogger(__name__)

RATE = 16_000  # Hz
BLOCK = 512  # samples, 32 ms

_WINDOW = RATE // 100  # samples over which a recording's level is measured
_QUIET_DB = -45.0  # below the loudest window: no speech
_SILENT_DB = -60.0  # below full scale: a recording without a louder window holds no speech
_LEAD_IN = RATE * 2 // 5  # samples of silence before a recording
_GAP = RATE * 3 // 2  # samples of silence between recordings, enough to end any utterance
_LONGEST_SECONDS = 300.0  # of a recording: nobody asks for longer
_STALL_SECONDS = 3.0  # without a callback, before it is said
_SLOWEST_DEVICE = 2.0  # seconds of latency beyond which a report is taken for rubbish


@dataclass(frozen=True)
class Recording:
    """A recording that plays, or last played, in place of a microphone."""

    path: Path
    start: int  # position of its first sample
    samples: int
    loud: np.ndarray  # int64 [n], ascending: ends of the 10 ms windows with speech, in samples from its start

    @property
    def end(self) -> int:
        """Position after its last sample."""
        return self.start + self.samples

    def last_speech_before(self, position: int) -> int | None:
        """The true position after the last sample of speech before ``position``, None where there was none yet."""
        index = int(np.searchsorted(self.loud, position - self.start, side="right"))
        return self.start + int(self.loud[index - 1]) if index else None


@dataclass(frozen=True)
class AudioBlock:
    """What a microphone heard in 32 ms."""

    pcm: np.ndarray  # float32 [512] at 16 kHz
    position: int  # samples before it, since the microphone was opened
    time: float  # monotonic seconds at which its last sample was captured
    recording: Recording | None = None  # what plays the part of the microphone, if anything did so far
    clear: np.ndarray | None = None  # float32 [512], for the recogniser: with less noise than ``pcm``, if it can be had

    @property
    def end(self) -> int:
        """Position after its last sample."""
        return self.position + len(self.pcm)

    def time_of(self, position: int) -> float:
        """Monotonic seconds at which the sample at ``position`` was captured."""
        return self.time - (self.end - position) / RATE


class Microphone(Protocol):
    """A source of blocks. ``open``, iterate over ``blocks`` in one thread, ``close`` from any."""

    @property
    def name(self) -> str:
        """For people."""
        ...

    def open(self) -> None:
        """Begin to capture. Raises DeviceError."""
        ...

    def blocks(self) -> Iterator[AudioBlock]:
        """Blocks as they are captured, until ``close``. Raises DeviceError where the device is lost."""
        ...

    def close(self) -> None:
        """Stop; ``blocks`` ends."""
        ...


@dataclass(frozen=True)
class _Piece:
    """What one audio callback delivered."""

    pcm: np.ndarray  # float32 [n] at the device's rate
    time: float  # monotonic, of its last sample
    overflow: bool  # samples before it were lost


class SoundDeviceMicrophone:
    """A real microphone, at whatever rate and channel count the device has."""

    def __init__(
        self,
        device: str | None = None,
        *,
        streams: PortAudioStreams | None = None,
        backend: Any = None,  # noqa: ANN401 - the sounddevice module or a fake of it
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """``device``: number, name or part of a name; None is the system's choice. Raises DeviceError.

        ``streams``: who must know what is open.
        """
        self._backend = backend or load_portaudio()
        self._streams = streams or PortAudioStreams(self._backend)
        self._wanted = device
        self._device: Device = self._streams.find(device, "input")
        self._monotonic = monotonic
        self._pieces: queue.SimpleQueue[_Piece | DeviceError | None] = queue.SimpleQueue()
        self._closing = False
        self._stream: Any = None

    @property
    def name(self) -> str:
        """The device's name."""
        return self._device.name

    def open(self) -> None:
        """Begin to capture. Raises DeviceError."""
        with self._streams.opening(self._interrupt):
            self._device = self._streams.find(self._wanted, "input")  # its number may be another one by now
            self._open_some_format()

    def _open_some_format(self) -> None:
        reason: Exception | None = None
        for channels, rate in self._formats():
            try:
                self._stream = self._start(channels, rate)
                self._rate = rate
                log.info("Listening to %r, %d channel(s) at %d Hz.", self.name, channels, rate)
                return
            except self._backend.PortAudioError as error:
                reason = error
        raise DeviceError(
            f"The microphone {self.name!r} does not open ({reason}); close what else uses it, allow access to it, or "
            "choose another with --input-device (see --list-devices)."
        ) from reason

    def blocks(self) -> Iterator[AudioBlock]:
        """Blocks as they are captured, until ``close``. Raises DeviceError where the device is lost."""
        cutter = _Cutter(self._rate)
        while (piece := self._next_piece()) is not None:
            if isinstance(piece, DeviceError):
                raise piece
            if piece.overflow:
                log.warning("The microphone %r lost samples: this machine is too busy.", self.name)
            yield from cutter.feed(piece.pcm, piece.time)

    def close(self) -> None:
        """Stop; ``blocks`` ends."""
        self._closing = True
        self._streams.closed(self._interrupt)
        self._end()
        self._pieces.put(None)

    def _interrupt(self) -> None:
        """The sound system starts anew."""
        self._end()
        self._finished()

    def _end(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()

    def _formats(self) -> list[tuple[int, int]]:
        """Channels and rates to try: two channels, for the voice may be on either; some devices only open with all."""
        counts = dict.fromkeys((min(2, self._device.inputs), 1, self._device.inputs))
        rates = dict.fromkeys((int(self._device.rate), 48_000, 44_100, RATE))
        return [(channels, rate) for rate in rates for channels in counts]

    def _start(self, channels: int, rate: int) -> Any:  # noqa: ANN401
        def captured(data: np.ndarray, frames: int, times: Any, status: Any) -> None:  # noqa: ANN401 - PortAudio's
            pcm = data.mean(axis=1, dtype=np.float32)
            self._pieces.put(_Piece(pcm, self._capture_time(times, frames / rate), bool(status.input_overflow)))

        stream = self._backend.InputStream(
            device=self._device.index,
            channels=channels,
            samplerate=rate,
            dtype="float32",
            latency="low",
            callback=captured,
            finished_callback=self._finished,
        )
        try:
            stream.start()
        except self._backend.PortAudioError:
            stream.close()
            self._pieces = queue.SimpleQueue()  # it may have said that it has gone
            raise
        return stream

    def _capture_time(self, times: Any, seconds: float) -> float:  # noqa: ANN401 - PortAudio's
        """When the last sample of a piece was captured, by the device's report where it makes sense."""
        age = times.currentTime - times.inputBufferAdcTime - seconds
        return self._monotonic() - (age if 0 < age < _SLOWEST_DEVICE else 0.0)

    def _finished(self) -> None:
        if not self._closing:
            self._pieces.put(
                DeviceError(f"The microphone {self.name!r} is gone; plug it in again and restart the demo.")
            )

    def _next_piece(self) -> _Piece | DeviceError | None:
        """The next thing the callback left; a device that stands still without an error is said once each time."""
        try:
            return self._pieces.get(timeout=_STALL_SECONDS)
        except queue.Empty:
            log.warning("The microphone %r delivers nothing; check that it is on and not suspended.", self.name)
        piece = self._pieces.get()
        log.info("The microphone %r delivers again.", self.name)
        return piece


class _Cutter:
    """Pieces of any size at the device's rate into blocks of 512 samples at 16 kHz."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._resampler = Resampler(rate, RATE)
        self._rest = np.zeros(0, np.float32)
        self._taken = 0  # samples at the device's rate
        self._position = 0  # samples at 16 kHz given out

    def feed(self, pcm: np.ndarray, last_time: float) -> Iterator[AudioBlock]:
        """Blocks complete with ``pcm``, whose last sample was captured at ``last_time``."""
        self._taken += len(pcm)
        self._rest = np.concatenate([self._rest, self._resampler.feed(pcm)])
        while len(self._rest) >= BLOCK:
            block, self._rest = self._rest[:BLOCK], self._rest[BLOCK:]
            age = self._taken / self._rate - (self._position + BLOCK) / RATE
            yield AudioBlock(block, self._position, last_time - age)
            self._position += BLOCK


class WavMicrophone:
    """Recordings in place of a microphone, in real time, and silence between and after them.

    ``monotonic`` and ``wait_until(time)`` are its clock; a test passes a manual one.
    """

    name = "recordings"

    def __init__(
        self,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        wait_until: Callable[[float], None] | None = None,
    ) -> None:
        self._monotonic = monotonic
        self._wait_until = wait_until or self._sleep_until
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Recording, np.ndarray]] = deque()
        self._current: Recording | None = None
        self._pcm = np.zeros(0, np.float32)  # what is left of the current recording
        self._position = 0
        self._began = 0.0

    def play(self, path: Path) -> None:
        """Play the recording now, or after those that wait; any thread may ask for it.

        Raises AudioError where it cannot be read or holds no speech.
        """
        recording, pcm = read_recording(Path(path))
        with self._lock:
            self._waiting.append((recording, pcm))

    def open(self) -> None:
        """Begin the time of this microphone."""
        self._began = self._monotonic()

    def blocks(self) -> Iterator[AudioBlock]:
        """Blocks when they are due, until ``close``."""
        while not self._closing.is_set():
            due = self._began + (self._position + BLOCK) / RATE
            self._wait_until(due)
            if self._closing.is_set():
                return
            pcm = self._next()
            yield AudioBlock(pcm, self._position, due, self._current)
            self._position += BLOCK

    def close(self) -> None:
        """Stop; ``blocks`` ends."""
        self._closing.set()

    def _sleep_until(self, due: float) -> None:
        self._closing.wait(max(0.0, due - self._monotonic()))

    def _next(self) -> np.ndarray:
        if not len(self._pcm):
            self._begin_next()
        pcm, self._pcm = self._pcm[:BLOCK], self._pcm[BLOCK:]
        return np.pad(pcm, (0, BLOCK - len(pcm)))

    def _begin_next(self) -> None:
        if self._current is not None and self._position < self._current.end + _GAP:
            return
        with self._lock:
            if not self._waiting:
                return
            recording, pcm = self._waiting.popleft()
        self._current = replace(recording, start=self._position + _LEAD_IN)
        self._pcm = np.concatenate([np.zeros(_LEAD_IN, np.float32), pcm])


def read_recording(path: Path) -> tuple[Recording, np.ndarray]:
    """A recording as float32 at 16 kHz, and where in it there is speech.

    Raises AudioError where it cannot be read or holds no speech.
    """
    pcm, rate = load_audio(path, _LONGEST_SECONDS)
    resampler = Resampler(rate, RATE)
    pcm = np.concatenate([resampler.feed(pcm), resampler.finish()])
    loud = _loud_windows(pcm)
    if not len(loud):
        raise AudioError(f"{path} contains no speech, only silence; record it again, closer to the microphone.")
    return Recording(path, 0, len(pcm), loud), pcm


def _loud_windows(pcm: np.ndarray) -> np.ndarray:
    """Ends of the 10 ms windows that are loud enough to be speech, int64 [n] in samples.

    Loud is what is within 45 dB of the loudest window and 8 dB above the background of a noisy recording.
    """
    windows = np.pad(pcm, (0, -len(pcm) % _WINDOW)).reshape(-1, _WINDOW)
    if not len(windows):
        return np.zeros(0, np.int64)
    level = 10 * np.log10(np.square(windows, dtype=np.float64).mean(axis=1) + 1e-12)
    loudest = level.max()
    if loudest < _SILENT_DB:
        return np.zeros(0, np.int64)
    background = min(float(np.percentile(level, 5)) + 8, loudest - 20)
    ends = (np.flatnonzero(level > max(loudest + _QUIET_DB, background)) + 1) * _WINDOW
    return np.minimum(ends, len(pcm)).astype(np.int64)
