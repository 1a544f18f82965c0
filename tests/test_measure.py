"""What measures the running program judges rightly: words, states, sounds, goals. Without the program."""

import csv
import shutil
import time

import numpy as np
import pytest
from PIL import Image

from demo.measure import conversation, kiosk
from demo.measure.conversation import Figure, table
from demo.measure.hall import Ear, Moment, VirtualMicrophone
from demo.measure.kiosk import Deed, Span, Visit, faults, leaks, spans
from demo.measure.listening import edits, in_hall, understand, word_error, words
from demo.measure.visitors import HESITATIONS, Sound, noises, questions
from demo.microphone import RATE, read_recording
from demo.settings import Settings
from tests.test_listener import FRANCE, WHO

STAND = Settings(kiosk=True, quiet_seconds=20.0, invite_seconds=30.0)


class Parrot:
    """Recognises what it is told to, whatever it hears."""

    name, partial_interval = "parrot", 100.0

    def __init__(self, text):
        self.text, self.fed = text, 0

    def feed(self, pcm):
        self.fed += len(pcm)

    def partial(self):
        return self.text

    def finish(self, speech_samples=None):
        return self.text

    def reset(self):
        pass


def sound(path=FRANCE, text="What is the capital of France?"):
    return Sound(text, "somebody", *read_recording(path))


@pytest.mark.parametrize(
    ("found", "expected", "count"),
    [("a b c", "a b c", 0), ("", "a b", 2), ("a x c", "a b c", 1), ("a b c d", "b c d", 1), ("b a", "a b", 2)],
)
def test_wrong_words_are_counted(found, expected, count):
    assert edits(found.split(), expected.split()) == count


def test_words_are_compared_without_signs_case_and_sounds_of_thinking():
    assert words("Um, who's there? YOU!") == ["who's", "there", "you"]


def test_word_error_is_that_of_all_that_was_said_as_the_program_hears_it():
    hall = np.random.default_rng(0).normal(0, 0.01, RATE).astype(np.float32)
    asked = [sound()]
    assert word_error(asked, hall, np.inf, Parrot("What is the capital of France?")) == 0
    assert word_error(asked, hall, np.inf, Parrot("What is a capital of France?")) == pytest.approx(100 / 6)


def test_silence_is_nobody_and_a_question_is_one_voice():
    assert understand(np.zeros(2 * RATE, np.float32), Parrot("Hm.")).voices == 0
    heard = understand(in_hall(sound(), np.ones(1, np.float32), np.inf), Parrot("What?"))
    assert (heard.voices, heard.texts, heard.lost) == (1, ["What?"], 0)


def test_the_hall_is_as_loud_as_was_asked_for_around_the_question_too():
    said, hall = sound(), np.random.default_rng(0).normal(0, 0.3, RATE).astype(np.float32)
    noisy = in_hall(said, hall, 10.0)
    ratio = np.mean(said.pcm**2) / np.mean(noisy[: 2 * RATE] ** 2)
    assert len(noisy) == len(said.pcm) + 4 * RATE and 10 * np.log10(ratio) == pytest.approx(10, abs=0.1)


def test_the_ear_knows_when_something_was_to_be_heard():
    ear, block = Ear(1000), np.zeros(100, np.float32)
    block[20:41] = 0.1
    for moment, pcm in ((10.0, block), (10.1, np.zeros(100, np.float32)), (10.2, block)):
        ear.add(pcm, moment)
    assert ear.first_after(10.03) == pytest.approx(10.22) and ear.first_after(11) is None
    assert ear.last_between(10.0, 10.2) == pytest.approx(10.04) and ear.last_between(10.05, 10.2) is None


def test_the_visitors_microphone_says_when_what_is_played_is_heard():
    microphone, said = VirtualMicrophone(), sound(WHO)
    microphone.open()
    first, last = microphone.play(said)
    heard, began = [], time.monotonic()
    for block in microphone.blocks():
        heard.append(block)
        if block.time > began + 0.7:
            microphone.close()
    pcm = np.concatenate([block.pcm for block in heard])
    position = int((first - heard[0].time_of(0)) * RATE)
    assert np.abs(pcm[: position - 160]).max() < 0.01 < np.abs(pcm[position : position + 1600]).max()
    assert heard[-1].recording is not None and last > first and microphone.longest_lag < 0.5


def moment(at, state, turn=None, attracting=False):
    return Moment(float(at), state, turn, attracting, False)


def test_pictures_of_one_state_are_one_span_without_gaps():
    found = spans([moment(0, "listening"), moment(1, "listening"), moment(2, "thinking", 1), moment(3, "speaking", 1)])
    assert found == [
        Span(0, 1, "listening", None, False),
        Span(1, 2, "thinking", 1, False),
        Span(2, 3, "speaking", 1, False),
    ]
    assert spans([moment(0, "listening", attracting=True)])[0].state == "inviting"


@pytest.mark.parametrize(
    ("state", "seconds", "turn", "wrong"),
    [
        ("thinking", 10, 1, False),
        ("thinking", 20, 1, True),
        ("hearing", 22, None, False),
        ("hearing", 40, None, True),
        ("speaking", 60, 1, True),
        ("listening", 60, None, True),
        ("inviting", 1000, None, False),
        ("hearing", 1, 3, True),
    ],
)
def test_states_that_last_too_long_or_contradict_themselves_are_wrong(state, seconds, turn, wrong):
    assert bool(faults([Span(0, seconds, state, turn, state == "inviting")], STAND)) == wrong


def test_old_turns_that_come_back_and_hasty_invitations_are_wrong():
    def said(turn, begin, attracting=True):
        return [
            Span(begin, begin + 1, "thinking", turn, attracting),
            Span(begin + 1, begin + 3, "speaking", turn, attracting),
        ]

    assert not faults([*said(1, 0), *said(2, 31), *said(3, 35, attracting=False)], STAND)
    assert faults([*said(1, 0), *said(2, 20)], STAND) == ["invited after 20.0 s at 20.0"]
    assert faults([*said(2, 0, attracting=False), *said(1, 5, attracting=False)], STAND) == ["an older turn came back"]


def test_three_words_of_a_visitor_in_the_log_are_a_leak():
    assert leaks("Turn 3: where is aunt gertrude now", ["Where is Aunt Gertrude?"])
    assert not leaks("Turn 3: …\nAnswer 3 (5.1 s): …", ["Where is Aunt Gertrude?"])


def test_the_trace_of_a_stand_can_be_read_and_looked_at(tmp_path):
    states = [Span(100, 103, "listening", None, False), Span(103, 230, "speaking", 1, False)]
    visit = Visit(100.0, [Deed(101.0, "asks", 102.5)], [])
    kiosk.write_trace(tmp_path / "trace.csv", states, visit)
    rows = list(csv.reader((tmp_path / "trace.csv").open()))
    assert rows[1:3] == [["0.00", "avatar", "listening", "3.00", ""], ["1.00", "visitor", "asks", "2.50", ""]]
    kiosk.draw_trace(tmp_path / "trace.png", states, visit)
    picture = Image.open(tmp_path / "trace.png")
    colors = {color for _, color in picture.convert("RGB").getcolors(1 << 20)}
    assert {kiosk.COLORS[1], kiosk.COLORS[4]} <= colors and picture.height > 200


def test_goals_stand_beside_figures():
    figures = {"x": [Figure("late", 0.9, "s", 0.8), Figure("cut", 2.0, "%", 3.0), Figure("silent", None, "s", 1.0)]}
    lines = table(figures).splitlines()
    assert lines[3:] == [
        "| late | 0.90 s | ≤ 0.8 s | ✗ |",
        "| cut | 2.0 % | ≤ 3 % | ✓ |",
        "| silent | – | ≤ 1 s | ✗ |",
    ]


@pytest.mark.skipif(not shutil.which("espeak-ng") and not shutil.which("flite"), reason="no synthesizer")
def test_visitors_ask_with_other_voices_and_some_with_a_pause_for_thought(tmp_path, monkeypatch):
    monkeypatch.setattr("demo.measure.visitors.VOICES", ("slt", "espeakus", "nobody at all"))
    monkeypatch.setattr("demo.measure.visitors._available", lambda: iter(("slt", "espeakus")))
    asked = questions(5, tmp_path, seed=3)
    assert {one.voice for one in asked} == {"slt", "espeakus"} and len({one.text for one in asked}) == 5
    assert asked[4].text == " ".join(HESITATIONS[0])
    gaps = np.diff(asked[4].recording.loud) / RATE
    assert 0.3 < gaps.max() < 1.0, "a pause for thought"
    again = questions(5, tmp_path, seed=3)
    np.testing.assert_array_equal(asked[2].pcm, again[2].pcm)
    assert [one.text for one in noises(4, tmp_path)] == ["clap", "cough", "laugh", "mm-hm"]


def test_the_command_lines_explain_themselves(capsys):
    for mode in (conversation, kiosk):
        with pytest.raises(SystemExit):
            mode.main(["--help"])
        assert "python -m demo.measure" in capsys.readouterr().out
