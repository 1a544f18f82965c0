"""Who has the turn: what happened goes in, what is to be done comes out.

Knows nothing of sockets, threads and clocks; ``client.py`` does what is decided here, at once and in this order. There
are three states. It is *quiet* while the user may speak. It is *secret* while an answer to what may be all of the
user's words is being prepared: nothing of it is heard, shown or remembered. It is *answering* while the avatar has the
turn, from the moment the words are certain until its last sample has left the speaker.

Without a server nobody answers: what is asked meanwhile waits until one is there again, and so does a question of whose
answer nothing had been heard.

Turns are only counted up. Whatever belongs to another turn than the newest is dropped where it is met.
"""

import re
from dataclasses import dataclass

from demo.barge_in import is_command
from demo.hearing import (
    Draft,
    DraftWithdrawn,
    FinalText,
    Hearing,
    NotUnderstood,
    UserSpeaking,
    Utterance,
)
from demo.openings import Opening, Phrase, Question

# --- what happens ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """Something is to be answered or said that did not come through the microphone."""

    opening: Opening


@dataclass(frozen=True)
class Spoken:
    """The last sample of ``turn`` has left the speaker."""

    turn: int


@dataclass(frozen=True)
class Muted:
    """The user switches the microphone off or on."""

    muted: bool


@dataclass(frozen=True)
class Pushed:
    """The user holds the push-to-talk key, or lets it go: held, the avatar listens whatever it does otherwise."""

    held: bool


@dataclass(frozen=True)
class Renewed:
    """Another person, another conversation."""


@dataclass(frozen=True)
class Hushed:
    """The avatar has spoken for long enough."""


@dataclass(frozen=True)
class Lost:
    """The server has gone. ``complete``: all of the avatar's turn is here; ``heard``: something of it was heard."""

    complete: bool = False
    heard: bool = False


@dataclass(frozen=True)
class Found:
    """A server is there again; it knows nothing of what was said."""


Heard = UserSpeaking | Draft | DraftWithdrawn | FinalText | NotUnderstood
Event = Heard | Asked | Spoken | Muted | Pushed | Renewed | Hushed | Lost | Found

# --- what is to be done ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Begin:
    """Have ``turn`` answered."""

    turn: int
    opening: Opening
    secretly: bool = False


@dataclass(frozen=True)
class Reveal:
    """Let the secret ``turn`` be heard: it answers ``opening``."""

    turn: int
    opening: Opening


@dataclass(frozen=True)
class Stop:
    """Let nothing more of ``turn`` be heard or seen; a secret one has never been."""

    turn: int
    interrupted_at: float | None = None  # monotonic seconds of the first sound of whoever speaks into it


@dataclass(frozen=True)
class Finish:
    """``turn`` has been spoken to its end."""

    turn: int


@dataclass(frozen=True)
class Forget:
    """Have the server forget what was said."""


Action = Begin | Reveal | Stop | Finish | Forget

_LOST_THREAD = "broken_off"  # the persona's phrase for an answer that ends before its end

# --- states ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Quiet:
    """It is the user's turn."""


@dataclass(frozen=True)
class Secret:
    """``turn`` is being prepared, in case the words so far are all."""

    turn: int
    utterance: int
    words: str


@dataclass(frozen=True)
class Answering:
    """The avatar has the turn."""

    turn: int


class TurnTaking:
    """The conversation's state.

    ``half_duplex``: nothing is to be heard while the avatar has the turn. ``asks_again``: whoever is not understood is
    told so.
    """

    def __init__(self, *, half_duplex: bool = False) -> None:
        self.state: Quiet | Secret | Answering = Quiet()
        self.half_duplex = half_duplex
        self.asks_again = True
        self.muted = False
        self.pushed = False  # until what was said meanwhile is understood
        self._released = False  # the key is up again
        self._speaking = False  # somebody, who has not been understood yet
        self._stopped_by = 0  # the utterance that interrupted the avatar last
        self._turns = 0
        self._away = False  # the server
        self._opening: Opening | None = None  # of the newest turn
        self._waiting: Opening | None = None  # for the server, newer than all others
        self._waited: Opening | None = None  # the last one that did

    @property
    def hearing(self) -> Hearing:
        """How much is to be heard in this state."""
        if self.pushed:
            return Hearing.OPEN
        if self.muted:
            return Hearing.DEAF
        if not isinstance(self.state, Answering):
            return Hearing.OPEN
        return Hearing.DEAF if self.half_duplex else Hearing.GUARDED

    def step(self, event: Event) -> list[Action]:
        """What ``event`` brings about."""
        actions = self._take(event)
        self._speaking = self._speaking and self.hearing is not Hearing.DEAF
        return actions

    def _take(self, event: Event) -> list[Action]:
        match event:
            case Asked(opening):
                return [*self._stop(), *self._begin(opening)]
            case Spoken(turn):
                return self._spoken(turn)
            case Muted(muted):
                self.muted = muted
                return self._deafened()
            case Pushed(held):
                return self._push(held)
            case Renewed():
                self._waiting = None
                return [*self._stop(), Forget()]
            case Lost():
                return self._lose(event)
            case Found():
                return self._find()
            case Hushed():
                return self._stop()
        return [] if self.hearing is Hearing.DEAF else self._hear(event)

    def _hear(self, event: Heard) -> list[Action]:
        match event:
            case UserSpeaking():
                self._speaking = True
                if not event.interrupts or not isinstance(self.state, Answering):
                    return []
                self._stopped_by = event.utterance
                return self._stop(event.time)
            case Draft():
                return self._draft(event)
            case DraftWithdrawn(utterance):
                secret = isinstance(self.state, Secret) and self.state.utterance == utterance
                return self._stop() if secret else []
            case FinalText() | NotUnderstood():
                return self._understood(event)

    def _draft(self, draft: Draft) -> list[Action]:
        if isinstance(self.state, Answering) or self._away:
            return []
        if isinstance(self.state, Secret) and _same(self.state, draft.utterance, draft.text):
            return []
        actions = self._stop()
        if self._is_obeyed(draft.utterance, draft.text):
            return actions
        begin = self._begin(Question(draft.text), secretly=True)
        self.state = Secret(self._turns, draft.utterance, draft.text)
        return [*actions, *begin]

    def _understood(self, event: FinalText | NotUnderstood) -> list[Action]:
        self._speaking = False
        self.pushed = self.pushed and not self._released
        opening = opening_of(event)
        if isinstance(event, FinalText) and isinstance(self.state, Secret):
            turn = self.state.turn
            if _same(self.state, event.utterance.number, event.text):
                self.state, self._opening = Answering(turn), opening
                return [Reveal(turn, opening)]
        if isinstance(event, NotUnderstood) and isinstance(self.state, Answering):
            return []
        if isinstance(event, FinalText) and self._is_obeyed(event.utterance.number, event.text):
            return self._stop()
        if isinstance(event, NotUnderstood) and not self.asks_again:
            return self._stop()
        return [*self._stop(), *self._begin(opening)]

    def _is_obeyed(self, utterance: int, text: str) -> bool:
        """Whether silence was all that was asked for, and there it is."""
        return utterance == self._stopped_by and is_command(text)

    def _lose(self, lost: Lost) -> list[Action]:
        self._away = True
        if isinstance(self.state, Answering):
            if lost.complete:
                return []
            self._waiting = self._after_loss(lost.heard)
        return self._stop()

    def _after_loss(self, heard: bool) -> Opening | None:
        """What is to be said when a server is there again: the same once more, unless it was that which killed it."""
        if not heard and self._opening is not self._waited:
            return self._opening
        apology = isinstance(self._opening, Phrase) and self._opening.phrase == _LOST_THREAD
        return None if apology else Phrase(_LOST_THREAD)

    def _find(self) -> list[Action]:
        self._away = False
        self._waited, self._waiting = self._waiting, None
        return [] if self._waited is None else [*self._stop(), *self._begin(self._waited)]

    def _push(self, held: bool) -> list[Action]:
        self._released = not held
        if held:
            self.pushed = True
            return self._stop() if isinstance(self.state, Answering) else []
        self.pushed = self.pushed and self._speaking  # whoever still speaks is heard out
        return self._deafened()

    def _spoken(self, turn: int) -> list[Action]:
        if self.state != Answering(turn):
            return []
        self.state = Quiet()
        return [Finish(turn)]

    def _deafened(self) -> list[Action]:
        """Who can hear nothing any more has heard nothing: what may have been said is no question."""
        secret = isinstance(self.state, Secret) and self.hearing is Hearing.DEAF
        return self._stop() if secret else []

    def _begin(self, opening: Opening, secretly: bool = False) -> list[Action]:
        if self._away:
            self._waiting = opening
            return []
        self._turns += 1
        self.state, self._opening = Answering(self._turns), opening
        return [Begin(self._turns, opening, secretly)]

    def _stop(self, interrupted_at: float | None = None) -> list[Action]:
        if isinstance(self.state, Quiet):
            return []
        turn, self.state = self.state.turn, Quiet()
        return [Stop(turn, interrupted_at)]


def opening_of(event: FinalText | NotUnderstood) -> Opening:
    """The turn that an utterance begins."""
    utterance = event.utterance
    if isinstance(event, FinalText):
        return Question(event.text, utterance.last_speech_time, _spans(utterance))
    return Phrase("not_heard", utterance.last_speech_time, _spans(utterance))


def _spans(utterance: Utterance) -> dict[str, float]:
    return {
        "endpoint": (utterance.decided_time - utterance.last_speech_time) * 1000,
        "stt": (utterance.text_time - utterance.decided_time) * 1000,
    }


def _same(secret: Secret, utterance: int, text: str) -> bool:
    """Whether these are the words that are being answered in secret, but for signs between them."""
    return secret.utterance == utterance and _words(secret.words) == _words(text)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())
