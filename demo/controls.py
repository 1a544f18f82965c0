"""What the keys do: one table, from which the help on screen and on the command line are made."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from demo.canvas import Stroke

TAP_SECONDS = 0.3  # a push to talk released sooner is a tap: it stays open until the next one


class Action(StrEnum):
    """What a key can do."""

    FULLSCREEN = "full screen"
    TALK = "talk: hold, or tap twice"
    MUTE = "microphone off or on"
    CAPTIONS = "captions off or on"
    FIGURES = "latency and frame rate"
    RESTART = "new conversation"
    HELP = "these keys"
    QUIT = "quit"


@dataclass(frozen=True)
class Key:
    """A row of the table."""

    label: str  # as people call it
    names: tuple[str, ...]  # as the window does
    action: Action


KEYS = (
    Key("Space", ("SPACE",), Action.TALK),
    Key("M", ("M",), Action.MUTE),
    Key("R", ("R",), Action.RESTART),
    Key("F", ("F", "F11"), Action.FULLSCREEN),
    Key("C", ("C",), Action.CAPTIONS),
    Key("L", ("L",), Action.FIGURES),
    Key("? or H", ("?", "H", "F1"), Action.HELP),
    Key("Esc", ("ESCAPE",), Action.QUIT),
)
ACTIONS = {name: key.action for key in KEYS for name in key.names}


def help_rows() -> tuple[tuple[str, str], ...]:
    """Each key and what it does, in words."""
    return tuple((key.label, str(key.action)) for key in KEYS)


def help_text() -> str:
    """The same in one sentence."""
    return "Keys: " + ", ".join(f"{label} ({does})" for label, does in help_rows()) + "."


class Window(Protocol):
    """What keys do to the window."""

    def toggle_fullscreen(self) -> None:
        """Fill the screen, or be a window again."""


class Talker(Protocol):
    """What keys do to the conversation."""

    def set_muted(self, muted: bool) -> None:
        """Close the microphone, or open it again."""

    def push_to_talk(self, held: bool) -> None:
        """The user holds the key to speak, or lets it go."""

    def new_conversation(self) -> None:
        """Forget what was said."""


class PushToTalk:
    """Held down it is open; a tap opens it until the next tap, for keyboards and presenters that cannot be held."""

    def __init__(self) -> None:
        self.open = False
        self._pressed = 0.0

    def press(self, seconds: float) -> None:
        """The key goes down at monotonic ``seconds``."""
        self.open = not self.open
        self._pressed = seconds

    def release(self, seconds: float) -> None:
        """The key goes up."""
        if seconds - self._pressed >= TAP_SECONDS:
            self.open = False


class Controls:
    """Obeys the keys, and knows what of the screen they have switched on."""

    def __init__(self, window: Window, talker: Talker, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.captions = True
        self.figures = False
        self.help = False
        self.muted = False
        self._window = window
        self._talker = talker
        self._monotonic = monotonic
        self._push = PushToTalk()

    def obey(self, strokes: Sequence[Stroke]) -> bool:
        """Do what the keys say; whether the user wants to end."""
        for stroke in strokes:
            action = ACTIONS.get(stroke.key)
            if action is Action.TALK:
                self._talk(stroke.down)
            elif action is Action.QUIT and stroke.down:
                return True
            elif action is not None and stroke.down:
                self._do(action)
        return False

    def _talk(self, down: bool) -> None:
        before = self._push.open
        (self._push.press if down else self._push.release)(self._monotonic())
        if self._push.open != before:
            self._talker.push_to_talk(self._push.open)

    def _do(self, action: Action) -> None:
        match action:
            case Action.FULLSCREEN:
                self._window.toggle_fullscreen()
            case Action.MUTE:
                self.muted = not self.muted
                self._talker.set_muted(self.muted)
            case Action.RESTART:
                self._talker.new_conversation()
            case Action.CAPTIONS:
                self.captions = not self.captions
            case Action.FIGURES:
                self.figures = not self.figures
            case Action.HELP:
                self.help = not self.help
