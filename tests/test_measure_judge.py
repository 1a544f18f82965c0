from pathlib import Path

import numpy as np
import pytest
import soundfile

from demo.acoustics import hum
from demo.barge_in import BIAS, WEIGHTS
from demo.measure.judge import Heard, fold, hear, learn, report
from demo.measure.visitors import Sound
from demo.microphone import RATE, Recording, read_recording
from tests.test_voice_activity import QUESTIONS


def heard(text: str, voice: str, traits, seconds=None) -> Heard:
    recording = Recording(Path(text), 0, 1, np.array([0]))
    times = [0.1 * (k + 1) for k in range(len(traits))] if seconds is None else seconds
    return Heard(Sound(text, voice, recording, np.zeros(1, np.float32)), times, traits)


def rows(rng: np.random.Generator, middle: float) -> list[np.ndarray]:
    """Two traits and, as the last one, the logarithm of how many windows were heard."""
    return [np.array([rng.normal(middle), rng.normal(), np.log(30 + k)]) for k in range(5)]


def test_what_differs_is_learnt():
    rng = np.random.default_rng(0)
    sounds = [heard("hm", "", rows(rng, -2.0)) for _ in range(40)] + [
        heard("Who?", "joe", rows(rng, 2.0)) for _ in range(20)
    ]
    weights, bias = learn(sounds)
    assert weights[0] > 1 and abs(weights[1]) < 0.5
    most = [one.most(weights, bias) for one in sounds]
    assert max(most[:40]) < min(most[40:])


def test_it_is_sure_at_the_first_moment_with_enough_evidence():
    one = heard("Who?", "joe", [None, np.array([0.5]), np.array([2.0]), np.array([3.0])])
    assert one.sure_at(np.array([1.0]), 0.0, 1.5) == pytest.approx(0.3)
    assert one.sure_at(np.array([1.0]), 1.0, 1.5) == pytest.approx(0.2)
    assert one.sure_at(np.array([1.0]), 0.0, 9.0) is None


def test_the_report_by_hand():
    taken, left = [np.array([1.0])], [np.array([-1.0])]
    sounds = [
        heard("Who?", "joe", taken),
        heard("Who?", "slt", left),
        heard("clap", "", taken),
        heard("clap", "", left),
    ]
    line = report(sounds, lambda _: (np.array([1.0]), 0.0), 0.0)
    assert "voices after 100 ms" in line and "never 50.0%" in line and "clap 50.0" in line


def test_a_voice_is_whole():
    voices = ["awb", "joe", "slt"]
    assert {fold(heard("x", "joe", []), number, voices) for number in range(9)} == {1}
    assert {fold(heard("clap", "", []), number, voices) for number in range(9)} == {0, 1, 2, 3, 4}


def test_a_question_over_an_echo_is_heard_and_a_hum_is_another_thing(tmp_path):
    path = tmp_path / "hum.wav"
    soundfile.write(path, hum(np.random.default_rng(5)), RATE)
    sounds = [Sound("hm", "", *read_recording(path)), Sound("Who?", "joe", *read_recording(QUESTIONS[0]))]
    avatar = np.random.default_rng(0).normal(0, 0.05, 2 * RATE).astype(np.float32)
    hum_heard, question = hear(sounds, avatar, np.random.default_rng(1))
    assert question.seconds and max(question.seconds) < 1.6 and min(question.seconds) > 0
    assert question.most(WEIGHTS, BIAS) > hum_heard.most(WEIGHTS, BIAS) + 1
