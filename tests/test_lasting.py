"""Loudspeakers and microphones that go and come back, in manual time."""

import itertools
import queue
import threading

import numpy as np
import pytest

from demo import lasting
from demo.devices import DeviceError, PortAudioStreams, find_device
from demo.lasting import LastingMicrophone, LastingSpeaker
from demo.microphone import BLOCK, RATE, AudioBlock, SoundDeviceMicrophone
from demo.playback import Playback, SoundDeviceSpeaker
from tests.test_devices import FakePortAudio

HZ = 1000
STEP = 0.01


class Device:
    """A loudspeaker, or its stand-in, that asks when the test says so."""

    rate = HZ

    def __init__(self, world):
        self.world, self.opened, self.closed = world, False, False

    def open(self, fill):
        if self.world.unplugged:
            raise DeviceError("unplugged")
        self.fill, self.opened = fill, True

    def close(self):
        self.closed = True

    def ask(self):
        out = np.full(int(STEP * HZ), 9.0, np.float32)
        self.fill(out, self.world.now + 0.02)
        return out


class World:
    """Time, the devices made so far, and whether there is one to be had."""

    def __init__(self, streams=None):
        self.now, self.unplugged, self.frozen = 50.0, False, False
        self.devices, self.stand_ins, self.notices = [], [], []
        self.speaker = LastingSpeaker(self._make, streams, stand_in=self._stand_in, monotonic=lambda: self.now)
        self.speaker.on_notice = lambda notice: self.notices.append(notice.text)
        self.speaker._over.set()  # its thread ends: the test looks itself
        self.playback = Playback(self.speaker, monotonic=lambda: self.now)
        self.playback.open()

    def _make(self, rate, held):
        assert rate in (None, HZ)
        self.held = held
        if self.unplugged and self.devices:
            raise DeviceError("There is no loudspeaker.")
        self.devices.append(Device(self))
        return self.devices[-1]

    def _stand_in(self, rate):
        assert rate == HZ
        self.stand_ins.append(device := Device(self))
        device.open = lambda fill: setattr(device, "fill", fill)
        return device

    def pass_time(self, seconds):
        for _ in range(round(seconds / STEP)):
            self.now += STEP
            device = self.devices[-1]
            if device.opened and not (self.frozen or self.unplugged or device.closed):
                device.ask()
            for stand_in in self.stand_ins:
                if not stand_in.closed:
                    stand_in.ask()
            self.speaker.look()


@pytest.fixture
def world():
    world = World()
    world.pass_time(4)
    return world


def talk(world, seconds=30):
    world.playback.begin(1, HZ)
    world.playback.write(1, np.full(seconds * HZ, 0.5, np.float32))
    world.playback.end(1)


def test_a_frozen_device_is_noticed_and_the_turn_goes_on(world):
    talk(world)
    world.pass_time(1)
    before = world.playback.clock.now().seconds
    world.frozen = True
    world.pass_time(0.5)
    assert len(world.stand_ins) == 1 and world.notices == [], "a hiccup is not worth a word"
    stood = world.playback.clock.now().seconds
    world.pass_time(2)
    assert world.notices == ["The loudspeaker is silent; it is awaited."]
    assert world.playback.clock.now().seconds - stood == pytest.approx(2, abs=0.05)
    assert stood - before < 0.2
    assert len(world.devices) == 1, "a frozen one is not opened anew: it will thaw"


def test_when_it_calls_steadily_again_it_is_believed(world):
    talk(world)
    world.pass_time(1)
    world.frozen = True
    world.pass_time(3)
    world.frozen = False
    world.pass_time(0.2)
    assert world.notices[-1] == "The loudspeaker is silent; it is awaited.", "one callback is no loudspeaker"
    world.pass_time(0.3)
    assert world.notices[-1] == "The loudspeaker is back."
    assert world.stand_ins[-1].closed
    before = world.playback.clock.now().seconds
    world.pass_time(1)
    assert world.playback.clock.now().seconds - before == pytest.approx(1, abs=0.05), "asked by one of them only"


def test_no_sample_is_lost_or_doubled_by_the_change(world):
    ramp = np.arange(1, 4001, dtype=np.float32) / 5000
    world.playback.begin(1, HZ)
    world.playback.write(1, ramp)
    world.playback.end(1)
    heard = []
    world.playback.taps.append(lambda pcm, _: heard.append(pcm))
    world.pass_time(1)
    world.frozen = True
    world.pass_time(1)
    world.frozen = False
    world.pass_time(4)
    np.testing.assert_array_equal(np.concatenate(heard)[np.concatenate(heard) > 0], ramp)


def test_an_unplugged_device_is_opened_again_when_it_returns(world):
    talk(world)
    world.pass_time(1)
    world.unplugged = True
    world.devices[-1].on_lost(DeviceError("gone"))
    world.pass_time(0.1)
    assert len(world.stand_ins) == 1
    world.pass_time(20)
    assert world.notices == ["The loudspeaker is silent; it is awaited."]
    assert len(world.devices) == 1 and world.playback.clock.now().seconds > 20
    world.unplugged = False
    world.pass_time(2.0)
    assert len(world.devices) == 2 and world.notices[-1] == "The loudspeaker is back."
    assert world.devices[0].closed


def test_a_device_that_begins_with_a_gap_is_no_news():
    world = World()
    world.devices[0].ask()
    world.frozen = True
    world.pass_time(1.9)
    world.frozen = False
    world.pass_time(1)
    assert world.notices == []


def run_dry(world, times=3, apart=4.0):
    for _ in range(times):
        world.devices[-1].on_dry()
        world.pass_time(apart)


def test_a_device_that_runs_dry_again_and_again_is_made_to_hold_more(world):
    run_dry(world, 2)
    assert world.held == 0.06 and len(world.devices) == 1
    run_dry(world, 1)
    assert world.held == 0.12 and len(world.devices) == 2
    assert world.devices[0].closed and world.stand_ins[-1].closed
    assert world.notices == [], "hardly anything is missed"
    run_dry(world, 9)
    assert world.held == 0.24 and len(world.devices) == 3, "more is held by nobody"


def test_a_device_that_runs_dry_now_and_then_is_left_alone(world):
    run_dry(world, 4, apart=31)
    assert len(world.devices) == 1


def test_a_device_may_begin_by_running_dry_and_one_that_was_replaced_says_nothing(world):
    run_dry(world)
    assert world.held == 0.12
    world.devices[0].on_dry()
    world.devices[0].on_dry()
    world.devices[0].on_dry()
    world.speaker._steady_since = world.now
    run_dry(world, 6, apart=0.3)
    world.pass_time(1)
    assert world.held == 0.12


def test_a_frozen_sound_server_is_no_device_that_runs_dry(world):
    for _ in range(4):
        world.frozen = True
        world.pass_time(1.9)
        world.frozen = False
        world.pass_time(2)
    assert world.held == 0.06 and len(world.devices) == 1


def test_after_a_calm_time_it_holds_less_again_while_nothing_is_said(world):
    run_dry(world)
    talk(world, seconds=610)
    world.pass_time(611)
    assert world.held == 0.12, "something was said until now"
    world.pass_time(6)
    assert world.held == 0.06 and len(world.devices) == 3
    assert world.stand_ins[-1].closed
    world.pass_time(3)
    run_dry(world)
    assert world.held == 0.12
    world.pass_time(700)
    assert world.held == 0.12, "once bitten, twice shy"
    world.pass_time(600)
    assert world.held == 0.06


def test_a_machine_without_a_loudspeaker_is_told_at_the_start():
    def make(_rate, _held):
        raise DeviceError("No loudspeaker was found.")

    with pytest.raises(DeviceError):
        LastingSpeaker(make)


def test_closing_a_frozen_device_takes_no_longer_than_it_may():
    device = Device(World())
    device.close = threading.Event().wait
    speaker = LastingSpeaker(lambda rate, held: device)
    speaker.open(lambda out, dac_time: None)
    closing = threading.Thread(target=speaker.close)
    closing.start()
    closing.join(5)
    assert not closing.is_alive()


class Restarting(FakePortAudio):
    """Can be started anew while the test does not forbid it, and counts how often it runs, as sounddevice does."""

    def __init__(self, entries=()):
        super().__init__(list(entries))
        self.running, self.refuses = 1, False

    def _terminate(self):
        if not self.running:
            raise self.PortAudioError("PortAudio not initialized")
        self.running -= 1

    def _initialize(self):
        if self.refuses:
            raise self.PortAudioError("Unanticipated host error")
        self.running += 1


def test_a_sound_system_that_does_not_start_anew_can_be_asked_again():
    backend = Restarting()
    streams = PortAudioStreams(backend)
    backend.refuses = True
    for _ in range(2):
        with pytest.raises(DeviceError, match="does not answer \\(Unanticipated host error\\)"):
            streams.rescan()
    backend.refuses = False
    streams.rescan()
    assert backend.running == 1


def test_a_loudspeaker_outlasts_a_sound_system_that_does_not_start_anew():
    backend = Restarting()
    world = World(PortAudioStreams(backend))
    world.pass_time(1)
    world.unplugged = backend.refuses = True
    world.devices[-1].on_lost(DeviceError("gone"))
    world.pass_time(5)
    assert backend.running == 0
    world.unplugged = backend.refuses = False
    world.pass_time(2)
    assert world.notices[-1] == "The loudspeaker is back."


def test_whatever_fails_while_a_loudspeaker_is_looked_after_it_is_looked_after_still(monkeypatch, caplog):
    monkeypatch.setattr(lasting, "_SLOWEST_TRY", 0.0)
    speaker, looked = LastingSpeaker(lambda rate, held: Device(World())), []

    def look():
        looked.append(len(looked))
        if looked == [0]:
            raise ZeroDivisionError("a driver's")
        speaker._over.set()

    speaker.look = look
    speaker.open(lambda out, dac_time: None)
    speaker._thread.join(5)
    assert looked == [0, 1] and "ZeroDivisionError" in caplog.text


class Ear:
    """A microphone whose blocks the test puts in."""

    name = "ear"

    def __init__(self):
        self.queue = queue.SimpleQueue()

    def open(self):
        pass

    def blocks(self):
        while (block := self.queue.get()) is not None:
            if isinstance(block, Exception):
                raise block
            yield block

    def close(self):
        self.queue.put(None)


def block(value, time=0.0):
    return AudioBlock(np.full(BLOCK, value, np.float32), 0, time)


def test_a_lost_microphone_hears_silence_until_it_is_back():
    ears, told, backend = [], [], Restarting()
    backend.refuses = True  # which is no reason to give up

    def make():
        if ears and not told:
            raise DeviceError("There is no microphone.")
        ears.append(Ear())
        return ears[-1]

    def tell(notice):
        told.append(notice.text)

    time = itertools.count(10.0, 0.02)  # goes on with every question
    microphone = LastingMicrophone(make, tell, PortAudioStreams(backend), monotonic=lambda: next(time))
    microphone.open()
    ears[0].queue.put(block(0.5, 10.0))
    ears[0].queue.put(DeviceError("The microphone is gone."))
    heard = []
    for one in microphone.blocks():
        heard.append(one)
        if len(ears) == 2 and ears[1].queue.empty() and not heard[-1].pcm.any():
            ears[1].queue.put(block(0.25, one.time + BLOCK / RATE))
        if one.pcm[0] == 0.25:
            microphone.close()
    assert told == ["The microphone delivers nothing; it is awaited.", "The microphone is back."]
    assert [one.position for one in heard] == [BLOCK * k for k in range(len(heard))], "no position is lost or doubled"
    values = [float(one.pcm[0]) for one in heard]
    assert values[0] == 0.5 and values[-1] == 0.25 and not any(values[1:-1]) and len(values) > 3
    assert (np.diff([one.time for one in heard]) > 0).all()
    assert backend.running == 0


def listened(microphone):
    """What its blocks give, in a thread of their own; and that thread."""
    heard = queue.SimpleQueue()
    thread = threading.Thread(target=lambda: [heard.put(one) for one in microphone.blocks()], daemon=True)
    thread.start()
    return heard, thread


def test_a_microphone_that_hangs_while_it_is_opened_anew_keeps_nobody_waiting():
    opening, thaws = threading.Event(), threading.Event()

    class Frozen(Ear):
        def open(self):
            opening.set()
            assert thaws.wait(30)

    frozen = Frozen()
    ears = iter([ear := Ear(), frozen])
    microphone = LastingMicrophone(lambda: next(ears), lambda notice: None)
    microphone.open()
    heard, listening = listened(microphone)
    ear.queue.put(DeviceError("The microphone is gone."))
    assert opening.wait(5)
    heard_before = heard.qsize()
    assert not any(heard.get(timeout=5).pcm.any() for _ in range(heard_before + 3)), "silence goes on"
    microphone.close()
    listening.join(5)
    assert not listening.is_alive()
    thaws.set()
    assert frozen.queue.get(timeout=5) is None, "what opens too late is closed"


def test_a_microphone_that_fails_in_a_way_nobody_thought_of_is_opened_anew(caplog):
    ears = iter([broken := Ear(), well := Ear()])
    microphone = LastingMicrophone(lambda: next(ears), lambda notice: None)
    microphone.open()
    heard, _ = listened(microphone)
    broken.queue.put(ZeroDivisionError("a driver's"))
    well.queue.put(block(0.25))
    assert any(heard.get(timeout=5).pcm.any() for _ in range(300))
    microphone.close()
    assert "ZeroDivisionError" in caplog.text


def test_a_microphone_that_stands_still_is_silent():
    ear, told = Ear(), []
    microphone = LastingMicrophone(lambda: ear, lambda notice: told.append(notice.text))
    microphone.open()
    blocks = microphone.blocks()
    assert not next(blocks).pcm.any()
    while not told:
        assert not next(blocks).pcm.any()
    microphone.close()
    assert not any(one.pcm.any() for one in blocks)


def test_looking_for_new_devices_interrupts_every_stream_that_is_open():
    calls = []

    class Backend(FakePortAudio):
        def _terminate(self):
            calls.append("terminate")

        def _initialize(self):
            calls.append("initialise")

    streams = PortAudioStreams(Backend([]))
    with streams.opening(first := lambda: calls.append("first")):
        pass
    with streams.opening(second := lambda: calls.append("second")):
        pass
    streams.closed(second)
    with pytest.raises(DeviceError), streams.opening(second):
        raise DeviceError("did not open")
    streams.rescan(interrupting=False)
    assert not calls
    streams.rescan()
    assert calls == ["first", "terminate", "initialise"]
    streams.rescan(interrupting=False)
    assert calls[3:] == ["terminate", "initialise"]
    streams.closed(first)


def test_while_something_else_works_devices_are_looked_for_ever_more_rarely():
    """Of a sound server that was just started there may have been loudspeakers, but no microphones yet."""
    streams, closed, interruptions = PortAudioStreams(Restarting()), [], []
    attempts = lasting._Attempts(streams)
    attempts.begin(0.0)
    attempts.note_failure(0.0)  # nothing is open: nobody is interrupted
    for failure in range(1, 150):
        if len(closed) == len(interruptions):
            with streams.opening(close := lambda: closed.append(True)):
                pass
        attempts.note_failure(0.0)
        if len(closed) > len(interruptions):
            interruptions.append(failure)
            assert attempts.due_in(0.0) == 0.25, "nobody is interrupted for what is not used at once"
        else:
            streams.closed(close)
    assert interruptions == [2, 10, 42, 102]


@pytest.mark.parametrize("device", [SoundDeviceMicrophone, SoundDeviceSpeaker])
def test_nobody_looks_a_device_up_while_the_sound_system_starts_anew(device):
    looked = threading.Event()

    class Backend(Restarting):
        def _initialize(self):
            looking.start()
            assert not looked.wait(0.2)
            super()._initialize()

        def query_devices(self):
            looked.set()
            return super().query_devices()

    backend = Backend([("Headset", 0, 1, 1, 48000.0)])
    streams = PortAudioStreams(backend)
    looking = threading.Thread(target=device, kwargs={"streams": streams, "backend": backend})
    streams.rescan()
    looking.join(5)
    assert looked.is_set()


def test_a_device_that_claims_0_hz_is_taken_at_the_usual_rate():

    backend = FakePortAudio([("Broken", 0, 1, 0, 0.0)])
    assert find_device(None, "input", backend).rate == 48000
