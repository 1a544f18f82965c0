"""Cutting a stream into sentences and making them speakable."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo.sentences import Lengths, SentenceCutter
from demo.speech_text import plain, speakable


def cut(text: str, sizes: list[int] | None = None, **lengths: int) -> list[str]:
    """The sentences of ``text``, fed in pieces of these sizes, again and again."""
    cutter, out, position, turn = SentenceCutter(Lengths(**lengths)), [], 0, 0
    while position < len(text):
        size = sizes[turn % len(sizes)] if sizes else len(text)
        out += cutter.feed(text[position : position + size])
        position, turn = position + size, turn + 1
    return out + cutter.finish()


@pytest.mark.parametrize(
    "text",
    [
        "Dr. Smith met Mr. Jones and Prof. Lee.",
        "It costs 3.5 dollars.",
        "Take fruit, e.g. Apples, i.e. Something sweet.",
        "He lives in the U.S. Department of nowhere.",
        "J. K. Rowling wrote it.",
        "Well... I think so.",
        "Well… I think so.",
        "See fig. 3 and No. 5 on p. 7.",
        "Visit www.example.com today.",
        "Version 1.2.3 is out.",
        "It is approx. Five.",
        "St. Paul vs. Peter.",
        "1. First of all",
    ],
)
def test_a_full_stop_inside_a_sentence_does_not_end_it(text):
    assert cut(text, [1]) == [text]


@pytest.mark.parametrize(
    "text, sentences",
    [
        ("Hello. How are you? Fine!", ["Hello.", "How are you?", "Fine!"]),
        ('"Really?" he asked. "Yes." Then he left.', ['"Really?" he asked.', '"Yes."', "Then he left."]),
        ("It is I. You know.", ["It is I.", "You know."]),
        ("What?! No way.", ["What?!", "No way."]),
        ("One\nTwo\n\nThree", ["One", "Two", "Three"]),
        ("- milk\n- bread.\n", ["- milk", "- bread."]),
        ("これは文です。次の文です。", ["これは文です。", "次の文です。"]),
        ("He had 3. Then 4.", ["He had 3.", "Then 4."]),
        ("", []),
        ("  \n \n", []),
        ("(Yes.) No.", ["(Yes.)", "No."]),
        ("**Bold.** Next.", ["**Bold.**", "Next."]),
    ],
)
def test_sentences(text, sentences):
    assert cut(text) == sentences
    assert cut(text, [1]) == sentences


def test_a_sentence_comes_as_soon_as_the_next_begins():
    cutter = SentenceCutter()
    assert cutter.feed("Paris is nice. ") == []
    assert cutter.feed("I") == ["Paris is nice."]


def test_a_long_first_sentence_is_begun_at_a_clause():
    text = (
        "The sky appears blue because the molecules of the air scatter light, and blue light is scattered most of all."
    )
    cutter = SentenceCutter()
    pieces = [piece for word in text.split(" ") for piece in cutter.feed(word + " ")]
    assert pieces == ["The sky appears blue because the molecules of the air scatter light,"]
    assert cutter.finish() == ["and blue light is scattered most of all."]


def test_a_sentence_without_any_mark_is_cut_between_words():
    pieces = cut("word " * 300, [7])
    assert all(len(piece) <= 410 for piece in pieces)
    assert " ".join(pieces).split() == ["word"] * 300


def test_a_flood_without_an_end_is_cut_into_pieces():
    for flood in ("and on, " * 5_000, "x" * 40_000):
        pieces = cut(flood)
        assert max(map(len, pieces)) <= 400
        assert "".join("".join(pieces).split()) == "".join(flood.split())


def test_fenced_code_is_dropped():
    text = "Try this:\n```python\nprint('Hello. World.')\nx = 3.5\n```\nIt prints."
    for sizes in ([len(text)], [1], [3, 5]):
        assert cut(text, sizes) == ["Try this:", "It prints."]


def test_unfinished_code_is_dropped_too():
    assert cut("Look:\n```\nx = 1. Y") == ["Look:"]


def test_a_cutter_can_be_used_again():
    cutter = SentenceCutter()
    cutter.feed("One. Two")
    cutter.finish()
    assert cutter.feed("Three. Four") == ["Three."]


@given(st.text(alphabet="ab. ,!?\n1…", max_size=120), st.lists(st.integers(1, 9), min_size=1, max_size=5))
def test_no_letter_is_lost_and_whole_sentences_do_not_depend_on_the_pieces(text, sizes):
    pieces = cut(text, sizes, first=1000, clause=1000, word=1000)
    assert "".join("".join(pieces).split()) == "".join(text.split())
    assert pieces == cut(text, first=1000, clause=1000, word=1000)


@given(st.text(max_size=300), st.lists(st.integers(1, 30), min_size=1, max_size=4))
def test_any_text_is_cut_without_an_error(text, sizes):
    assert all(piece.strip() == piece != "" for piece in cut(text, sizes))


@pytest.mark.parametrize(
    "text, spoken",
    [
        ("**Bold**, *slanted*, __strong__ and `code`.", "Bold, slanted, strong and code."),
        ("# A heading", "A heading"),
        ("> quoted", "quoted"),
        ("- item", "item"),
        ("3) third", "third"),
        ("See [the page](https://example.com/x).", "See the page."),
        ("![A cat](cat.png)", "A cat"),
        ("Go to https://www.example.com/a/b?c=d.", "Go to example.com."),
        ("Write to me@example.com.", "Write to me at example.com."),
        ("| Name | Age |", "Name, Age"),
        ("|---|:--:|", ""),
        ("---", ""),
        ("<b>Hi</b><br>there &amp; you", "Hi there and you"),
        ("Nice! 😀🎉", "Nice!"),
        ("❤️", ""),
        ("<|im_start|>assistant", "assistant"),
        ("It is 20 °C & 5% rain.", "It is 20 degrees Celsius and 5% rain."),
        ("Drive 50 km/h for 10 m.", "Drive 50 kilometers per hour for 10 meters."),
        ("5 * 3 = 15", "5 × 3 = 15"),
        ("~100 people", "about 100 people"),
        ("if x < 5", "if x less than 5"),
        ("e.g. this, i.e. that", "for example this, that is that"),
        ("Use C# 24/7", "Use C sharp twenty-four seven"),
        ("a\x00b\u200bc\u202ed\x1b[31m", "a bcd"),
        ("snake_case_name", "snake_case_name"),
        ("I am 5'10\" tall.", "I am 5'10\" tall."),
        ("A → B", "A, B"),
        ("It's 2 < 3", "It's 2 less than 3"),
        ("...", ""),
    ],
)
def test_text_for_the_eye_becomes_text_for_the_ear(text, spoken):
    assert speakable(text) == spoken


def test_other_languages_keep_their_signs():
    assert speakable("Es sind 20 °C & 5 %.", "de") == "Es sind 20 °C & 5 %."


@given(st.text(max_size=200))
def test_nothing_unspeakable_gets_through(text):
    spoken = speakable(text)
    assert "\n" not in spoken and not any(ord(sign) < 32 for sign in spoken)
    assert spoken == "" or any(sign.isalnum() for sign in spoken)
    assert plain(text) == " ".join(plain(text).split())
    assert not any("\ud800" <= sign <= "\udfff" for sign in spoken)
