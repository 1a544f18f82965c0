"""Pitch and loudness, heard in sounds whose pitch and loudness are known."""

import numpy as np
import pytest

from streamingtalker.config import RATE
from streamingtalker.data.prosody import listen, pitches

FPS = 30.0


def hum(hertz, seconds=1.0, loudness=0.3):
    """A buzz whose pitch follows ``hertz``, a number or a curve, with harmonics stronger than its fundamental."""
    samples = int(seconds * RATE)
    phase = 2 * np.pi * np.cumsum(np.broadcast_to(hertz, samples)) / RATE
    return (loudness * sum(share * np.sin(k * phase) for k, share in enumerate((0.3, 0.6, 0.4, 0.2), 1))).astype(
        np.float32
    )


@pytest.mark.parametrize("hertz", [82.0, 140.0, 230.0, 350.0])
def test_the_pitch_of_a_voice_is_found_without_falling_an_octave(hertz):
    windows = hum(hertz)[: 640 * 20].reshape(20, 640)
    found, clarity = pitches(windows, RATE)
    assert np.abs(found[1:-1] / hertz - 1).max() < 0.03
    assert clarity.min() > 0.8


def test_noise_has_no_pitch():
    noise = 0.3 * np.random.default_rng(0).standard_normal(RATE).astype(np.float32)
    assert np.abs(listen(noise, 30, FPS).pitch).max() == 0


def test_a_rising_melody_rises_by_its_semitones_and_on_time():
    pitch = np.where(np.arange(2 * RATE) < RATE, 120.0, 120.0 * 2 ** (5 / 12))
    heard = listen(hum(pitch, 2.0), 60, FPS)
    assert heard.pitch[45:55].mean() - heard.pitch[5:25].mean() == pytest.approx(5, abs=0.3)
    halfway = np.argmax(heard.pitch > heard.pitch[10] + 2.5) / FPS
    assert abs(halfway - 1.0) < 0.07


def test_loudness_is_in_decibels():
    sound = np.concatenate([hum(150.0, 1.0, 0.05), hum(150.0, 1.0, 0.5)])
    loudness = listen(sound, 60, FPS).loudness
    assert loudness[40:55].mean() - loudness[5:20].mean() == pytest.approx(20, abs=0.5)


@pytest.mark.parametrize("sound", [np.zeros(RATE, np.float32), np.zeros(0, np.float32), np.ones(10, np.float32)])
def test_silence_is_flat(sound):
    heard = listen(sound, 30, FPS)
    assert heard.pitch.shape == heard.loudness.shape == (30,)
    assert not heard.pitch.any() and not heard.loudness.any()
