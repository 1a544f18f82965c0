import logging
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from demo.devices import DeviceError
from demo.microphone import BLOCK, RATE, SoundDeviceMicrophone, WavMicrophone
from streamingtalker.audio import AudioError
from streamingtalker.errors import UserError
from tests.test_devices import FakePortAudio


class ManualClock:
    """Time that passes only when somebody waits for it."""

    def __init__(self):
        self.now = 100.0

    def monotonic(self):
        return self.now

    def wait_until(self, due):
        self.now = max(self.now, due)


class FakeSoundCard(FakePortAudio):
    """A sound card whose callback the test calls."""

    def __init__(self, name="Mic", channels=2, rate=48000.0, accepts=None, starts=None):
        super().__init__([(name, 0, channels, 0, rate)])
        self.accepts, self.starts = accepts, starts
        self.stream = None
        self.left_open = []  # formats of streams that were not closed

    def InputStream(self, **options):  # noqa: N802 - its name in sounddevice
        if self.accepts and (options["channels"], options["samplerate"]) not in self.accepts:
            raise self.PortAudioError("Invalid sample rate")
        form = options["channels"], options["samplerate"]
        self.left_open.append(form)

        def start():
            if self.starts and form not in self.starts:
                raise self.PortAudioError("Wait timed out")

        def close():
            self.left_open.remove(form)
            options["finished_callback"]()

        self.stream = SimpleNamespace(**options, start=start, close=close)
        return self.stream

    def deliver(self, pcm, age=0.0, overflow=False):
        seconds = len(pcm) / self.stream.samplerate
        times = SimpleNamespace(currentTime=7.0, inputBufferAdcTime=7.0 - age - seconds)
        self.stream.callback(pcm, len(pcm), times, SimpleNamespace(input_overflow=overflow))


def sine(seconds, rate, hertz=440.0, level=0.5):
    return (level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def captured(card, pcm, chunk=1000, **options):
    """All blocks of a microphone to which ``pcm`` [n, channels] was delivered."""
    microphone = SoundDeviceMicrophone(backend=card, **options)
    microphone.open()
    for first in range(0, len(pcm), chunk):
        card.deliver(pcm[first : first + chunk])
    microphone.close()
    return list(microphone.blocks())


@pytest.mark.parametrize(("rate", "channels"), [(48000, 2), (44100, 1), (16000, 1), (8000, 1), (96000, 2)])
def test_any_rate_and_channel_count_becomes_16_khz_mono(rate, channels):
    pcm = np.repeat(sine(1.0, rate)[:, None], channels, axis=1)
    blocks = captured(FakeSoundCard(channels=channels, rate=float(rate)), pcm)
    assert [block.position for block in blocks] == [BLOCK * k for k in range(len(blocks))]
    assert all(block.pcm.dtype == np.float32 and block.pcm.shape == (BLOCK,) for block in blocks)
    got = np.concatenate([block.pcm for block in blocks])
    assert len(got) > 0.85 * RATE  # the resampler and the last block hold a little back
    expected = sine(1.0, RATE)[: len(got)]
    assert np.abs(got - expected)[800:-800].max() < 0.02


def test_a_voice_on_one_of_two_channels_is_heard():
    pcm = np.stack([np.zeros(48000, np.float32), sine(1.0, 48000)], axis=1)
    blocks = captured(FakeSoundCard(), pcm)
    assert np.abs(blocks[10].pcm).max() > 0.2


def test_blocks_know_when_they_were_captured():
    clock, card = ManualClock(), FakeSoundCard(channels=1, rate=16000.0)
    microphone = SoundDeviceMicrophone(backend=card, monotonic=clock.monotonic)
    microphone.open()
    for _ in range(8):
        clock.now += 0.016
        card.deliver(np.zeros((256, 1), np.float32), age=0.005)
    microphone.close()
    blocks = list(microphone.blocks())
    assert [block.time for block in blocks] == pytest.approx([100.0 + 0.032 * (k + 1) - 0.005 for k in range(4)])
    assert blocks[1].time_of(blocks[1].position) == pytest.approx(blocks[0].time)


def test_a_senseless_capture_time_is_not_believed():
    clock, card = ManualClock(), FakeSoundCard(channels=1, rate=16000.0)
    microphone = SoundDeviceMicrophone(backend=card, monotonic=clock.monotonic)
    microphone.open()
    card.deliver(np.zeros((512, 1), np.float32), age=5000.0)
    microphone.close()
    assert next(microphone.blocks()).time == pytest.approx(clock.now)


def test_an_overflow_is_noted(caplog):
    card = FakeSoundCard(channels=1, rate=16000.0)
    microphone = SoundDeviceMicrophone(backend=card)
    microphone.open()
    card.deliver(np.zeros((512, 1), np.float32), overflow=True)
    microphone.close()
    with caplog.at_level(logging.WARNING):
        assert len(list(microphone.blocks())) == 1
    assert "lost samples" in caplog.text


def test_formats_are_tried_until_one_opens():
    card = FakeSoundCard(channels=6, rate=48000.0, accepts={(6, 44100)})
    SoundDeviceMicrophone(backend=card).open()
    assert (card.stream.channels, card.stream.samplerate) == (6, 44100)


def test_what_opens_and_does_not_start_is_closed():
    card = FakeSoundCard(channels=2, rate=48000.0, starts={(1, 44100)})
    microphone = SoundDeviceMicrophone(backend=card)
    microphone.open()
    assert card.left_open == [(1, 44100)]
    card.deliver(sine(1.0, 44100)[:, None])
    assert next(microphone.blocks()).pcm.any(), "what could not start was not lost"


def test_a_microphone_that_was_given_another_number_meanwhile_is_opened_by_that():
    card = FakeSoundCard()
    microphone = SoundDeviceMicrophone("Mic", backend=card)
    card.entries.insert(0, ("Webcam", 0, 1, 0, 48000.0))
    microphone.open()
    assert card.stream.device == 1


def test_a_microphone_that_does_not_open_is_a_clear_error():
    card = FakeSoundCard("Studio", accepts={(99, 1)})
    with pytest.raises(DeviceError, match=r"'Studio' does not open \(Invalid sample rate\).*--input-device"):
        SoundDeviceMicrophone(backend=card).open()


def test_an_unplugged_microphone_ends_with_an_error():
    card = FakeSoundCard("Headset", channels=1, rate=16000.0)
    microphone = SoundDeviceMicrophone(backend=card)
    microphone.open()
    card.deliver(np.zeros((512, 1), np.float32))
    card.stream.finished_callback()
    blocks = microphone.blocks()
    next(blocks)
    with pytest.raises(DeviceError, match="'Headset' is gone"):
        next(blocks)


def test_no_microphone_is_said_at_construction():
    with pytest.raises(DeviceError, match="No microphone was found"):
        SoundDeviceMicrophone(backend=FakePortAudio([]))


# --- recordings in place of a microphone ------------------------------------------------------------------------------


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def microphone(clock):
    microphone = WavMicrophone(monotonic=clock.monotonic, wait_until=clock.wait_until)
    microphone.open()
    return microphone


def write(path, pcm, rate=RATE, subtype="PCM_16"):
    soundfile.write(path, pcm, rate, subtype=subtype)
    return path


def take(microphone, seconds):
    blocks = microphone.blocks()
    return [next(blocks) for _ in range(int(seconds * RATE / BLOCK))]


def test_silence_comes_in_real_time(microphone):
    blocks = take(microphone, 1.0)
    assert [block.time for block in blocks] == pytest.approx([100 + 0.032 * (k + 1) for k in range(len(blocks))])
    assert not any(block.pcm.any() or block.recording for block in blocks)


def test_a_recording_plays_once_and_knows_its_true_end(microphone, tmp_path):
    speech = np.concatenate([np.zeros(4800), sine(1.0, RATE), np.zeros(8000)]).astype(np.float32)
    take(microphone, 0.5)
    microphone.play(write(tmp_path / "q.wav", speech))
    blocks = take(microphone, 4.0)
    recording = blocks[0].recording
    heard = np.concatenate([block.pcm for block in blocks])
    first = recording.start - blocks[0].position
    assert np.abs(heard[first : first + len(speech)] - speech).max() < 1e-3
    assert not heard[:first].any() and not heard[first + len(speech) :].any()
    assert recording.end - recording.start == len(speech)
    assert recording.last_speech_before(10**9) == recording.start + 4800 + RATE
    assert recording.last_speech_before(recording.start) is None
    assert recording.last_speech_before(recording.start + 8000) == recording.start + 8000


def test_the_true_end_of_speech_in_noise_is_not_the_end_of_the_noise(microphone, tmp_path):
    noise = np.random.default_rng(0).normal(0, 0.02, 3 * RATE)
    noise[RATE : 2 * RATE] += sine(1.0, RATE)
    microphone.play(write(tmp_path / "hall.wav", noise))
    recording = take(microphone, 0.1)[0].recording
    assert recording.last_speech_before(10**9) - recording.start == pytest.approx(2 * RATE, abs=160)


def test_recordings_wait_for_one_another(microphone, tmp_path):
    for name in ("a.wav", "b.wav"):
        microphone.play(write(tmp_path / name, sine(0.3, RATE)))
    recordings = {block.recording.path.name: block.recording for block in take(microphone, 5.0)}
    assert list(recordings) == ["a.wav", "b.wav"]
    assert recordings["b.wav"].start - recordings["a.wav"].end >= 1.5 * RATE


@pytest.mark.parametrize(
    ("rate", "channels", "subtype"),
    [(8000, 1, "PCM_16"), (48000, 2, "PCM_24"), (44100, 1, "FLOAT"), (22050, 2, "DOUBLE"), (16000, 1, "ULAW")],
)
def test_recordings_of_any_format_play(microphone, tmp_path, rate, channels, subtype):
    pcm = np.repeat(sine(0.5, rate)[:, None], channels, axis=1)
    microphone.play(write(tmp_path / "q.wav", pcm, rate, subtype))
    blocks = take(microphone, 1.5)
    recording = blocks[0].recording
    heard = np.concatenate([block.pcm for block in blocks])[recording.start :][: recording.samples]
    assert recording.samples == RATE // 2
    assert np.abs(heard - sine(0.5, RATE))[400:-400].max() < 0.05


def test_a_silent_recording_contains_no_speech(microphone, tmp_path):
    for name, pcm in (("zeros.wav", np.zeros(RATE)), ("hiss.wav", np.random.default_rng(0).normal(0, 1e-4, RATE))):
        with pytest.raises(AudioError, match=rf"{name} contains no speech"):
            microphone.play(write(tmp_path / name, pcm))


def test_bad_recordings_are_refused_in_one_sentence(microphone, tmp_path):
    empty, text = tmp_path / "empty.wav", tmp_path / "text.wav"
    empty.write_bytes(b"")
    text.write_text("not a recording")
    no_samples = write(tmp_path / "none.wav", np.zeros(0))
    for path in (empty, text, no_samples, tmp_path / "missing.wav"):
        with pytest.raises(AudioError, match=path.name) as caught:
            microphone.play(path)
        assert "\n" not in str(caught.value)


def test_any_truncation_of_a_recording_plays_or_is_refused(microphone, tmp_path):
    data = write(tmp_path / "q.wav", sine(0.05, RATE)).read_bytes()
    path = tmp_path / "cut.wav"
    for length in [*range(60), *range(60, len(data), 97)]:
        path.write_bytes(data[:length])
        try:
            microphone.play(path)
        except UserError as error:
            assert "cut.wav" in str(error)


def test_closing_wakes_the_one_who_waits():
    microphone = WavMicrophone(wait_until=None)
    microphone.open()
    thread = threading.Thread(target=lambda: list(microphone.blocks()), daemon=True)
    thread.start()
    microphone.close()
    thread.join(timeout=5)
    assert not thread.is_alive()


def test_the_real_clock_paces_blocks():
    microphone = WavMicrophone()
    microphone.open()
    began = time.monotonic()
    blocks = take(microphone, 0.32)
    assert 0.31 <= blocks[-1].time - began <= 5
    assert 0.31 <= time.monotonic() - began <= 5
