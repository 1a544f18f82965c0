"""When which word is said: in order, in proportion, and never all at once."""

from types import SimpleNamespace

import pytest

from demo.messages import ReplyText
from demo.overlay.lettering import letters
from demo.status import spoken_at
from demo.word_timing import LETTERS_A_SECOND, spoken_letters, weight

RATE = 24_000
TEXTS = [
    "I am Maya, a talking 3D head.",
    "Die Straße ist 1969 gebaut worden, oder?",
    "Ça va ? Où est l'œuvre ?",
    "안녕하세요, 저는 마야입니다.",
    "你好，我是玛雅。",
    "Yes.",
    "—",
]
# what Whisper hears in the default voice: seconds at which each word begins, and of the whole
HEARD = {
    "Bob moved five blue boats through the foggy bay.": ([0, 0.34, 0.6, 1.02, 1.22, 1.46, 1.78, 1.94, 2.18], 2.46),
    "The museum opened in 1969, and it has 40 rooms on three floors.": (
        [0, 0.26, 0.62, 1.08, 1.6, 2.7, 2.84, 2.94, 3.16, 3.42, 3.7, 4.04, 4.3],
        4.78,
    ),
    "The capital of France is Paris, which lies on the river Seine.": (
        [0, 0.34, 0.58, 0.82, 1.04, 1.36, 2.1, 2.28, 2.54, 2.74, 2.88, 3.06],
        3.39,
    ),
}


@pytest.mark.parametrize("text", TEXTS)
def test_words_come_one_after_another_and_all_come(text):
    counts = [spoken_letters(text, share / 1000) for share in range(1001)]
    assert counts == sorted(counts) and counts[0] > 0 and counts[-1] == letters(text)
    assert len(set(counts)) == len(text.split()) or not text.isascii()


def test_nothing_is_cut_within_a_word():
    text = "I am Maya, a talking 3D head."
    ends = {letters(" ".join(text.split()[:count])) for count in range(1, 8)}
    assert {spoken_letters(text, share / 1000) for share in range(1001)} == ends


def test_chinese_comes_syllable_by_syllable_and_stops_with_the_syllable_before():
    assert sorted({spoken_letters("你好，我是玛雅。", share / 1000) for share in range(1001)}) == [1, 3, 4, 5, 6, 8]


@pytest.mark.parametrize("text", HEARD)
def test_words_appear_when_they_are_heard(text):
    begins, whole = HEARD[text]
    words, errors = text.split(), []
    for number, begin in enumerate(begins):
        before = letters(" ".join(words[:number]))
        guessed = next(ms for ms in range(10_000) if spoken_letters(text, ms / 1000 / whole) > before) / 1000
        errors.append(abs(guessed - begin))
    assert sorted(errors)[len(errors) // 2] < 0.2 and max(errors) < 0.6


def test_figures_take_longer_than_their_letters():
    assert weight("1969") > 3 * weight("nine") / 2


# --- in a turn -------------------------------------------------------------------------------------------------------


def turn(*lines: tuple[str, float], received: float = 0.0, end: float | None = None) -> SimpleNamespace:
    """What is looked at of a turn: sentences that begin at given seconds, how much came so far, where all ends."""
    return SimpleNamespace(
        welcome=SimpleNamespace(sample_rate=RATE),
        captions=[ReplyText(1, text, round(start * RATE)) for text, start in lines],
        samples=round(received * RATE),
        end=None if end is None else SimpleNamespace(samples=round(end * RATE)),
    )


def test_a_sentence_lasts_until_the_next_begins_or_the_turn_ends():
    speaking = turn(("One two.", 0.0), ("Three four.", 2.0), end=6.0)
    assert spoken_at(speaking, 0.1) == ("One two.", 3)
    assert spoken_at(speaking, 1.5) == ("One two.", 7)
    assert spoken_at(speaking, 2.1) == ("Three four.", 5)
    assert spoken_at(speaking, 3.3) == ("Three four.", 5)
    assert spoken_at(speaking, 5.0) == ("Three four.", 10)


def test_while_its_end_is_unknown_it_is_as_long_as_such_a_voice_takes():
    text = "One two three four five six seven eight nine ten."
    usual = weight(text) / LETTERS_A_SECOND
    assert spoken_at(turn((text, 0.0)), usual * 0.99)[1] == letters(text)
    assert spoken_at(turn((text, 0.0), received=2 * usual), usual * 0.99)[1] < letters(text)
    slow = turn(("One two three.", 0.0), (text, 4.0))
    assert spoken_at(slow, 4.0 + usual * 0.99)[1] < letters(text), "the sentence before told how slow the voice is"


def test_before_the_first_sentence_nothing_is_said():
    assert spoken_at(turn(), 1.0) == ("", 0)
    assert spoken_at(turn(("One.", 1.0)), 0.5) == ("", 0)
