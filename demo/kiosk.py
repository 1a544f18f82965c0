"""The rules by which the avatar runs a stand by itself: what happened goes in, what is to be done comes out.

Nobody is there at first: it looks around, and now and then it says something to passers-by. Whoever is understood is a
visitor, and a conversation has begun. It ends when a while passes without a word that is understood; what was said is
forgotten then, for the next visitor is somebody else. A hall is never silent, so noises and voices that nobody
understands neither begin a conversation nor keep one going.

``Rules`` are figures; ``Kiosk`` decides and knows nothing of threads, sockets and clocks; ``Attendant`` calls it when
something happens and when a time has come.
"""

import asyncio
import json
import math
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from demo.settings import Settings
from demo.trace import TurnTrace
from streamingtalker.errors import UserError
from streamingtalker.places import make_place

LETTERS_A_SECOND = 15.0  # that a voice speaks, roughly

_MINUTE = 60.0
_GRACE = 15.0  # seconds a turn may take beyond the longest reply: for thinking, and to end the sentence
_MANNERS = 6.0  # seconds after somebody was heard in which nobody is spoken to: he may be about to ask
_SOONEST = 0.25  # of the time between invitations: the first one after a conversation comes not before


class TranscriptError(UserError):
    """What was said cannot be written down."""


@dataclass(frozen=True)
class Rules:
    """What is allowed at a stand; seconds. 0 in ``invite``: never."""

    quiet: float = 60.0
    invite: float = 90.0
    question: float = 20.0
    reply: float = 25.0
    turns_a_minute: int = 10

    @staticmethod
    def of(settings: Settings) -> "Rules":
        """As the operator wants them."""
        return Rules(
            settings.quiet_seconds,
            settings.invite_seconds,
            settings.longest_question,
            settings.longest_reply,
            settings.turns_a_minute,
        )


# --- what happens ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Voice:
    """Somebody is heard, who may be a visitor, or a hall."""


@dataclass(frozen=True)
class TurnBegun:
    """The avatar has the turn; ``asked``: a visitor was understood, and is answered."""

    asked: bool


@dataclass(frozen=True)
class TurnOver:
    """It has it no more."""


@dataclass(frozen=True)
class Tick:
    """Time has passed."""


Event = Voice | TurnBegun | TurnOver | Tick

# --- what is to be done ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Say:
    """Say a phrase of the persona."""

    phrase: str


@dataclass(frozen=True)
class Forget:
    """The visitor has gone: end the conversation and forget it."""


@dataclass(frozen=True)
class Hush:
    """Fall silent."""


@dataclass(frozen=True)
class Rest:
    """Hear nothing for a while, or listen again."""

    resting: bool


Action = Say | Forget | Hush | Rest


class Kiosk:
    """The state of a stand. Times are seconds of any clock that only goes forward."""

    def __init__(self, rules: Rules, seed: int, now: float) -> None:
        self.rules = rules
        self.resting = False  # too much was asked of it
        self._random = random.Random(seed)
        self._visited: float | None = None  # when the visitor was last understood or answered; None: nobody is there
        self._speaks_since: float | None = None  # the avatar has the turn
        self._heard = -math.inf  # the last voice
        self._asked: deque[float] = deque(maxlen=rules.turns_a_minute)  # when visitors were understood
        self._explains = False  # it has still to say why it rests
        self._invited = 0
        self._invitation = now + self._pause()  # when the next one comes, if nobody is about to speak

    @property
    def attracting(self) -> bool:
        """Whether nobody is there."""
        return self._visited is None

    def step(self, event: Event, now: float) -> list[Action]:
        """What ``event`` at ``now`` brings about, with all whose time has come."""
        match event:
            case Voice():
                self._heard = now
            case TurnBegun(asked):
                return self._begun(asked, now)
            case TurnOver():
                return self._over(now)
        return self._due(now)

    @property
    def due(self) -> float:
        """When the next Tick is needed; infinity if nothing is to come by itself."""
        if self._speaks_since is not None:
            return self._latest_end
        return min(self._listens_again, self._visit_ends, self._next_invitation)

    def _begun(self, asked: bool, now: float) -> list[Action]:
        self._speaks_since = now
        if not asked:
            return []
        self._visited = now
        self._asked.append(now)
        self.resting = self._explains = self._exhausted(now)
        return [Rest(True)] if self.resting else []

    def _over(self, now: float) -> list[Action]:
        self._speaks_since = None
        if not self.attracting:
            self._visited = now
        if self._explains:
            self._explains = False
            return [Say("breather")]
        return self._due(now)

    def _due(self, now: float) -> list[Action]:
        if self._speaks_since is not None:
            return self._hush() if now >= self._latest_end else []
        if now >= self._listens_again:
            self.resting = False
            return [Rest(False)]
        if now >= self._visit_ends:
            self._visited = None
            self._invitation = max(self._invitation, now + _SOONEST * self._pause())
            return [Forget()]
        return self._invite(now) if now >= self._next_invitation else []

    def _hush(self) -> list[Action]:
        self._speaks_since = None
        return [Hush()]

    def _invite(self, now: float) -> list[Action]:
        number, self._invited = self._invited, self._invited + 1
        self._invitation = now + self._pause()
        return [Say(f"invitations {number}")]

    @property
    def _latest_end(self) -> float:
        """Of the avatar's turn."""
        return math.inf if self._speaks_since is None else self._speaks_since + self.rules.reply + _GRACE

    @property
    def _visit_ends(self) -> float:
        """After a while without a word; who is just asking is heard out, but not for ever: it may be the hall."""
        if self._visited is None:
            return math.inf
        end = self._visited + self.rules.quiet
        return min(max(end, self._heard + _MANNERS), end + self.rules.question)

    @property
    def _next_invitation(self) -> float:
        """Politely; but a hall that is never silent is invited, too."""
        if not self.attracting or self.resting or not self.rules.invite:
            return math.inf
        return min(max(self._invitation, self._heard + _MANNERS), self._invitation + self.rules.invite)

    @property
    def _listens_again(self) -> float:
        return self._asked[0] + _MINUTE if self.resting else math.inf

    def _exhausted(self, now: float) -> bool:
        return len(self._asked) == self._asked.maxlen and now - self._asked[0] < _MINUTE

    def _pause(self) -> float:
        """Until the next invitation; not like clockwork."""
        return self.rules.invite * self._random.uniform(1.0, 1.5)


class Attendant:
    """Has a ``Kiosk`` decide in an event loop, when something happens and when it is due, and does what it says."""

    def __init__(self, kiosk: Kiosk, do: Callable[[Action], None], loop: asyncio.AbstractEventLoop) -> None:
        self.kiosk = kiosk
        self._do = do
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self.tell(Tick())

    def tell(self, event: Event) -> None:
        """Something has happened."""
        for action in self.kiosk.step(event, self._loop.time()):
            self._do(action)
        self._wait()

    def close(self) -> None:
        """Nothing more is to happen."""
        if self._timer is not None:
            self._timer.cancel()

    def _wait(self) -> None:
        self.close()
        if math.isfinite(due := self.kiosk.due):
            self._timer = self._loop.call_at(due, self.tell, Tick())


class Transcripts:
    """A file of JSON lines, one a turn, for ``--keep-transcripts``: the only place that keeps what visitors say."""

    def __init__(self, path: Path) -> None:
        """Raises PlaceError where ``path`` cannot be written."""
        make_place(path, "--keep-transcripts")
        self._path = path
        self._conversation = 1

    def add(self, turn: TurnTrace) -> None:
        """Append what was asked and answered. Raises TranscriptError."""
        line = {
            "time": datetime.now().astimezone().isoformat(timespec="seconds"),
            "conversation": self._conversation,
            "visitor": turn.transcript,
            "avatar": turn.reply,
            "interrupted": turn.interrupted,
        }
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
        except OSError as error:
            raise TranscriptError(
                f"The transcript {self._path} cannot be written ({error.strerror}); check the free space there."
            ) from error

    def next_conversation(self) -> None:
        """What follows is said by somebody else."""
        self._conversation += 1
