"""The real window, on a virtual display."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.e2e.conftest import REPOSITORY

pytestmark = pytest.mark.e2e


class Program:
    """A program with a window that takes commands."""

    def __init__(self, env: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.window_probe"],
            cwd=REPOSITORY,
            env=os.environ | env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def do(self, command: str) -> dict:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, f"the program ended at {command!r}"
        return json.loads(answer)

    def end(self) -> int:
        assert self._process.stdin is not None
        self._process.stdin.close()
        return self._process.wait(30)


@pytest.fixture
def program(display):
    program = Program(display.env)
    yield program
    assert program.end() == 0


def skin(pixels: np.ndarray) -> np.ndarray:
    """Where it is reddish and not dark."""
    return (pixels[..., 0].astype(int) - pixels[..., 2] > 15) & (pixels[..., 0] > 60)


def test_the_window_shows_the_face_and_moves(program, display):
    program.do("wait")
    first = display.screenshot()
    assert 0.1 < skin(first).sum() / (400 * 480) < 0.8
    program.do("wait")
    assert (display.screenshot() != first).any(axis=-1).sum() > 200, "a face is never frozen"


def test_screen_and_recording_show_the_same_with_captions(program, display, tmp_path):
    program.do("say Good evening, I am the face in the window.")
    program.do(f"picture {tmp_path / 'picture.png'}")
    recorded = np.asarray(Image.open(tmp_path / "picture.png")).astype(int)
    screen = display.screenshot().astype(int)
    top, left = window_corner(screen)
    shown = screen[top : top + recorded.shape[0], left : left + recorded.shape[1]]
    assert recorded.shape == (480, 400, 3)
    assert np.abs(shown - recorded).max(axis=-1).mean() < 1
    lower = recorded[int(0.7 * 480) :]
    assert (lower.min(axis=-1) > 240).sum() > 100, "white letters"


def window_corner(screen: np.ndarray) -> tuple[int, int]:
    """The window is what is not black; its backdrop is nowhere quite black."""
    rows, columns = np.nonzero(screen.sum(axis=-1) > 6)
    return int(rows.min()), int(columns.min())


@pytest.mark.parametrize(("width", "height"), [(700, 300), (260, 520)])
def test_the_window_can_be_resized(program, display, width, height):
    answer = program.do(f"resize {width} {height}")
    answer = program.do("wait")
    assert answer["size"] == [width, height]
    screen = display.screenshot()
    top, left = window_corner(screen)
    middle = screen[top : top + height, left : left + width][
        height // 4 : height // 2, width // 2 - 20 : width // 2 + 20
    ]
    assert skin(middle).mean() > 0.5


def test_the_window_can_fill_the_screen(program, display):
    program.do("fullscreen")
    assert program.do("wait")["size"] == [1280, 800]
    assert skin(display.screenshot()).sum() > 60_000
    program.do("fullscreen")
    assert program.do("wait")["size"] == [400, 480]


def test_keys_go_down_and_up_and_held_ones_do_not_repeat(program, display):
    program.do("fullscreen")  # so that the pointer is over the window
    program.do("wait")
    display.type("keydown", "space")
    assert program.do("wait")["strokes"] == ["+SPACE"]
    assert program.do("wait")["strokes"] == program.do("wait")["strokes"] == [], "long enough for a keyboard to repeat"
    display.type("keyup", "space")
    assert program.do("wait")["strokes"] == ["-SPACE"]
    display.type("key", "f", "m", "Escape")
    assert program.do("wait")["strokes"] == ["+F", "-F", "+M", "-M", "+ESCAPE", "-ESCAPE"]
    display.type("key", "question")
    assert "+?" in program.do("wait")["strokes"]


@pytest.mark.parametrize("screen", [{}, {"DISPLAY": ":4711"}], ids=["none", "switched_off"])
def test_without_a_display_it_is_said_in_a_sentence(screen):
    code = "from demo.renderer import WindowCanvas\nWindowCanvas(64, 64)"
    env = {key: value for key, value in os.environ.items() if key not in ("DISPLAY", "WAYLAND_DISPLAY")} | screen
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, env=env, capture_output=True, text=True, timeout=60
    )
    assert "DisplayError: No window opens" in done.stderr and "--headless" in done.stderr
