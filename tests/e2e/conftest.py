"""A display and a sound server of the tests' own: Xvfb, and PulseAudio with a virtual loudspeaker and microphone.

Programs under test run as processes of their own, with ``display.env | sound.env`` in their environment.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from PIL import ImageGrab

from demo.measure.rig import ProgramMissingError, SoundServer, need, sound_server, virtual_screen
from tests.conftest import missing

REPOSITORY = Path(__file__).resolve().parent.parent.parent
T = TypeVar("T")


@dataclass(frozen=True)
class Display:
    """A virtual screen of 1280 x 800 pixels."""

    env: dict[str, str]

    def screenshot(self) -> np.ndarray:
        """What the screen shows, uint8 [H, W, 3]."""
        picture = ImageGrab.grab(xdisplay=self.env["DISPLAY"])
        return np.asarray(picture.convert("RGB"))

    def type(self, *arguments: str) -> None:
        """Press keys as ``xdotool`` does, in the window under the pointer: ``key f``, ``keydown space`` …"""
        try:
            need("xdotool", "xdotool")
        except ProgramMissingError as error:
            missing(str(error))
        command = ["xdotool", "mousemove", "640", "400", *arguments]
        subprocess.run(command, env=os.environ | self.env, check=True, timeout=20)


def run_module(name: str, *arguments: str, env: dict[str, str], timeout: float = 120) -> subprocess.CompletedProcess:
    """Run ``python -m name`` as a program of its own; fails the test with its output when it fails."""
    done = subprocess.run(
        [sys.executable, "-m", name, *arguments],
        cwd=REPOSITORY,
        env=os.environ | env,
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert done.returncode == 0, f"{name} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done


@pytest.fixture(scope="session")
def display() -> Iterator[Display]:
    """A virtual display, for the whole run."""
    with or_skip(virtual_screen()) as screen:
        yield Display(screen.env)


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SoundServer]:
    """A sound server, for the whole run."""
    with or_skip(sound_server(tmp_path_factory.mktemp("pulse"))) as server:
        yield server


@contextmanager
def or_skip(rig: AbstractContextManager[T]) -> Iterator[T]:
    """What a machine lacks is missing; what does not start is an error."""
    with ExitStack() as stack:
        try:
            made = stack.enter_context(rig)
        except ProgramMissingError as error:
            missing(str(error))
        yield made
