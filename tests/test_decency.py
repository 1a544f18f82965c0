"""What is refused and what only looks like it. The abusive phrases are kept unreadable: see the files."""

import codecs
import tomllib
from pathlib import Path

import pytest

from demo.decency import Decency

HERE = Path(__file__).resolve().parent
PERSONAS = HERE.parent / "assets" / "personas"


def phrases(name: str) -> list[tuple[str, str]]:
    """Language and phrase of each line after the first."""
    lines = (HERE / name).read_text("utf-8").splitlines()[1:]
    if "abusive" in name:
        lines = [codecs.encode(line, "rot13") for line in lines]
    return [(lang, phrase) for lang, _, phrase in (line.partition("\t") for line in lines)]


ABUSIVE, BENIGN = phrases("decency_abusive.txt"), phrases("decency_benign.txt")


def hidden(text: str) -> str:
    """A word of this file, which is as unreadable as the lists."""
    return codecs.encode(text, "rot13")


def test_there_are_two_hundred_phrases_and_few_go_wrong():
    assert len(ABUSIVE) >= 100 and len(BENIGN) >= 100
    missed = [codecs.encode(phrase, "rot13") for lang, phrase in ABUSIVE if Decency(lang).is_clean(phrase)]
    blocked = [
        (phrase, Decency(lang).findings(phrase)) for lang, phrase in BENIGN if not Decency(lang).is_clean(phrase)
    ]
    assert len(missed) <= 0.03 * len(ABUSIVE), missed
    assert len(blocked) <= 0.02 * len(BENIGN), blocked


@pytest.mark.parametrize("name", ["host", "museum"])
def test_no_persona_says_or_hears_anything_indecent(name):
    persona = tomllib.loads((PERSONAS / f"{name}.toml").read_text("utf-8"))
    texts = [*persona["facts"], *(item["answer"] for item in persona["answers"])]
    texts += [question for item in persona["answers"] for question in item["questions"]]
    texts += [test["question"] for test in persona["tests"]]
    assert [text for text in texts if not Decency().is_clean(text)] == []


def test_the_usual_phrases_are_decent():
    usual = tomllib.loads((PERSONAS / "phrases.toml").read_text("utf-8"))
    for lang, table in usual.items():
        for said in (table["greeting"], *table["phrases"].values()):  # one text, or several to choose from
            assert all(Decency(lang).is_clean(text) for text in ([said] if isinstance(said, str) else said)), lang


@pytest.mark.parametrize("disguise", ["fuvg", "fu1g".replace("1", "v"), "f.u.v.g", "f u v g", "fuvvvvg", "fu*g"])
def test_disguises(disguise):
    assert not Decency().is_clean(f"This is {hidden(disguise)}, really.")


@pytest.mark.parametrize("sign", ["\u200b", "\u00ad", "\u0336"])
def test_signs_that_nobody_sees_hide_nothing(sign):
    assert not Decency().is_clean(sign.join(hidden("fuvg")))


def test_look_alikes_of_other_alphabets():
    assert not Decency().is_clean(hidden("ohgg").replace("b", "b") and hidden("fuvg").replace("i", "і"))
    assert not Decency().is_clean("".join(chr(ord(letter) + 0xFEE0) for letter in hidden("fuvg")))
    assert Decency().is_clean("Сколько лет Земле? 你好，恐龙在哪里？ 안녕하세요")


def test_a_word_of_one_language_is_none_of_another():
    assert Decency("de").is_clean("Wie dick ist das Eis?") and not Decency("en").is_clean(hidden("Lbh qvpx"))
    assert Decency("fr").is_clean("Le train est en retard.") and not Decency("en").is_clean(hidden("lbh ergneq"))
    assert not Decency("ko").is_clean(hidden("shpx lbh"))


def test_nothing_is_clean_and_long_texts_are_quick():
    decency = Decency()
    assert decency.is_clean("") and decency.is_clean("?!") and decency.is_clean("123 456")
    assert decency.is_clean("a " * 1) and decency.is_clean("word " * 4000) and decency.is_clean("*" * 5000)
    assert decency.masked("All is well.") == "All is well." and decency.masked(hidden("shpx lbh")) == "…"
