"""Phones, sentences and the speakers of the synthetic corpus."""

import re
import shutil

import numpy as np
import pytest

from streamingtalker.data.calibrate import RATE, calibrate
from streamingtalker.data.engines import EspeakEngine
from streamingtalker.data.pauses import fit_pauses
from streamingtalker.data.phones import (
    INVENTORY,
    SILENCE,
    STRESSED,
    UNSTRESSED,
    Phone,
    from_cmu,
    from_ipa,
    merge_silences,
    share_out,
    timed_ipa,
    with_stress,
)
from streamingtalker.data.sentences import HELD_OUT, RICH, TEMPLATES, draw_sentence, draw_text, fill, split_of
from streamingtalker.data.speakers import VOICES, Manner, SpeakerError, Speech, find_voice, speaker
from streamingtalker.data.vocabulary import spoken_number

TEXT = "Maya bought both boxes, and Bob moved them above the phone."


def test_ipa_of_both_alphabets():
    assert from_ipa("həlˈO") == ["hh", "ax", "l", "ow"]
    assert from_ipa("tʃɜːtʃ") == ["ch", "er", "ch"]
    assert from_ipa("aɪə") == ["ay", "ax"]
    with pytest.raises(ValueError, match="no phone"):
        from_ipa("日")


def test_timed_ipa_gives_marks_to_their_neighbours():
    phones = timed_ipa("ˈeɪ mɑː", np.arange(8.0))
    assert phones == [Phone("ey", 0, 3), Phone(SILENCE, 3, 4), Phone("m", 4, 5), Phone("aa", 5, 7)]
    with pytest.raises(ValueError, match="no phone"):
        timed_ipa("日", [0, 1])


def test_cmu_names():
    assert from_cmu("pau") == SILENCE
    assert from_cmu("axr") == "er"
    with pytest.raises(ValueError, match="no phone"):
        from_cmu("xx")


def test_sharing_out_covers_the_time():
    phones = share_out(["ao", "r"], 1.0, 2.0, STRESSED)
    assert [(p.name, p.start, p.end) for p in phones] == [("ao", 1.0, 1.6), ("r", 1.6, 2.0)]
    assert [p.stress for p in phones] == [STRESSED, UNSTRESSED]


def test_silences_merge_and_empty_phones_go():
    phones = [Phone("sil", 0, 1), Phone("sil", 1, 2), Phone("aa", 2, 2), Phone("b", 2, 3)]
    assert merge_silences(phones) == [Phone("sil", 0, 2), Phone("b", 2, 3)]


def test_stress_comes_from_the_pronunciation():
    names = ["hh", "eh", "l", "ow"]  # another first vowel than the pronunciation's
    phones = [Phone(name, i, i + 1) for i, name in enumerate(names)]
    assert [p.stress for p in with_stress(phones, "həlˈO")] == [0, UNSTRESSED, 0, STRESSED]


def test_sentences_of_the_splits_are_apart():
    rng = np.random.default_rng(0)
    drawn = {split: {draw_sentence(split, rng) for _ in range(400)} for split in ("train", "val", "test")}
    assert not drawn["train"] & drawn["val"] and not drawn["train"] & drawn["test"] and not drawn["val"] & drawn["test"]
    assert len(drawn["train"]) > 300
    assert all(split_of(sentence) != "train" for sentence in HELD_OUT)
    assert all(split_of(sentence) == "train" for sentence in RICH)
    assert "{" not in "".join(drawn["train"])


def test_training_text_reaches_every_phone():
    rng = np.random.default_rng(1)
    engine = speaker("hibari")
    seen = {phone.name for _ in range(60) for phone in engine.speak(draw_text("train", rng)).phones}
    assert set(INVENTORY) - seen <= {"zh", "oy"}


@pytest.mark.parametrize("name", ["hibari", "joe", "slt", "kal", "espeakus", "espeakrp", "ked", "rms"])
def test_phones_cover_the_sound_and_fit_it(name):
    programs = {"flite": "flite", "festival": "festival", "espeak": "espeak-ng", "piper": "espeak-ng"}
    needed = programs.get(find_voice(name).engine)
    if needed and not shutil.which(needed):
        pytest.skip(f"{needed} is not installed")
    speech = speaker(name).speak(TEXT, Manner(seed=3))
    assert speech.pcm.dtype == np.float32 and np.abs(speech.pcm).max() <= 1
    assert speech.phones[0].start == 0 and speech.phones[-1].end == pytest.approx(speech.seconds)
    for before, after in zip(speech.phones, speech.phones[1:], strict=False):
        assert before.end == pytest.approx(after.start)
    names = [phone.name for phone in speech.phones]
    assert names.count("m") == 3 and names.count("f") == 1 and "ow" in names
    assert any(phone.stress == STRESSED for phone in speech.phones)
    assert abs(calibrate([speech]).offset) < 0.035


@pytest.mark.parametrize("name", ["hibari", "joe"])
def test_the_same_manner_speaks_the_same(name):
    if name == "joe" and not shutil.which("espeak-ng"):
        pytest.skip("espeak-ng is not installed")
    first, second = (speaker(name).speak(TEXT, Manner(pace=1.1, seed=4)) for _ in range(2))
    assert np.array_equal(first.pcm, second.pcm) and first.phones == second.phones
    assert speaker(name).speak(TEXT, Manner(pace=0.8)).seconds > first.seconds * 1.15
    higher = speaker(name).speak(TEXT, Manner(pace=1.1, pitch=1.2, seed=4))
    assert higher.seconds == pytest.approx(first.seconds, rel=0.12)


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")
def test_what_was_said_before_does_not_change_what_is_said():
    voice = speaker("adam")
    first = voice.speak(TEXT, Manner(pace=1.1, pitch=1.2))
    voice.speak("Something else, in between?", Manner())
    again = voice.speak(TEXT, Manner(pace=1.1, pitch=1.2))
    assert np.array_equal(first.pcm, again.pcm) and first.phones == again.phones


def test_an_unknown_voice_is_named():
    with pytest.raises(SpeakerError, match="nobody"):
        find_voice("nobody")


def test_calibration_finds_a_known_offset():
    rng = np.random.default_rng(0)
    names = ["aa", "t"] * 20
    edges = np.cumsum(np.concatenate([[0.3], rng.uniform(0.08, 0.2, len(names))]))
    pcm = 0.001 * rng.standard_normal(int((edges[-1] + 0.3) * RATE))
    for name, start, end in zip(names, edges, edges[1:], strict=False):
        if name == "aa":
            pcm[int(start * RATE) : int(end * RATE)] += rng.standard_normal(int(end * RATE) - int(start * RATE))
    late = [Phone(n, s + 0.04, e + 0.04) for n, s, e in zip(names, edges, edges[1:], strict=False)]
    found = calibrate([Speech(pcm.astype(np.float32), RATE, tuple(late))])
    assert found.stops == pytest.approx(0.04, abs=0.006)


@pytest.mark.parametrize(("label_end", "label_start"), [(0.65, 1.15), (0.40, 1.30)])
def test_pauses_begin_and_end_with_the_sound(label_end, label_start):
    time = np.arange(int(2.0 * RATE)) / RATE
    pcm = np.where((time < 0.5) | (time > 1.2), np.sin(900 * time), 1e-4).astype(np.float32)
    names, edges = ["aa", SILENCE, "m"], [0.0, label_end, label_start, 2.0]
    phones = [Phone(*entry) for entry in zip(names, edges, edges[1:], strict=False)]
    fitted = fit_pauses(phones, pcm, RATE)
    assert fitted[1].start == pytest.approx(0.5, abs=0.011) and fitted[1].end == pytest.approx(1.2, abs=0.011)
    assert fitted[0].end == fitted[1].start and fitted[1].end == fitted[2].start
    stops = fit_pauses([phones[0], phones[1], Phone("b", label_start, 2.0)], pcm, RATE)
    assert stops[2].start == label_start


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")
def test_every_variant_of_espeak_is_there_and_another_is_refused():
    pcms = [speaker(v.name).speak("My map.").pcm for v in VOICES if v.engine == "espeak"]
    assert len({pcm.tobytes() for pcm in pcms}) == len(pcms)
    with pytest.raises(SpeakerError, match="nobody"):
        EspeakEngine("en-us+nobody").speak("My map.", Manner())


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (7, "seven"),
        (90, "ninety"),
        (342, "three hundred and forty two"),
        (1005, "one thousand and five"),
        (20118, "twenty thousand one hundred and eighteen"),
    ],
)
def test_numbers_in_words(number, words):
    assert spoken_number(number) == words


def test_templates_are_spoken_english():
    rng = np.random.default_rng(2)
    sentences = [fill(template, rng) for template in TEMPLATES for _ in range(20)]
    assert not [s for s in sentences if re.search(r"\b[Aa] [aei]|\ban [bcdfgjk]|[{}_\d]", s)]
    assert len({word for s in sentences for word in s.lower().split()}) > 1500
