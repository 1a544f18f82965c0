"""What the conversation is doing, as the screen shows it."""

from dataclasses import dataclass, field

from demo.client import ActiveTurn
from demo.clock import PlaybackTime
from demo.life import Bearing
from demo.overlay import Captions
from streamingtalker.mood import Mood


@dataclass(frozen=True)
class Status:
    """One moment of the conversation. The client thread replaces it, the render thread reads it."""

    listening: bool = False  # the microphone is open and not muted
    hearing: bool = False  # somebody speaks into it
    user: str = ""  # what the user said, or seems to be saying
    turn: ActiveTurn | None = None  # the avatar's turn, if it has it
    notice: str = ""  # a line for the operator
    resting_mood: Mood = field(default_factory=Mood)  # of the face while nothing is said
    draws_moods: bool = True  # the frames of the talking face show its mood themselves

    def captions(self, now: PlaybackTime) -> Captions:
        """What the overlay says at the moment ``now`` of the loudspeaker."""
        reply = ""
        if self._speaks(now) and self.turn is not None:
            reply = self.turn.caption_at(now.seconds)
        return Captions(self._state(now), self.user, reply, self.notice)

    def bearing(self, now: PlaybackTime) -> Bearing:
        """What the face makes of the moment ``now`` of the loudspeaker."""
        mood = None if self.turn is None else self.turn.mood_at(now.seconds if self._speaks(now) else 0.0)
        return Bearing(self._state(now), mood or self.resting_mood, self.draws_moods)

    def _state(self, now: PlaybackTime) -> str:
        if self.turn is not None:
            return "speaking" if self._speaks(now) else "thinking"
        if self.hearing:
            return "hearing"
        return "listening" if self.listening else "idle"

    def _speaks(self, now: PlaybackTime) -> bool:
        return self.turn is not None and now.turn == self.turn.number and (now.seconds or -1.0) >= 0
