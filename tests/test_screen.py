"""What the render loop shows: the conversation, what keys have switched on, the microphone; and what figures say."""

from types import SimpleNamespace

import pytest

from demo.canvas import Stroke, WindowCanvas
from demo.clock import PlaybackTime
from demo.figures import Figures
from demo.life import Bearing
from demo.overlay import Captions, Meter, Reading
from demo.playback import PlaybackCounts
from demo.screen import Screen
from demo.stage import SyncSummary
from demo.status import Status
from demo.trace import SessionTrace, TurnTrace

SILENT = SyncSummary(0, 0.0, 0.0, 0.0, 0.0)


class Window(WindowCanvas):
    """A window without one."""

    def __init__(self):
        self.closed = False
        self.strokes = []

    def poll(self):
        strokes, self.strokes = self.strokes, []
        return strokes


class Session:
    """A conversation that is told what to be."""

    def __init__(self):
        self.status = Status(listening=True, user="Who are", level=-30.0)
        self.trace = SessionTrace()
        self.muted = False

    def set_muted(self, muted):
        self.muted = muted


class Rig:
    def __init__(self, canvas, meter=None):
        self.session, self.canvas = Session(), canvas
        self.stage = SimpleNamespace(
            captions=Captions(), pictures=0, dropped=0, step=lambda: None, meter=SimpleNamespace(summary=lambda: SILENT)
        )
        self.life = SimpleNamespace(bearing=Bearing())
        playback = SimpleNamespace(
            clock=SimpleNamespace(now=lambda: PlaybackTime(0, None)), counts=lambda: PlaybackCounts()
        )
        self.screen = Screen(self.stage, self.life, canvas, self.session, playback, meter, lambda: 1.0)

    def shown(self, *keys) -> Captions:
        """What is shown one picture after ``keys`` were pressed."""
        self.canvas.strokes = [Stroke(key) for key in keys]
        assert not self.screen.step()
        self.screen.step()
        return self.stage.captions


@pytest.fixture
def rig():
    return Rig(Window(), Meter())


def test_the_conversation_is_shown_and_borne(rig):
    assert rig.shown() == Captions("listening", "Who are", microphone=Reading(6))
    assert rig.life.bearing.state == "listening"


def test_keys_switch_what_is_shown(rig):
    assert rig.shown("C").user == "" and rig.shown("C").user == "Who are"
    assert ("Esc", "quit") in rig.shown("H").keys and not rig.shown("?").keys
    assert rig.shown("L").figures[0] == ("voice to voice", "–") and not rig.shown("L").figures
    rig.shown("M")
    assert rig.session.muted


@pytest.mark.parametrize("how", ["escape", "close"])
def test_the_user_may_leave(rig, how):
    rig.canvas.strokes, rig.canvas.closed = ([Stroke("ESCAPE")], False) if how == "escape" else ([], True)
    assert rig.screen.step()


def test_the_microphone_is_shown_once_it_is_open(rig):
    rig.session.status = Status(level=-100.0)
    assert rig.shown().microphone is None
    rig.session.status = Status(muted=True, level=-20.0)
    assert rig.shown().microphone.trouble == "Muted"
    rig.session.status = Status(muted=True, pushed=True, listening=True, level=-20.0)
    assert rig.shown().microphone == Reading(7), "push to talk opens it for a while"


def test_without_a_window_there_are_no_keys_and_without_a_microphone_no_level():
    rig = Rig(SimpleNamespace())
    assert not rig.screen.step()
    assert rig.stage.captions == Captions("listening", "Who are")


# --- figures ---------------------------------------------------------------------------------------------------------


def test_figures_tell_of_the_last_turn_and_are_renewed_twice_a_second():
    now, shown = [0.0], [0]
    trace = SessionTrace()
    figures = Figures(trace, lambda: (shown[0], 2), lambda: SILENT, lambda: PlaybackCounts(underruns=1), lambda: now[0])
    before = figures.rows()
    assert dict(before)["pictures/s"] == dict(before)["A/V offset"] == "–"
    turn = TurnTrace(1, spans_ms={"endpoint": 300.0, "llm_first_token": 99.6, "voice_to_voice": 812.4})
    turn.av_offset_ms = {"p5": -9.4, "p50": -2.6, "p95": 4.0, "max_abs": 12.0}
    trace.turns.append(turn)
    now[0], shown[0] = 0.4, 12
    assert figures.rows() is before
    now[0], shown[0] = 0.6, 18
    rows = dict(figures.rows())
    assert rows["voice to voice"] == "812 ms" and rows["· first token"] == "100 ms"
    assert rows["pictures/s"] == "30.0" and rows["A/V offset"] == "-3 ms" and rows["· 5 … 95 %"] == "-9 … +4"
    assert rows["late pictures"] == "2" and rows["late sound"] == "1"


def test_of_the_turn_that_is_spoken_the_offset_is_shown():
    figures = Figures(
        SessionTrace(),
        lambda: (0, 0),
        lambda: SyncSummary(3, -1.0, 2.0, 3.0, 4.0),
        lambda: PlaybackCounts(),
        lambda: 0.0,
    )
    assert dict(figures.rows())["A/V offset"] == "+2 ms"
