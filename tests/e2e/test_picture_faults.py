"""What draws the picture is really taken away: it is made anew, and the voice that speaks meanwhile is whole."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import pytest

from demo.measure.rig import virtual_screen
from demo.supervision import HANGING_LOOKS, LOOK_SECONDS
from tests.e2e.conftest import REPOSITORY, or_skip

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(120),
    pytest.mark.skipif(sys.platform != "linux", reason="X and EGL"),
]

SECONDS = 6.0  # that the voice speaks
BACK_SECONDS = 3.0
GONE = "The display is gone, and the window with it; switch it on and start the demo again."


class Probe:
    """``tests.e2e.picture_probe`` in the middle of its turn."""

    def __init__(self, kind: str, env: dict[str, str], seconds: float = SECONDS) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.picture_probe", kind, str(seconds)],
            cwd=REPOSITORY,
            env=os.environ | env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        began = self.process.stdout.readline()
        assert began == "begun\n", self.process.communicate()
        time.sleep(1.5)  # into the turn

    def order(self, fault: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(fault + "\n")
        self.process.stdin.flush()

    def end(self) -> tuple[int, str, str]:
        """Exit status, and what was printed."""
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err


def report(probe: Probe) -> dict:
    """Of a turn that was spoken to its end."""
    status, out, err = probe.end()
    assert status == 0, err
    told = json.loads(out.splitlines()[-1])
    assert told["played"] == pytest.approx(SECONDS, abs=0.01) and told["underruns"] == 0
    return told | {"said": err}


def away(told: dict, fault: float) -> float:
    """Seconds for which no picture was shown around ``fault``, with a picture before and many after."""
    moments = np.array(told["moments"])
    assert (moments < fault).any() and (moments > fault + BACK_SECONDS - 1).sum() > 10
    gaps = np.diff(moments)
    return float(gaps[moments[1:] > fault].max())


@pytest.fixture
def own_screen():
    """A display that may be broken."""
    with or_skip(virtual_screen()) as screen:
        yield screen


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        ("offscreen", "destroy_egl_context"),
        ("offscreen", "terminate_egl"),
        ("offscreen", "delete_program"),
        ("window", "destroy_glx_context"),
        ("window", "delete_program"),
    ],
)
def test_a_lost_context_is_made_anew_and_the_voice_goes_on(own_screen, kind, fault, measured):
    probe = Probe(kind, own_screen.env)
    began = time.monotonic()
    probe.order(fault)
    told = report(probe)
    assert told["said"].count("made anew") == 1
    assert measured("no picture for", away(told, began)) < BACK_SECONDS
    assert 40 < told["brightness"] < 90, "a face, not a blank"


def test_a_window_that_is_destroyed_comes_back(own_screen, measured):
    """By another program, while display and connection stay."""
    probe = Probe("window", own_screen.env)
    began = time.monotonic()
    xdotool(own_screen, lambda window: ["windowclose", window])
    told = report(probe)
    assert "made anew" in told["said"]
    assert measured("no picture for", away(told, began)) < BACK_SECONDS


def xdotool(screen, command: Callable[[str], list[str]]) -> None:
    env = os.environ | screen.env
    search = ["xdotool", "search", "--onlyvisible", "--class", "."]
    window = subprocess.run(search, env=env, capture_output=True, text=True, timeout=20).stdout.split()[0]
    subprocess.run(["xdotool", *command(window)], env=env, check=True, timeout=20)


def test_a_display_that_is_gone_is_a_clear_end(own_screen, measured):
    probe = Probe("window", own_screen.env)
    own_screen.process.kill()
    began = time.monotonic()
    status, _, err = probe.end()
    seconds = measured("ended", time.monotonic() - began)
    assert status == 2 and seconds < 5
    assert GONE in err.splitlines()


def test_a_display_that_comes_back_under_the_same_number_is_no_reason_to_go_on_half(own_screen):
    """Its windows are gone with it, and Xlib does not go on after its server: the end is as clear."""
    probe = Probe("window", own_screen.env)
    own_screen.process.kill()
    own_screen.process.wait(10)
    with virtual_screen(own_screen.env["DISPLAY"].removeprefix(":")):
        status, _, err = probe.end()
    assert status == 2 and GONE in err.splitlines()


def test_a_display_server_that_freezes_is_noticed_and_the_voice_goes_on(own_screen, measured):
    """The main thread hangs within Xlib, where nothing can be done about it but to wait."""
    probe = Probe("window", own_screen.env)
    own_screen.process.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    time.sleep(3.2)
    own_screen.process.send_signal(signal.SIGCONT)
    told = report(probe)
    (noticed,) = told["hanging"]
    measured("no picture for", away(told, began))
    assert measured("noticed", noticed - began) < HANGING_LOOKS * LOOK_SECONDS + 1
    assert "Current thread" in told["said"] or "Thread 0x" in told["said"], "stacks"
    assert told["moments"][-1] > began + 3.2
