import numpy as np
import pytest
import scipy.signal

from demo.acoustics import clap, cough, hum, laugh
from demo.barge_in import SpeechJudge, is_back_channel, is_command
from demo.microphone import RATE
from streamingtalker.audio import load_audio
from tests.test_voice_activity import QUESTIONS


def judged(pcm):
    judge = SpeechJudge()
    for first in range(0, len(pcm), 512):
        judge.feed(pcm[first : first + 512])
    return judge


@pytest.mark.parametrize("path", QUESTIONS, ids=lambda path: path.stem)
def test_half_a_second_of_speech_is_varied(path):
    judge = judged(load_audio(path)[0][: int(0.3 * RATE) + RATE // 2])
    assert judge.believes("Who") and not judge.believes("Mm-hmm.")


def test_a_sentence_is_more_like_speech_than_anything_else():
    least = min(judged(load_audio(path)[0]).evidence for path in QUESTIONS)
    others = [
        judged(sound(np.random.default_rng(seed))).evidence for sound in (cough, hum, laugh) for seed in range(12)
    ]
    assert least > max(others) + 1


def test_a_command_needs_no_evidence():
    assert SpeechJudge().believes("Stop!") and not SpeechJudge().believes("What?")


def test_half_a_sentence_needs_less_evidence_than_a_word():
    judge = SpeechJudge()
    judge.evidence = -0.5
    assert judge.believes("Who built up") and not judge.believes("Who built") and not judge.believes("Thank you all")
    judge.evidence = -3.0
    assert not judge.believes("Who built up")


def test_what_a_microphone_makes_of_low_and_high_sounds_changes_little():
    pcm = load_audio(QUESTIONS[0])[0]
    plain, dull = judged(pcm).traits(), judged(scipy.signal.lfilter([0.3], [1, -0.7], pcm).astype(np.float32)).traits()
    assert np.abs(plain - dull).max() < 0.5  # among logarithms


@pytest.mark.parametrize("sound", [clap, cough, hum, laugh])
def test_what_one_does_while_listening_is_not(sound):
    sure = [judged(sound(np.random.default_rng(seed))).sure for seed in range(12)]
    assert sum(sure) == 0


def test_silence_tones_and_noise_are_not():
    tone = np.sin(np.arange(RATE) * 2 * np.pi * 200 / RATE)
    for pcm in (np.zeros(0), np.zeros(RATE), tone, np.random.default_rng(0).normal(0, 0.1, RATE)):
        judge = judged(pcm.astype(np.float32))
        assert not judge.sure and not judge.believes("What?")


def test_reset_forgets():
    judge = judged(load_audio(QUESTIONS[1])[0])
    judge.reset()
    assert judge.evidence == SpeechJudge().evidence and not judge.sure


@pytest.mark.parametrize("text", ["", "Mm-hmm.", "uh-huh", "Yes, yeah, right.", "Ha ha ha!", "Okay.", "Oh, wow"])
def test_words_with_which_one_listens(text):
    assert is_back_channel(text)


@pytest.mark.parametrize("text", ["Stop!", "no", "Okay, stop.", "What?", "yes but", "你好"])
def test_words_with_which_one_interrupts(text):
    assert not is_back_channel(text)


@pytest.mark.parametrize("text", ["Stop!", "Wait.", "Okay, that is enough.", "please be quiet", "stop talking, please"])
def test_silence_alone_is_asked_for(text):
    assert is_command(text)


@pytest.mark.parametrize("text", ["", "Please.", "Wait, what is that?", "Where does the bus stop?", "Okay."])
def test_more_than_silence_is_asked_for(text):
    assert not is_command(text)
