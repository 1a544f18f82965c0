"""Samples on their way to the loudspeaker, with manual time and with the simulated device."""

import threading
import time as real_time

import numpy as np
import pytest

from demo.devices import DeviceError
from demo.playback import Playback, PlaybackCounts, SimulatedSpeaker, SoundDeviceSpeaker

RATE = 1000
LATENCY = 0.05


class ManualSpeaker:
    """Asks for samples when the test says so."""

    rate = RATE

    def __init__(self) -> None:
        self.seconds = 10.0
        self.heard: list[np.ndarray] = []

    def open(self, fill):
        self.fill = fill

    def close(self):
        pass

    def play(self, samples: int, block: int = 10) -> None:
        for _ in range(samples // block):
            out = np.full(block, 9.0, np.float32)
            self.fill(out, self.seconds + LATENCY)
            self.heard.append(out)
            self.seconds += block / RATE

    def sound(self) -> np.ndarray:
        return np.concatenate(self.heard)


@pytest.fixture
def speaker():
    return ManualSpeaker()


@pytest.fixture
def playback(speaker):
    playback = Playback(speaker, monotonic=lambda: speaker.seconds)
    playback.open()
    return playback


def ramp(count: int, start: int = 0) -> np.ndarray:
    return np.arange(start + 1, start + count + 1, dtype=np.float32) / 1000


def test_silence_is_played_between_turns(playback, speaker):
    speaker.play(100)
    assert not speaker.sound().any()
    assert playback.clock.now().seconds is None
    assert playback.clock.session() == pytest.approx(0.05)


def test_a_turn_is_heard_from_its_start_to_its_last_sample(playback, speaker):
    done = playback.begin(1, RATE)
    playback.write(1, ramp(60))
    speaker.play(50)
    assert not speaker.sound().any()
    playback.start(1)
    speaker.play(20)
    playback.write(1, ramp(40, 60))
    playback.end(1)
    speaker.play(80)
    assert not done.done(), "the last sample has not left the speaker yet"
    speaker.play(70)
    assert done.result(0) is True
    np.testing.assert_array_equal(speaker.sound()[50:150], ramp(100))
    assert not speaker.sound()[150:].any()
    assert playback.clock.now().seconds == pytest.approx(0.1)
    assert playback.first_sample_at(1) == pytest.approx(10.05 + LATENCY)


def test_a_starved_voice_is_filled_up_with_silence_that_does_not_count(playback, speaker):
    playback.begin(1, RATE)
    playback.write(1, ramp(30))
    playback.start(1)
    speaker.play(70)
    playback.write(1, ramp(30, 30))
    playback.end(1)
    speaker.play(100)
    np.testing.assert_array_equal(speaker.sound()[70:100], ramp(30, 30))
    counts = playback.counts()
    assert (counts.played, counts.underruns, counts.starved) == (60, 1, 40)
    assert playback.clock.now().seconds == pytest.approx(0.06)


def test_stopping_fades_out_at_once_and_forgets_the_rest(playback, speaker):
    done = playback.begin(1, RATE)
    playback.write(1, np.full(500, 0.5, np.float32))
    playback.start(1)
    speaker.play(100)
    playback.stop()
    speaker.play(100)
    tail = speaker.sound()[100:]
    assert done.result(0) is False
    assert np.count_nonzero(tail) <= 8 and (np.diff(tail[:8]) < 0).all()
    assert not playback.write(1, ramp(10))
    assert playback.clock.now().seconds is None, "the face must go to rest"


def test_stopping_tells_how_much_was_heard_and_when_it_is_silent(playback, speaker):
    assert playback.stop() == 0.0
    playback.begin(1, RATE)
    playback.write(1, np.full(500, 0.5, np.float32))
    playback.start(1)
    speaker.play(100)
    assert playback.stop() == pytest.approx(0.1)
    assert playback.silent_at() == pytest.approx(10.1 + LATENCY + 0.008, abs=0.011)
    playback.begin(2, RATE)
    speaker.play(20)
    assert speaker.sound()[100:108].any(), "the next turn does not cut the fading"
    assert not speaker.sound()[108:].any()


def test_the_fading_is_heard_at_once_and_not_after_the_next_turn(playback, speaker):
    playback.begin(1, RATE)
    playback.write(1, np.full(500, 0.5, np.float32))
    playback.start(1)
    speaker.play(100)
    playback.begin(2, RATE)
    playback.write(2, np.full(100, 0.1, np.float32))
    playback.end(2)
    speaker.play(200)
    faded = np.full(8, 0.1) + 0.5 * np.linspace(1, 0, 8)
    np.testing.assert_allclose(speaker.sound()[100:108], faded, rtol=1e-5)
    np.testing.assert_allclose(speaker.sound()[108:200], 0.1, rtol=1e-5)
    assert not speaker.sound()[200:].any()


def test_a_new_turn_silences_the_older_one(playback, speaker):
    first = playback.begin(1, RATE)
    playback.write(1, np.full(500, 0.5, np.float32))
    playback.start(1)
    speaker.play(50)
    playback.begin(2, RATE)
    assert first.result(0) is False
    assert not playback.write(1, ramp(10))
    assert playback.write(2, ramp(20))
    playback.end(1)
    playback.end(2)
    speaker.play(100)
    played = speaker.sound()[50:]
    np.testing.assert_array_equal(played[8:20], ramp(20)[8:])
    assert not played[28:].any()
    assert playback.clock.now().turn == 2


def test_an_empty_turn_ends(playback, speaker):
    done = playback.begin(1, RATE)
    playback.end(1)
    speaker.play(100)
    assert done.result(0) is True


def test_a_voice_at_another_rate_keeps_its_length_and_pitch(playback, speaker):
    playback.begin(1, 500)
    tone = np.sin(2 * np.pi * 50 * np.arange(250) / 500).astype(np.float32) * 0.5
    for start in range(0, 250, 33):
        playback.write(1, tone[start : start + 33])
    playback.end(1)
    speaker.play(500)
    expected = np.sin(2 * np.pi * 50 * np.arange(500) / RATE) * 0.5
    np.testing.assert_allclose(speaker.sound()[50:450], expected[50:450], atol=0.01)


def test_what_listens_hears_everything_in_order_and_may_fail(playback, speaker, caplog):
    heard = []
    playback.taps.append(lambda pcm, heard_at: heard.append(pcm))
    playback.begin(1, RATE)
    playback.write(1, ramp(20))
    playback.end(1)
    speaker.play(50)
    np.testing.assert_array_equal(np.concatenate(heard), speaker.sound())

    def fail(_pcm, _heard_at):
        raise RuntimeError("a tap that breaks")

    playback.taps.append(fail)
    speaker.play(20)
    assert len(speaker.sound()) == 70 and "listens to the loudspeaker failed" in caplog.text


def test_too_loud_is_clipped(playback, speaker):
    playback.begin(1, RATE)
    playback.write(1, np.array([3.0, -3.0], np.float32))
    playback.end(1)
    speaker.play(10)
    np.testing.assert_array_equal(speaker.sound()[:2], [1, -1])


def test_the_simulated_device_keeps_real_time():
    speaker = SimulatedSpeaker(rate=48000, latency=0.02)
    blocks = []
    enough = threading.Event()

    def fill(out, dac_time):
        blocks.append((dac_time, real_time.monotonic(), len(out)))
        if len(blocks) == 40:
            enough.set()

    speaker.open(fill)
    assert enough.wait(10)
    speaker.close()
    heard_at = np.array([block[0] for block in blocks[:40]])
    np.testing.assert_allclose(np.diff(heard_at), 0.01, atol=1e-9)
    early = [called <= heard for heard, called, _ in blocks]
    assert np.mean(early) > 0.5  # a busy machine may call late, but the nominal time never drifts


class FakePortAudio:
    """As much of sounddevice as a loudspeaker needs."""

    class PortAudioError(Exception):
        pass

    class default:  # noqa: N801 - sounddevice's name
        device = (-1, 0)

    def __init__(self, opens: bool = True, starts: bool = True) -> None:
        self.opens, self.starts, self.open, self.names = opens, starts, 0, ["Fake"]

    def query_devices(self):
        device = {"hostapi": 0, "max_input_channels": 0, "max_output_channels": 2, "default_samplerate": 44100.0}
        return [device | {"name": name} for name in self.names]

    def query_hostapis(self):
        return [{"name": "Fake", "default_input_device": -1, "default_output_device": 0}]

    def OutputStream(self, **options):  # noqa: N802 - sounddevice's name
        if not self.opens:
            raise self.PortAudioError("device busy")
        self.options = options
        self.open += 1
        return self

    latency = 0.07

    def start(self):
        if not self.starts:
            raise self.PortAudioError("Wait timed out")

    def close(self):
        self.open -= 1


class Times:
    def __init__(self, current: float, dac: float) -> None:
        self.currentTime, self.outputBufferDacTime = current, dac


class Status:
    def __init__(self, output_underflow: bool = False) -> None:
        self.output_underflow = output_underflow


def test_a_device_that_runs_dry_while_a_turn_is_heard_is_counted():
    backend = FakePortAudio()
    speaker = SoundDeviceSpeaker(backend=backend, monotonic=lambda: 50.0)
    playback = Playback(speaker, monotonic=lambda: 50.0)
    playback.open()

    def call(dry):
        backend.options["callback"](np.zeros((64, 2), np.float32), 64, Times(5.0, 5.03), Status(dry))

    playback.begin(1, speaker.rate)
    playback.write(1, np.full(160, 0.5, np.float32))
    playback.end(1)
    for dry in (True, False, True, False, True, True):  # before, within twice, and after it
        call(dry)
    assert playback.counts() == PlaybackCounts(played=160, dry=1)
    playback.begin(2, speaker.rate)
    assert playback.counts().dry == 0


@pytest.mark.parametrize(("current", "dac", "delay"), [(5.0, 5.03, 0.03), (5.0, 0.0, 0.07), (0.0, 99.0, 0.07)])
def test_an_absurd_delay_is_not_believed_and_said_once(current, dac, delay, caplog):
    backend = FakePortAudio()
    speaker = SoundDeviceSpeaker(backend=backend, monotonic=lambda: 50.0)
    times = []

    def fill(out, dac_time):
        out[:] = 0.25
        times.append(dac_time)

    speaker.open(fill)
    out = np.zeros((64, 2), np.float32)
    for _ in range(3):
        backend.options["callback"](out, 64, Times(current, dac), Status())
    assert times == pytest.approx([50 + delay] * 3)
    assert (out == 0.25).all()
    assert len(caplog.records) == (0 if delay == 0.03 else 1)
    assert speaker.rate == 44100


def test_an_unknown_loudspeaker_is_named():
    with pytest.raises(DeviceError, match=r"no loudspeaker 'Organ'.*--list-devices"):
        SoundDeviceSpeaker("Organ", backend=FakePortAudio())


def test_a_busy_loudspeaker_is_named():
    speaker = SoundDeviceSpeaker(backend=FakePortAudio(opens=False))
    with pytest.raises(DeviceError, match=r"'Fake' does not open.*--output-device"):
        speaker.open(lambda out, at: None)


def test_a_loudspeaker_that_opens_and_does_not_start_is_closed():
    backend = FakePortAudio(starts=False)
    speaker = SoundDeviceSpeaker(backend=backend)
    with pytest.raises(DeviceError, match="does not open"):
        speaker.open(lambda out, at: None)
    assert backend.open == 0
    speaker.close()
    assert backend.open == 0, "once only: its place may be another's by now"


def test_a_loudspeaker_that_was_given_another_number_meanwhile_is_opened_by_that():
    backend = FakePortAudio()
    speaker = SoundDeviceSpeaker("Fake", backend=backend)
    backend.names.insert(0, "HDMI")
    speaker.open(lambda out, at: None)
    assert backend.options["device"] == 1


def test_a_loudspeaker_that_vanishes_is_told_and_one_that_is_closed_is_not():
    backend, lost = FakePortAudio(), []
    speaker = SoundDeviceSpeaker(backend=backend)
    speaker.on_lost = lost.append
    speaker.open(lambda out, at: None)
    backend.options["finished_callback"]()
    assert len(lost) == 1 and "is gone; plug it in" in str(lost[0])
    speaker.close()
    backend.options["finished_callback"]()
    assert len(lost) == 1
