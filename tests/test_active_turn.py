"""What the client knows of the turn that is going on."""

import pytest

from demo.active_turn import ActiveTurn
from demo.messages import PROTOCOL, TurnEnd, Welcome
from demo.openings import Line

WELCOME = Welcome(PROTOCOL, "test", 3, 30.0, 24_000, {})


def turn_with(frames_at, full_from):
    turn = ActiveTurn(1, Line("x"), WELCOME, 0.0, over=None)
    for number, at in enumerate(frames_at):
        turn.note_frame(at, full=number >= full_from)
    return turn


def test_the_speed_of_making_is_measured_while_there_is_room():
    turn = turn_with([0.5 + k / 90 for k in range(61)] + [2.0, 3.0, 4.0], full_from=61)
    assert turn.generation_speed == pytest.approx(60 / 30 / (2.0 - 0.5))  # 61 frames there when one more had to wait
    assert turn.frames == 64


def test_a_short_answer_is_measured_to_its_end():
    turn = turn_with([0.1 * k for k in range(31)], full_from=99)
    assert turn.generation_speed is None
    turn.note_end(3.0, TurnEnd(1, "x", 24_000, 31, {}))
    assert turn.generation_speed == pytest.approx(1.0 / 3.0)


def test_without_frames_there_is_no_speed():
    turn = turn_with([], full_from=0)
    turn.note_end(1.0, TurnEnd(1, "", 0, 0, {}))
    assert turn.generation_speed is None
