"""Devices that may go and come back: a loudspeaker and a microphone that outlast the sound system under them.

A sound server that is frozen or suspended raises nothing: callbacks just stop, so only their age tells. A device that
was unplugged says so. In both cases a stand-in goes on at the pace of a real device: face and captions stay in step
with a sound that nobody hears, and what was being said to the microphone ends in silence. Opening happens in a thread
of its own; whoever asks for sound or listens is never kept waiting. A loudspeaker that runs dry again and again is made
to hold more, which every answer waits for; after a calm time it holds less again.
"""

import contextlib
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from demo.devices import DeviceError, PortAudioStreams
from demo.messages import Notice
from demo.microphone import BLOCK, RATE, AudioBlock, Microphone, SoundDeviceMicrophone
from demo.playback import Fill, SimulatedSpeaker, SoundDeviceSpeaker, Speaker

log = logging.getLogger(__name__)

STALLED_SECONDS = 0.4  # without a callback: no device hands over so rarely
_LOOK_SECONDS = 0.05  # between looks at the callback's age
_STEADY_SECONDS = 0.3  # of callbacks before a device is believed: a sound server may begin with a gap
_HICCUP_SECONDS = 1.0  # of silence that are not worth a word
_STARTING_SECONDS = 2.0  # that a device may take to begin
_FIRST_TRY, _SLOWEST_TRY = 0.25, 0.5  # seconds between attempts to open, growing
# Failed attempts after which new devices are looked for though that interrupts those that work: how many, how many
# times as many each time after that, and at most.
_FIRST_RESCAN, _RESCAN_GROWTH, _RARELY = 2, 4, 60
_LEAST_HELD, _MOST_HELD = 0.06, 0.24  # seconds of sound that the device holds: more where the machine is busy
_TOO_OFTEN, _WITHIN_SECONDS = 3, 60.0  # running dry so often in so short a time is the machine's way, no accident
_CALM_SECONDS, _LONGEST_CALM = 300.0, 4800.0  # before less is tried: twice as long for each time more was needed
_QUIET_SECONDS = 5.0  # without a sound: nothing is said that opening anew could cut
_GOODBYE_SECONDS = 2.0  # a frozen sound server closes nothing: it is left to itself

# (rate in Hz, None: the device's own; seconds of sound that the device holds); raises DeviceError
MakeSpeaker = Callable[[int | None, float], Speaker]
Tell = Callable[[Notice], None]  # called from a thread of its own
_LEVELS = {"info": logging.INFO, "warning": logging.WARNING}


def _log(notice: Notice) -> None:
    log.log(_LEVELS[notice.level], notice.text)


class _Attempts:
    """When to try again, and when to look for new devices."""

    def __init__(self, streams: PortAudioStreams | None) -> None:
        self._streams = streams
        self.begin(0.0)

    def begin(self, now: float) -> None:
        """The device has gone."""
        self._failed, self._due = 0, now + _FIRST_TRY
        self._blind, self._bearable = 0, _FIRST_RESCAN  # failures since devices were looked for; so many may be

    def due_in(self, now: float) -> float:
        """Seconds until it is time, 0 when it is."""
        return max(0.0, self._due - now)

    def note_failure(self, now: float) -> None:
        """It did not open."""
        self._failed += 1
        self._due = now + min(_FIRST_TRY * 2**self._failed, _SLOWEST_TRY)
        if self._streams is None:
            return
        try:
            if self._look_for_devices(self._streams):
                self._due = now + _FIRST_TRY  # others made room for it
        except DeviceError as error:
            log.debug("Not yet: %s", error)

    def _look_for_devices(self, streams: PortAudioStreams) -> bool:
        """At once where that interrupts nobody; else now and then. Whether others were interrupted.

        When something else has opened, it may have been too early for this device: of a sound server that was just
        started there were loudspeakers, but no microphones yet.
        """
        if streams.rescan(interrupting=False):
            self._blind = 0
            return False
        self._blind += 1
        if self._blind < self._bearable:
            return False
        self._blind, self._bearable = 0, min(_RESCAN_GROWTH * self._bearable, _RARELY)
        return streams.rescan()


class _Reserve:
    """How much sound the device is to hold: the longest pause of the machine; every answer comes later by as much."""

    def __init__(self) -> None:
        self.seconds = _LEAST_HELD
        self._dry: deque[float] = deque(maxlen=_TOO_OFTEN)  # when it ran dry
        self._calm = _CALM_SECONDS
        self._calm_since = -np.inf

    def note_dry(self, now: float) -> None:
        """The device ran out of samples."""
        self._dry.append(now)
        self._calm_since = now

    def revised(self, now: float, quiet: bool) -> bool:
        """Whether ``seconds`` have just been changed; ``quiet``: nothing is lost by opening the device anew."""
        often = len(self._dry) == _TOO_OFTEN and now - self._dry[0] < _WITHIN_SECONDS
        if often and self.seconds < _MOST_HELD:
            self._calm = min(2 * self._calm, _LONGEST_CALM)
            self._change(min(2 * self.seconds, _MOST_HELD), now)
            log.warning("This machine is busy: the loudspeaker holds %.2f s of sound from now on.", self.seconds)
            return True
        if quiet and self.seconds > _LEAST_HELD and now - self._calm_since > self._calm:
            self._change(max(self.seconds / 2, _LEAST_HELD), now)
            log.info("The loudspeaker has not run dry for long: it holds %.2f s of sound from now on.", self.seconds)
            return True
        return False

    def _change(self, seconds: float, now: float) -> None:
        self.seconds, self._calm_since = seconds, now
        self._dry.clear()


class LastingSpeaker:
    """A loudspeaker that never stops asking for samples, whatever becomes of the device. A ``Speaker``."""

    def __init__(
        self,
        make: MakeSpeaker,
        streams: PortAudioStreams | None = None,
        *,
        stand_in: Callable[[int], Speaker] = SimulatedSpeaker,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """``make`` opens nothing yet. Raises DeviceError where there is no device now: a start wants a sound card."""
        self._make, self._monotonic, self._make_stand_in = make, monotonic, stand_in
        self._reserve = _Reserve()
        self._device = make(None, self._reserve.seconds)
        self.rate = self._device.rate
        self.on_lost: Callable[[DeviceError], None] = lambda error: None  # never called: it is not lost
        self.on_dry: Callable[[], None] = lambda: None
        self.on_notice: Tell = _log
        self._attempts = _Attempts(streams)
        self._lock = threading.Lock()  # over the reserve and the five below; held by whoever asks for samples
        self._standing_in = False
        self._called = self._steady_since = -np.inf  # last callback of the device; since when they have come steadily
        self._sounded = -np.inf  # last callback of the device that was given more than silence
        self._gone: DeviceError | None = None
        self._stand_in: Speaker | None = None
        self._told = False  # that nothing is heard
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="loudspeaker", daemon=True)

    def open(self, fill: Fill) -> None:
        """Call ``fill`` until ``close``. Raises DeviceError where the device does not open now."""
        self._fill = fill
        self._opened = self._called = self._steady_since = self._monotonic()
        self._open_device()
        self._thread.start()

    def close(self) -> None:
        """Stop asking."""
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join(_GOODBYE_SECONDS)  # it may be opening a device of a frozen sound server
        if self._stand_in is not None:
            self._stand_in.close()
        _leave(self._device.close)

    def look(self) -> None:
        """See how the device does, and do something about it. The thread calls it again and again."""
        now = self._monotonic()
        with self._lock:
            if self._gone is not None or now - self._called > STALLED_SECONDS:
                self._standing_in = True
            standing_in, gone = self._standing_in, self._gone
        if standing_in and self._stand_in is None:
            self._stand_in = self._make_stand_in(self.rate)
            self._stand_in.open(self._from_stand_in)
        elif not standing_in and self._stand_in is not None:
            self._stand_in.close()
            self._stand_in = None
        self._tell(standing_in, now)
        if not standing_in:
            self._revise_reserve(now)
        if gone is not None and not self._attempts.due_in(now):
            self._try_again()

    def _run(self) -> None:
        while not self._over.wait(_LOOK_SECONDS):
            try:
                self.look()
            except Exception:  # nobody would notice the end of this thread: the stand-in plays on
                log.exception("The loudspeaker could not be looked after; it is tried again.")
                self._over.wait(_SLOWEST_TRY)

    def _revise_reserve(self, now: float) -> None:
        with self._lock:
            revised = self._reserve.revised(now, quiet=now - self._sounded > _QUIET_SECONDS)
        if revised:
            self._lost(self._device, DeviceError("It is to hold more or less sound."))

    def _tell(self, standing_in: bool, now: float) -> None:
        silent = standing_in and now - max(self._called, self._opened + _STARTING_SECONDS) > _HICCUP_SECONDS
        if silent == self._told or (standing_in and not silent):
            return
        self._told = silent
        if silent:
            self.on_notice(Notice("warning", "The loudspeaker is silent; it is awaited."))
        else:
            self.on_notice(Notice("info", "The loudspeaker is back."))

    def _open_device(self) -> None:
        device = self._device
        device.on_lost = lambda error: self._lost(device, error)
        device.on_dry = lambda: self._ran_dry(device)
        device.open(lambda out, dac_time: self._from_device(device, out, dac_time))

    def _try_again(self) -> None:
        _leave(self._device.close)
        try:
            self._device = self._make(self.rate, self._reserve.seconds)
            self._open_device()
        except DeviceError as error:
            log.debug("Not yet: %s", error)
            self._attempts.note_failure(self._monotonic())
            return
        with self._lock:
            self._gone = None
            self._called = self._steady_since = self._monotonic()

    def _lost(self, device: Speaker, error: DeviceError) -> None:
        with self._lock:
            if device is self._device and self._gone is None:
                self._gone = error
                self._attempts.begin(self._monotonic())

    def _ran_dry(self, device: Speaker) -> None:
        with self._lock:
            now = self._monotonic()
            counts = device is self._device and now - self._steady_since > _STARTING_SECONDS
            if counts:
                self._reserve.note_dry(now)
        if counts:
            self.on_dry()

    def _from_device(self, device: Speaker, out: np.ndarray, dac_time: float) -> None:
        with self._lock:
            now = self._monotonic()
            if now - self._called > STALLED_SECONDS:
                self._steady_since = now
            self._called = now
            current = device is self._device
            if current and now - self._steady_since >= _STEADY_SECONDS:
                self._standing_in = False
            if current and not self._standing_in:
                self._fill(out, dac_time)
                self._sounded = now if out.any() else self._sounded
            else:
                out[:] = 0

    def _from_stand_in(self, out: np.ndarray, dac_time: float) -> None:
        with self._lock:
            if self._standing_in:
                self._fill(out, dac_time)


class LastingMicrophone:
    """A microphone that hears silence while its device is away. A ``Microphone``."""

    def __init__(
        self,
        make: Callable[[], Microphone],
        tell: Tell = _log,
        streams: PortAudioStreams | None = None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """``make`` opens nothing yet. Raises DeviceError where there is no device now."""
        self._make, self._tell, self._monotonic = make, tell, monotonic
        self._lock = threading.Lock()  # over the two below: whatever was opened is closed
        self._device = make()
        self._closing = threading.Event()
        self._attempts = _Attempts(streams)
        self._news: queue.SimpleQueue[AudioBlock | None] = queue.SimpleQueue()  # None: the device has gone
        self._position = 0

    @property
    def name(self) -> str:
        """The device's name."""
        return self._device.name

    def open(self) -> None:
        """Begin to capture. Raises DeviceError."""
        self._device.open()
        threading.Thread(target=self._run, name="microphone", daemon=True).start()

    def blocks(self) -> Iterator[AudioBlock]:
        """Blocks in real time until ``close``: those of the device, silent ones while there are none."""
        heard_until = heard_at = self._monotonic()
        told = False  # that nothing is heard
        away = False  # the device delivers nothing
        while not self._closing.is_set():
            block = self._next(BLOCK / RATE if away else STALLED_SECONDS)
            now = self._monotonic()
            if block is not None:
                if told:
                    self._tell(Notice("info", "The microphone is back."))
                told = away = False
                heard_at, heard_until = now, block.time
                yield self._placed(block)
                continue
            if self._closing.is_set():
                return
            away = True
            if not told and now - heard_at > _HICCUP_SECONDS:
                told = True
                self._tell(Notice("warning", "The microphone delivers nothing; it is awaited."))
            for silence in self._silence(heard_until, now):
                heard_until = silence.time
                yield self._placed(silence)

    def close(self) -> None:
        """Stop; ``blocks`` ends."""
        with self._lock:
            self._closing.set()
            device = self._device
        self._news.put(None)
        _leave(device.close)

    def _next(self, seconds: float) -> AudioBlock | None:
        """The device's next block, if one comes in that time and the device has not gone."""
        try:
            return self._news.get(timeout=seconds)
        except queue.Empty:
            return None

    def _silence(self, since: float, now: float) -> Iterator[AudioBlock]:
        while since + BLOCK / RATE <= now:
            since += BLOCK / RATE
            yield AudioBlock(np.zeros(BLOCK, np.float32), 0, since)

    def _placed(self, block: AudioBlock) -> AudioBlock:
        placed = replace(block, position=self._position)
        self._position += len(block.pcm)
        return placed

    def _run(self) -> None:
        """Take the device's blocks; when it has gone, open it anew, for so long as that may take."""
        while not self._closing.is_set():
            try:
                for block in self._device.blocks():
                    self._news.put(block)
            except DeviceError as error:
                log.warning("%s", error)
            except Exception:
                log.exception("The microphone has failed; it is opened anew.")
            self._news.put(None)
            self._attempts.begin(self._monotonic())
            while not self._closing.wait(self._attempts.due_in(self._monotonic())) and not self._try_again():
                pass

    def _try_again(self) -> bool:
        """Whether it opened."""
        _leave(self._device.close)
        try:
            device = self._make()
            device.open()
        except DeviceError as error:
            log.debug("Not yet: %s", error)
            self._attempts.note_failure(self._monotonic())
            return False
        with self._lock:
            self._device, too_late = device, self._closing.is_set()
        if too_late:
            device.close()
        return True


def lasting_speaker(device: str | None, streams: PortAudioStreams) -> LastingSpeaker:
    """The loudspeaker called ``device``, see SoundDeviceSpeaker. Raises DeviceError."""
    return LastingSpeaker(
        lambda rate, held: SoundDeviceSpeaker(device, latency=held, rate=rate, streams=streams), streams
    )


def lasting_microphone(device: str | None, tell: Tell, streams: PortAudioStreams | None) -> LastingMicrophone:
    """The microphone called ``device``, see SoundDeviceMicrophone. Raises DeviceError."""
    return LastingMicrophone(lambda: SoundDeviceMicrophone(device, streams=streams), tell, streams)


def _leave(close: Callable[[], None]) -> None:
    """Close a device, for so long as that may take."""

    def run() -> None:
        with contextlib.suppress(Exception):  # it is broken: nothing about that is news
            close()

    closing = threading.Thread(target=run, name="closing a device", daemon=True)
    closing.start()
    closing.join(_GOODBYE_SECONDS)
