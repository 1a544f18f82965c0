"""Displays and windows that are really taken away from the running program."""

import json
import os
import signal
import subprocess
import time

import av
import pytest

from demo.measure.rig import virtual_screen
from tests.e2e.conftest import or_skip
from tests.e2e.test_conversation import Demo

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(200)]

LONG = "I am going to say something rather long now, so that there is time to pull the plug while I am speaking. " * 2


@pytest.fixture
def own_screen():
    """A display that may be broken."""
    with or_skip(virtual_screen()) as screen:
        yield screen


def unplug_display(screen):
    screen.process.kill()


def kill_window(screen):
    """With its connection to the display."""
    do_to_window(screen, "windowkill")


def do_to_window(screen, what):
    search = ["xdotool", "search", "--onlyvisible", "--class", "."]
    found = subprocess.run(
        search, env=os.environ | screen.env, capture_output=True, text=True, timeout=20
    ).stdout.split()
    subprocess.run(["xdotool", what, found[0]], env=os.environ | screen.env, check=True, timeout=20)


def test_a_window_that_is_destroyed_costs_neither_answer_nor_film(own_screen, sound, tmp_path):
    film, trace = tmp_path / "film.mp4", tmp_path / "trace.json"
    demo = Demo("--say", LONG, "--record", str(film), "--trace", str(trace), env=own_screen.env | sound.env)
    demo.wait_for("Turn 1")
    do_to_window(own_screen, "windowclose")
    demo.wait_for("The picture was lost", 10)
    demo.wait_for("Answer 1", 60)
    assert demo.process.wait(30) == 0
    (turn,) = json.loads(trace.read_text())["turns"]
    assert turn["heard_seconds"] == pytest.approx(turn["audio_seconds"], abs=0.05) and turn["underruns"] == 0
    assert turn["frames_rendered"] > turn["audio_seconds"], "it was drawn on"
    with av.open(str(film)) as played:
        assert played.streams.video[0].duration * played.streams.video[0].time_base > turn["audio_seconds"]


def freeze_display(screen):
    screen.process.send_signal(signal.SIGSTOP)


@pytest.fixture
def thawed(own_screen):
    yield
    own_screen.process.send_signal(signal.SIGCONT)


def test_while_the_display_is_frozen_the_answer_goes_on_and_ctrl_c_ends_it(
    own_screen, thawed, sound, tmp_path, measured
):
    """The main thread hangs within Xlib, and would hear no signal."""
    trace = tmp_path / "trace.json"
    demo = Demo("--say", LONG, "--trace", str(trace), env=own_screen.env | sound.env)
    demo.wait_for("Turn 1")
    freeze_display(own_screen)
    frozen = time.monotonic()
    demo.wait_for("The renderer hangs; the conversation goes on, and if the picture does not come back", 20)
    assert measured("noticed", time.monotonic() - frozen) < 3
    demo.wait_for("Answer 1", 60)
    demo.process.send_signal(signal.SIGINT)
    told = time.monotonic()
    assert demo.process.wait(20) == 130
    measured("ended after Ctrl-C", time.monotonic() - told)
    (turn, *_) = json.loads(trace.read_text())["turns"]
    assert turn["heard_seconds"] == pytest.approx(turn["audio_seconds"], abs=0.05) and turn["underruns"] == 0


@pytest.mark.parametrize("fault", [unplug_display, kill_window])
def test_a_lost_display_is_a_clear_end_that_loses_nothing(own_screen, sound, fault, tmp_path, measured):
    film, trace = tmp_path / "film.mp4", tmp_path / "trace.json"
    options = ("--say", LONG, "--record", str(film), "--trace", str(trace))
    demo = Demo(*options, env=own_screen.env | sound.env)
    demo.wait_for("Turn 1")
    fault(own_screen)
    lost = time.monotonic()
    demo.wait_for("The display is gone, and the window with it; switch it on and start the demo again.", 20)
    assert demo.process.wait(20) == 2
    measured("ended, film and trace written", time.monotonic() - lost)
    assert trace.exists()
    with av.open(str(film)) as played:
        assert sum(1 for _ in played.decode(video=0)) > 10, "the film is whole up to there"
