"""The keys, pressed in the running demo: what the screen, the microphone and the conversation make of them."""

import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.e2e.test_conversation import QUESTIONS, Demo

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]
CENTRE, CORNER, SIGNS = np.s_[300:560, 400:880], np.s_[120:360, 20:300], np.s_[20:110, 20:300]


@pytest.fixture
def demo(display, sound):
    demo = Demo("--fullscreen", env=display.env | sound.env)
    demo.wait_for("Answer 1")  # the greeting
    yield demo
    demo.process.kill()


class Watcher:
    """Waits for the screen to show something; keeps pictures of it where asked to."""

    def __init__(self, display, folder: Path) -> None:
        self._display, self._folder = display, folder

    def until(self, shows, name: str, seconds: float = 10.0) -> np.ndarray:
        deadline = time.monotonic() + seconds
        while not shows(picture := self._display.screenshot()):
            assert time.monotonic() < deadline, f"the screen never showed {name}"
            time.sleep(0.1)
        Image.fromarray(picture).save(self._folder / f"{name}.png")
        return picture


def letters(picture: np.ndarray) -> int:
    """Pixels as bright as white letters."""
    return int((picture.min(axis=-1) > 225).sum())


def reddish(picture: np.ndarray) -> int:
    """Pixels of the colour of trouble."""
    return int(((picture[..., 0] > 200) & (picture[..., 1] < 150) & (picture[..., 2] < 150)).sum())


def test_keys_in_the_running_demo(demo, display, sound, tmp_path):
    watcher = Watcher(display, tmp_path)
    watcher.until(lambda seen: seen.shape == (800, 1280, 3), "before")
    display.type("key", "question")
    watcher.until(lambda seen: letters(seen[CENTRE]) > 3000, "help")
    display.type("key", "h")
    watcher.until(lambda seen: letters(seen[CENTRE]) < 1500, "no help")
    display.type("key", "l")
    watcher.until(lambda seen: letters(seen[CORNER]) > 200, "figures")
    display.type("key", "m")
    watcher.until(lambda seen: reddish(seen[SIGNS]) > 60, "muted")

    sound.play_into_microphone(QUESTIONS[0])
    time.sleep(2)
    assert not [line for line in demo.log if line and line.startswith("Turn 2")], "it is muted"

    display.type("keydown", "space")
    watcher.until(lambda seen: reddish(seen[SIGNS]) < 20, "push to talk")
    sound.play_into_microphone(QUESTIONS[0])
    display.type("keyup", "space")
    demo.wait_for("Turn 2", 30)
    watcher.until(lambda seen: letters(seen[600:]) > 500, "captions")
    display.type("key", "c")
    watcher.until(lambda seen: letters(seen[600:]) < 50, "no captions")
    display.type("key", "Escape")
    assert demo.process.wait(30) == 0
