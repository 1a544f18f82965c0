"""What the conversation is doing, as the screen shows it."""

from dataclasses import dataclass, field

from demo.active_turn import ActiveTurn
from demo.clock import PlaybackTime
from demo.life import Bearing
from demo.messages import ReplyText
from demo.overlay import Captions
from demo.word_timing import LETTERS_A_SECOND, spoken_letters, weight
from streamingtalker.mood import Mood

BACK_SOON = "I will be right back."


@dataclass(frozen=True)
class Status:
    """One moment of the conversation. The client thread replaces it, the render thread reads it."""

    listening: bool = False  # it is the user's turn and the microphone is open
    hearing: bool = False  # somebody speaks into it
    user: str = ""  # what the user said, or seems to be saying
    turn: ActiveTurn | None = None  # the avatar's turn, if it has it
    notice: str = ""  # a line for the operator
    resting_mood: Mood = field(default_factory=Mood)  # of the face while nothing is said
    draws_moods: bool = True  # the frames of the talking face show its mood themselves
    muted: bool = False  # the user has switched the microphone off
    pushed: bool = False  # push-to-talk is held, or what was said meanwhile is not yet understood
    away: bool = False  # the server is lost, and looked for
    attracting: bool = False  # at a stand: nobody is there
    level: float = -100.0  # of the microphone, in dB below full scale
    spans_ms: dict[str, float] = field(default_factory=dict)  # latency of the turn before, see trace.py

    def captions(self, now: PlaybackTime) -> Captions:
        """What the overlay says at the moment ``now`` of the loudspeaker."""
        reply, spoken = ("", None) if not self.away or self.turn is not None else (BACK_SOON, len(BACK_SOON))
        if self._speaks(now) and self.turn is not None:
            reply, spoken = spoken_at(self.turn, now.seconds or 0.0)
        return Captions(self._state(now), self.user, reply, spoken, self.notice)

    def bearing(self, now: PlaybackTime) -> Bearing:
        """What the face makes of the moment ``now`` of the loudspeaker."""
        mood = None if self.turn is None else self.turn.mood_at(now.seconds if self._speaks(now) else 0.0)
        state = self._state(now)
        inviting = self.attracting and state in ("idle", "listening")
        return Bearing("inviting" if inviting else state, mood or self.resting_mood, self.draws_moods)

    def _state(self, now: PlaybackTime) -> str:
        if self.turn is not None:
            return "speaking" if self._speaks(now) else "thinking"
        if self.away:
            return "idle"
        if self.hearing:
            return "hearing"
        return "listening" if self.listening else "idle"

    def _speaks(self, now: PlaybackTime) -> bool:
        return self.turn is not None and now.turn == self.turn.number and (now.seconds or -1.0) >= 0


def spoken_at(turn: ActiveTurn, seconds: float) -> tuple[str, int]:
    """The sentence being spoken ``seconds`` into the turn, and how many of its letters belong to words begun."""
    rate = turn.welcome.sample_rate
    lines = list(turn.captions)  # the client thread adds to them
    begun = sum(line.start_sample <= seconds * rate for line in lines)
    if not begun:
        return "", 0
    line = lines[begun - 1]
    end = _end(turn, lines, begun - 1) / rate
    start = line.start_sample / rate
    return line.text, spoken_letters(line.text, (seconds - start) / max(end - start, 1e-3))


def _end(turn: ActiveTurn, lines: list[ReplyText], index: int) -> float:
    """The sample where line ``index`` ends. While the voice still speaks it, by how fast it has spoken so far."""
    if index + 1 < len(lines):
        return lines[index + 1].start_sample
    if turn.end is not None:
        return turn.end.samples
    rate = turn.welcome.sample_rate
    start = lines[index].start_sample
    said = sum(weight(line.text) for line in lines[:index])
    pace = said / start * rate if said and start else LETTERS_A_SECOND
    return max(start + weight(lines[index].text) / pace * rate, turn.samples)
