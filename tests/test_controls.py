"""Keys: what each does, push to talk by holding and by tapping, and that every list of them is the same."""

from pathlib import Path

import pytest

from demo.canvas import Stroke
from demo.controls import ACTIONS, KEYS, Action, Controls, help_rows, help_text
from demo.settings import build_parser

README = Path(__file__).resolve().parent.parent / "README.md"


class Rig:
    """Controls with a clock of their own; remembers what they did to window and conversation."""

    def __init__(self):
        self.done = []
        self.now = 100.0
        self.controls = Controls(self, self, lambda: self.now)

    def toggle_fullscreen(self):
        self.done.append("fullscreen")

    def set_muted(self, muted):
        self.done.append(("muted", muted))

    def push_to_talk(self, held):
        self.done.append(("talk", held))

    def new_conversation(self):
        self.done.append("new")

    def press(self, key, hold=None):
        """Press ``key``, and let it go after ``hold`` seconds; whether that ends the program."""
        ends = self.controls.obey([Stroke(key)])
        if hold is not None:
            self.now += hold
            ends |= self.controls.obey([Stroke(key, down=False)])
        return ends


@pytest.fixture
def rig():
    return Rig()


def test_no_key_has_two_meanings_and_every_action_a_key():
    assert len(ACTIONS) == sum(len(key.names) for key in KEYS)
    assert [key.action for key in KEYS] == list(dict.fromkeys(key.action for key in KEYS))
    assert set(ACTIONS.values()) == set(Action)


def test_window_and_conversation_do_what_keys_say(rig):
    for key in ("F", "F11", "M", "M", "R"):
        assert not rig.press(key, hold=0.1)
    assert rig.done == ["fullscreen", "fullscreen", ("muted", True), ("muted", False), "new"]


@pytest.mark.parametrize(
    ("key", "what", "at_first"),
    [("C", "captions", True), ("L", "figures", False), ("H", "help", False), ("?", "help", False)],
)
def test_what_the_screen_shows_is_switched(rig, key, what, at_first):
    shown = [getattr(rig.controls, what)]
    for _ in range(2):
        rig.press(key, hold=0.1)
        shown.append(getattr(rig.controls, what))
    assert shown == [at_first, not at_first, at_first] and not rig.done


def test_escape_ends(rig):
    assert rig.press("ESCAPE") and not rig.done


def test_other_keys_do_nothing(rig):
    assert not any(rig.press(key, hold=0.1) for key in ("A", "LSHIFT", "user_key(0)"))
    assert not rig.done


def test_held_it_talks_until_it_is_let_go(rig):
    rig.press("SPACE")
    assert rig.done == [("talk", True)]
    rig.now += 5
    rig.controls.obey([Stroke("SPACE", down=False)])
    assert rig.done == [("talk", True), ("talk", False)]


def test_tapped_it_talks_until_the_next_tap(rig):
    rig.press("SPACE", hold=0.1)
    assert rig.done == [("talk", True)]
    rig.now += 5
    rig.press("SPACE", hold=0.1)
    assert rig.done == [("talk", True), ("talk", False)]


def test_a_keyboard_that_never_tells_of_a_key_let_go_toggles(rig):
    for _ in range(4):
        rig.press("SPACE")
        rig.now += 3
    assert rig.done == [("talk", True), ("talk", False)] * 2


def test_a_held_key_that_ends_a_tap_does_not_begin_another(rig):
    rig.press("SPACE", hold=0.1)
    rig.press("SPACE", hold=2.0)
    assert rig.done == [("talk", True), ("talk", False)]


def test_every_list_of_keys_is_the_table():
    readme = README.read_text("utf-8")
    for label, does in help_rows():
        assert f"| {label} | {does} |" in readme
    assert help_text() in " ".join(build_parser().format_help().split())
