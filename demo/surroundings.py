"""What this machine has to show and sound with, and what a run does about what it lacks."""

import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from demo.devices import DeviceError, devices
from demo.settings import ASSETS, Settings
from streamingtalker.errors import UserError


class SurroundingsError(UserError):
    """This machine lacks what cannot be done without."""


DEFAULT_FILM = Path("out/demo.mp4")


def missing_parts(environment: Mapping[str, str] = os.environ, platform: str = sys.platform) -> list[str]:
    """What a window and a voice need and this machine lacks, in words."""
    missing = []
    if platform.startswith("linux") and not (environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY")):
        missing.append("no display")
    try:
        outputs = [device for device in devices() if device.outputs]
    except DeviceError:
        outputs = []
    return missing if outputs else [*missing, "no sound card"]


def adapt(settings: Settings, missing: list[str]) -> tuple[Settings, str | None]:
    """Settings for a machine that lacks ``missing``, and the sentence that says what changes, if anything does."""
    if settings.kiosk and missing and not settings.headless:
        raise SurroundingsError(
            f"{' and '.join(missing).capitalize()} found, and a stand needs both; switch them on and start it again."
        )
    if settings.headless or not missing:
        return _with_something_to_do(settings), None
    adapted = _with_something_to_do(replace(settings, headless=True, record=settings.record or DEFAULT_FILM))
    what = "a bundled conversation" if adapted.question != settings.question else "the session"
    found = " and ".join(missing).capitalize()
    return adapted, f"{found} found: holding {what} headless; the film goes to {adapted.record}."


def has_script(settings: Settings) -> bool:
    """Whether the settings say what the user does, so that nobody needs a microphone."""
    return bool(settings.question or settings.text or settings.say is not None or settings.speech)


def bundled_questions() -> tuple[Path, ...]:
    """The spoken questions that ship with the demo."""
    return tuple(sorted((ASSETS / "questions").glob("*.wav")))


def _with_something_to_do(settings: Settings) -> Settings:
    if not settings.headless or has_script(settings) or settings.kiosk:
        return settings
    return replace(settings, question=bundled_questions(), record=settings.record or DEFAULT_FILM)
