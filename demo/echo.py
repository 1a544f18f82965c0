"""Echo cancellation: the avatar's own voice is taken out of what the microphone hears.

WebRTC's audio processing compares the microphone with exactly what the loudspeaker plays. Both come with their times
(when a sample leaves the loudspeaker, when one was captured), so the two streams are laid side by side by the clock;
how late the echo really is, is then measured by correlation, and corrected where a sound card's report is wrong.
"""

import logging
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from demo.microphone import BLOCK, RATE, AudioBlock, Microphone
from streamingtalker.audio.resample import Resampler
from streamingtalker.errors import UserError

log = logging.getLogger(__name__)

FRAME = RATE // 100  # samples that are processed at a time

_LONG_AGO = -(10**9)
_BLOCKS_A_SECOND = 200  # that a loudspeaker asks for at most
_SETTLE = 0.05  # share of a timestamp's error that a timeline takes on: jitter is averaged out
_JUMP_SECONDS = 0.04  # a larger error is no jitter: follow it at once


class EchoError(UserError):
    """Echo cancellation does not work on this machine."""


class Timeline:
    """Which sample of a stream belongs to which moment, smoothed over the jitter of its timestamps."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._origin: float | None = None  # monotonic seconds of sample 0

    def note(self, sample: int, time: float) -> None:
        """Sample number ``sample`` belongs to monotonic ``time``, as far as anybody can tell."""
        origin = time - sample / self._rate
        if self._origin is None or abs(origin - self._origin) > _JUMP_SECONDS:
            self._origin = origin
        self._origin += _SETTLE * (origin - self._origin)

    def sample_at(self, time: float) -> int:
        """The sample of that moment; one long ago before anything was noted."""
        return round((time - self._origin) * self._rate) if self._origin is not None else _LONG_AGO

    def time_of(self, sample: int) -> float:
        """The moment of a sample; something must have been noted."""
        assert self._origin is not None
        return self._origin + sample / self._rate


class Played:
    """What the loudspeaker plays, at 16 kHz, to be found again by the moment at which it is heard.

    ``add`` belongs to the audio thread, ``heard`` to one other.
    """

    def __init__(self, rate: int, seconds: float = 4.0) -> None:
        """``rate``: the loudspeaker's in Hz; ``seconds`` of sound are kept."""
        self._rate = rate
        # The oldest go where nobody listens; the timeline follows such a jump.
        self._blocks: deque[tuple[np.ndarray, float]] = deque(maxlen=round(seconds * _BLOCKS_A_SECOND))
        self._resampler = Resampler(rate, RATE)
        self._timeline = Timeline(RATE)
        self._ring = np.zeros(round(seconds * RATE), np.float32)
        self._taken = 0  # samples at the loudspeaker's rate
        self._written = 0  # samples at 16 kHz

    def add(self, pcm: np.ndarray, dac_time: float) -> None:
        """float32 [n] whose first sample is heard at monotonic ``dac_time``. Returns at once."""
        self._blocks.append((pcm, dac_time))

    def heard(self, time: float, count: int) -> np.ndarray:
        """``count`` samples, the first of which is heard at ``time``; silence where nothing is known."""
        self._write()
        return self.read(self._timeline.sample_at(time), count)

    def sample_at(self, time: float) -> int:
        """Number of the sample that is heard at ``time``."""
        self._write()
        return self._timeline.sample_at(time)

    def read(self, first: int, count: int) -> np.ndarray:
        """float32 [count] from sample ``first`` on; silence where nothing is known."""
        wanted = np.arange(first, first + count)
        known = (wanted >= max(0, self._written - len(self._ring))) & (wanted < self._written)
        return np.where(known, self._ring[wanted % len(self._ring)], 0).astype(np.float32)

    def _write(self) -> None:
        while self._blocks:
            pcm, dac_time = self._blocks.popleft()
            self._timeline.note(round(self._taken * RATE / self._rate), dac_time)
            self._taken += len(pcm)
            ready = self._resampler.feed(pcm)
            self._ring[np.arange(self._written, self._written + len(ready)) % len(self._ring)] = ready
            self._written += len(ready)


class Processor(Protocol):
    """Takes an echo out of 10 ms of sound, and noise."""

    delay: int  # samples by which what it gives is late

    def process(self, heard: np.ndarray, played: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """float32 [160] at 16 kHz without the echo of what was ``played`` (likewise, a little earlier), twice.

        The second has less noise, too, and an even loudness.
        """
        ...


class WebRtc:
    """WebRTC's echo canceller, noise suppressor, gain control and high-pass filter, through livekit's library.

    Loads at construction, in 0.3 s; needs no server. About 0.2 ms for 10 ms of sound. Raises EchoError.
    """

    _SUPPRESSION = 96  # samples by which the noise suppressor is late
    delay = 128 + _SUPPRESSION

    def __init__(self) -> None:
        try:
            from livekit.rtc import AudioFrame
            from livekit.rtc.apm import AudioProcessingModule

            self._frame = AudioFrame
            self._echo = AudioProcessingModule(echo_cancellation=True, high_pass_filter=True)
            self._noise = AudioProcessingModule(noise_suppression=True, auto_gain_control=True)
        except Exception as error:  # a library that is missing, or does not fit this system, fails in many ways
            raise EchoError(
                f"Echo cancellation does not work on this machine ({error}); run 'pip install -r requirements.txt'."
            ) from error
        self._late = np.zeros(self._SUPPRESSION, np.float32)

    def process(self, heard: np.ndarray, played: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """float32 [160] at 16 kHz without the echo of what was ``played`` (likewise, a little earlier), twice."""
        self._echo.process_reverse_stream(self._pack(played))
        frame = self._pack(heard)
        self._echo.process_stream(frame)
        plain = np.concatenate([self._late, _unpack(frame)])
        self._late = plain[FRAME:]
        self._noise.process_stream(frame)
        return plain[:FRAME], _unpack(frame)

    def _pack(self, pcm: np.ndarray) -> Any:  # noqa: ANN401 - livekit's frame
        samples = np.clip(pcm * 32768, -32768, 32767).astype("<i2")
        return self._frame(samples.tobytes(), RATE, 1, FRAME)


def _unpack(frame: Any) -> np.ndarray:  # noqa: ANN401 - livekit's frame
    return np.asarray(frame.data, np.float32) / 32768


class CleanMicrophone:
    """A microphone that does not hear the loudspeaker, 22 ms late; its blocks have the times of what is in them."""

    _CARRY = FRAME - 32  # samples put before all, so that every block of 512 heard makes one: 32 divides 160 and 512
    _LEAD = 0.01  # seconds by which the reference comes before the echo at the earliest
    _MEASURE = RATE  # samples between measurements of the delay
    _WINDOW = 3 * RATE  # samples a measurement looks at
    # Seconds by which an echo may be later than reported. Beyond, it is somebody who says the same in the same voice,
    # and to follow that would leave the true echo where find_echo, which looks so far, does not find it again.
    _SHIFTS = (-0.25, 0.5)

    def __init__(self, inner: Microphone, played: Played, processor: Processor | None = None) -> None:
        """``played`` is told of every block the loudspeaker gets. Raises EchoError."""
        self._inner = inner
        self._played = played
        self._processor = processor or WebRtc()
        self._timeline = Timeline(RATE)
        self._raw = np.zeros(0, np.float32)  # heard, not yet processed
        self._clean = np.zeros((2, self._CARRY), np.float32)  # processed in two ways, not yet given out
        self._pointer: int | None = None  # sample of ``played`` that is next
        self._shift = 0.0  # seconds by which the echo is later than the sound cards report
        self._meter = DelayMeter(self._WINDOW)
        self._unmeasured = 0

    @property
    def name(self) -> str:
        """The device's name."""
        return self._inner.name

    def open(self) -> None:
        """Begin to capture. Raises DeviceError."""
        self._inner.open()

    def blocks(self) -> Iterator[AudioBlock]:
        """Blocks as they are captured, until ``close``. Raises DeviceError where the device is lost."""
        late = self._CARRY + self._processor.delay
        for block in self._inner.blocks():
            self._process(block)
            (pcm, clear), self._clean = self._clean[:, :BLOCK], self._clean[:, BLOCK:]
            yield replace(block, pcm=pcm, clear=clear, position=block.position - late, time=block.time - late / RATE)

    def close(self) -> None:
        """Stop; ``blocks`` ends."""
        self._inner.close()

    def _process(self, block: AudioBlock) -> None:
        self._timeline.note(block.end, block.time)
        first = block.position - len(self._raw)
        raw = np.concatenate([self._raw, block.pcm])
        clean = [self._clean]
        for start in range(0, len(raw) - FRAME + 1, FRAME):
            heard, played = raw[start : start + FRAME], self._reference(first + start)
            clean.append(np.stack(self._processor.process(heard, played)))
            self._meter.feed(heard, played)
        self._raw = raw[len(raw) // FRAME * FRAME :]
        self._clean = np.concatenate(clean, axis=1)
        self._measure(len(block.pcm))

    def _reference(self, sample: int) -> np.ndarray:
        """What was played ``_LEAD`` before the frame at ``sample`` could hear it, without gap or overlap."""
        wanted = self._played.sample_at(self._timeline.time_of(sample) + self._LEAD - self._shift)
        if self._pointer is None or abs(wanted - self._pointer) > FRAME:
            self._pointer = wanted
        elif abs(wanted - self._pointer) > FRAME // 20:  # two clocks drift apart: a sample at a time is not heard
            self._pointer += 1 if wanted > self._pointer else -1
        played = self._played.read(self._pointer, FRAME)
        self._pointer += FRAME
        return played

    def _measure(self, samples: int) -> None:
        """Now and then, find the echo in what was heard; where the reference comes too late or early, move it."""
        self._unmeasured += samples
        if self._unmeasured < self._MEASURE:
            return
        self._unmeasured = 0
        if self._meter.measure() and self._meter.delay is not None and not 0.0 < self._meter.delay < 0.25:
            self._follow(self._shift + self._meter.delay - 2 * self._LEAD)

    def _follow(self, shift: float) -> None:
        least, most = self._SHIFTS
        if least <= shift <= most:
            self._shift = shift
            log.info("The echo comes %.0f ms after the sound cards' reports.", 1000 * (shift + self._LEAD))
        self._meter.forget()


class DelayMeter:
    """How much later than the reference its echo is, by correlation over the last ``window`` samples."""

    def __init__(self, window: int) -> None:
        self.delay: float | None = None  # seconds, of the last measurement that found an echo
        self._heard = np.zeros(window, np.float32)
        self._played = np.zeros(window, np.float32)

    def feed(self, heard: np.ndarray, played: np.ndarray) -> None:
        """The next samples of both, float32 [n]."""
        count = len(heard)
        for ring, pcm in ((self._heard, heard), (self._played, played)):
            ring[:-count] = ring[count:]
            ring[-count:] = pcm

    def measure(self) -> bool:
        """Whether an echo was found just as late as the time before."""
        found = find_echo(self._played, self._heard)
        same = found is not None and self.delay is not None and abs(found - self.delay) < 0.003
        self.delay = self.delay if found is None else found
        return same

    def forget(self) -> None:
        """The reference was moved: what was kept is of no use."""
        self.delay = None
        self._heard[:] = self._played[:] = 0


def find_echo(played: np.ndarray, heard: np.ndarray, *, clarity: float = 12.0) -> float | None:
    """Seconds by which ``heard`` repeats ``played``, both float32 [n] at 16 kHz; None where it is not clear.

    The peak of the correlation with both spectra made flat (generalised cross-correlation with phase transform), which
    has to be ``clarity`` times its root mean square. Between -n/4 and +n/2 samples.
    """
    count = len(played)
    if min(np.square(played).max(initial=0.0), np.square(heard).max(initial=0.0)) < 1e-8:
        return None
    size = 2 * count
    cross = np.fft.rfft(heard, size) * np.conj(np.fft.rfft(played, size))
    correlation = np.fft.irfft(cross / (np.abs(cross) + 1e-3 * np.abs(cross).mean() + 1e-20), size)
    lags = np.concatenate([correlation[-count // 4 :], correlation[: count // 2]])
    peak = int(np.argmax(lags))
    if lags[peak] < clarity * float(np.sqrt(np.mean(np.square(lags)))):
        return None
    return (peak - count // 4) / RATE
