"""All small movements of a face, joined with its speech.

They are a function of the seed, of the moments at which pictures are made, and of what the conversation did at them.
The model moves mouth, cheeks, brows and the lids' squint; here blinks, gaze, head and breath are added, which no other
part moves. The look of the silent face is faded out while speech is faded in.
"""

from dataclasses import dataclass, field

import numpy as np

from demo.life.blinks import Blinks
from demo.life.expression import Expression, names_used
from demo.life.gaze import Gaze
from demo.life.head import Carriage, Head
from demo.life.landmarks import Landmarks
from demo.life.motion import about, rotation
from demo.life.rhythm import Rhythm
from streamingtalker.mood import Mood

_LIDS_REST = 0.07  # how far lids hang while the eyes are open: wholly open ones stare
_LOOK_LIMIT = np.radians(25.0)  # pitch at which eyeLookDown and eyeLookUp have their full weight
_WIDEST = np.radians(32.0)  # eyes turn no further
_BREATH = np.array([0.0, 0.030, 0.020])  # of a face's measure, up and forward
_NOTHING = 1e-5  # weights that move nothing
_MOOD_COMES, _MOOD_GOES = 0.5, 5.0  # seconds: with what is said, and after it
_BLINKS = ("eyeBlinkLeft", "eyeBlinkRight")
_LOOKS = ("eyeLookUpLeft", "eyeLookUpRight", "eyeLookDownLeft", "eyeLookDownRight")
_ASIDE = ("eyeLookOutLeft", "eyeLookInRight", "eyeLookInLeft", "eyeLookOutRight")  # to the avatar's left, to its right


@dataclass(frozen=True)
class Bearing:
    """What the conversation is doing, as far as the face shows it."""

    state: str = "idle"  # idle, inviting, listening, hearing, thinking or speaking
    mood: Mood = field(default_factory=Mood)  # of what is said, or in which the face rests
    mood_is_drawn: bool = True  # the frames of the speaking face show the mood themselves


class Life:
    """One living face. Ask for its pictures in the order of time; set ``bearing`` when the conversation goes on."""

    def __init__(self, face: Landmarks, seed: int = 0, viewer: np.ndarray | None = None) -> None:
        """``viewer`` [3]: where whoever looks at the face stands, in metres; None: straight before the eyes."""
        self.bearing = Bearing()
        self.template = face.template
        self._face = face
        known = tuple(face.shapes)
        self._turned_by_shapes = not any(len(eye.members) for eye in face.eyes)
        looks = (*_LOOKS, *_ASIDE) if self._turned_by_shapes else _LOOKS
        self._names = tuple(name for name in known if name in (*names_used(known), *_BLINKS, *looks))
        self._shapes = _matrix(face, self._names)
        self._blink = sum((face.shapes[name] for name in _BLINKS if name in face.shapes), np.zeros_like(face.template))
        self._blink_norm = max(float(np.vdot(self._blink, self._blink)), 1e-12)
        generators = [np.random.default_rng([seed, part]) for part in range(4)]
        self._blinks, self._gaze = Blinks(generators[0]), Gaze(generators[1])
        self._head, self._expression = Head(generators[2]), Expression(generators[3], face, self._names)
        self._rhythm = Rhythm()
        self._viewer = self._ahead() if viewer is None else np.asarray(viewer, float)
        self._before: float | None = None

    @property
    def mood(self) -> np.ndarray:
        """Intensities [M] of MOODS that the face shows now."""
        return self._expression.mood.value

    def offsets(self, seconds: float, speaking: float = 0.0, speech: np.ndarray | None = None) -> np.ndarray:
        """Offsets float32 [V, 3] from the template, in metres, at monotonic ``seconds``.

        ``speaking`` from 0 to 1: how much of the face is the model's. ``speech`` [V, 3]: the model's offsets to be
        joined; where it blinks by itself, no second blink is laid over it.
        """
        passed = max(0.0, seconds - (seconds if self._before is None else self._before))
        self._before = seconds
        state = self.bearing.state
        self._follow_speech(seconds, passed, speaking, speech)
        look = self._gaze.step(seconds, state)
        if self._gaze.started_large:
            self._blinks.invite(seconds, 0.3, within=0.05)
        mood = self._turn_mood(passed)
        carriage = self._head.step(seconds, passed, state, mood, self._gaze)
        closed = self._blinks.step(seconds, passed, state)
        weights = self._expression.step(seconds, passed, state, speaking, self.bearing.mood_is_drawn)
        return self._posed(carriage, look, closed, weights, speech)

    def _follow_speech(self, seconds: float, passed: float, speaking: float, speech: np.ndarray | None) -> None:
        """Take the rhythm from the lips."""
        upper, lower = self._face.topology.lip_pairs.T
        opening = 0.0 if speech is None else float((speech[upper, 1] - speech[lower, 1]).mean())
        heard = self._rhythm.hear(seconds, passed, max(opening, 0.0) if speaking else 0.0)
        if heard.beat:
            self._head.beat(seconds, heard.beat)
        if heard.phrase_ends:
            self._head.phrase_ends(seconds)
            self._blinks.invite(seconds, 0.5)

    def _turn_mood(self, passed: float) -> np.ndarray:
        """The mood's intensities [M]: quick to follow what is said, slow to go to rest."""
        talking = self.bearing.state in ("thinking", "speaking")
        return self._expression.mood.follow(self.bearing.mood.vector(), passed, _MOOD_COMES if talking else _MOOD_GOES)

    def _posed(
        self, carriage: Carriage, look: np.ndarray, closed: float, weights: np.ndarray, speech: np.ndarray | None
    ) -> np.ndarray:
        head = about(self._face.neck.pivot, rotation(carriage.yaw, carriage.pitch, carriage.roll))
        body = about(self._face.neck.waist, rotation(0.0, -carriage.lean, 0.0))
        turns = [self._eye_turn(eye.pivot, body @ head, look) for eye in self._face.eyes]
        weights = weights + self._lids(closed, turns, weights, speech)
        weights[np.abs(weights) < _NOTHING] = 0  # springs end in numbers so small that processors are slow with them
        vertices = self.template + (weights.astype(np.float32) @ self._shapes).reshape(-1, 3)
        if speech is not None:
            vertices += speech
        for eye, (yaw, pitch) in zip(self._face.eyes, turns, strict=True):
            turn = rotation(yaw, pitch, 0.0).astype(np.float32)
            vertices[eye.members] = (self.template[eye.members] - eye.pivot) @ turn.T + eye.pivot
        return self._carried(vertices, head, body, carriage.breath) - self.template

    def _eye_turn(self, pivot: np.ndarray, pose: np.ndarray, look: np.ndarray) -> tuple[float, float]:
        """Yaw and pitch that an eye needs in a head posed so to look where it wants to: the viewer, or beside."""
        wanted = pose[:3, :3].T @ (self._viewer - pose[:3, 3]) - pivot
        yaw = float(np.arctan2(wanted[0], wanted[2]) + look[0])
        pitch = float(np.arctan2(wanted[1], np.hypot(wanted[0], wanted[2])) + look[1])
        return float(np.clip(yaw, -_WIDEST, _WIDEST)), float(np.clip(pitch, -_WIDEST, _WIDEST))

    def _lids(
        self, closed: float, turns: list[tuple[float, float]], weights: np.ndarray, speech: np.ndarray | None
    ) -> np.ndarray:
        """Weights [S] that lids add: they hang a little, follow the gaze, and close once, whoever closes them."""
        held = [weights[self._names.index(name)] for name in _BLINKS if name in self._names]
        hanging = min(_LIDS_REST + max(held, default=0.0), 1.0)
        blink = max(0.0, hanging + (1 - hanging) * closed - max(held, default=0.0) - self._closed_by(speech))
        added = dict.fromkeys(_BLINKS, blink)
        for (_, pitch), side in zip(turns, ("Left", "Right"), strict=False):
            share = min(abs(pitch) / _LOOK_LIMIT, 1.0) * (1 - closed)
            added[f"eyeLook{'Up' if pitch > 0 else 'Down'}{side}"] = share
        if self._turned_by_shapes:
            added |= _aside(turns)
        raised = [name.startswith(("eyeWide", "eyeSquint")) for name in self._names]
        row = np.array([added.get(name, 0.0) for name in self._names])
        return row - closed * weights * raised  # closed lids are neither wide nor squinting

    def _closed_by(self, speech: np.ndarray | None) -> float:
        """How far the talking face itself has closed its lids: the least-squares weight of the blink in it."""
        if speech is None:
            return 0.0
        return float(np.clip(np.vdot(speech, self._blink) / self._blink_norm, 0.0, 1.0))

    def _carried(self, vertices: np.ndarray, head: np.ndarray, body: np.ndarray, breath: float) -> np.ndarray:
        """Turn the head on its neck, let the chest breathe, lean the body."""
        neck = self._face.neck
        both = body @ head
        turns = np.concatenate([body[:3, :3].T, (both - body)[:3, :3].T], axis=1).astype(np.float32)
        moved = vertices @ turns  # one product for body and head
        lift = (body[:3, :3] @ _BREATH * self._face.unit * breath).astype(np.float32)
        shift, head_shift = body[:3, 3].astype(np.float32), (both - body)[:3, 3].astype(np.float32)
        return moved[:, :3] + shift + neck.head * (moved[:, 3:] + head_shift) + neck.chest * lift

    def _ahead(self) -> np.ndarray:
        middle = np.mean([eye.pivot for eye in self._face.eyes] or [self.template.mean(axis=0)], axis=0)
        return middle.astype(float) + np.array([0.0, 0.0, 1.7])


def _aside(turns: list[tuple[float, float]]) -> dict[str, float]:
    """Weights of the shapes that turn eyes to the side, for yaw and pitch of the left and the right one."""
    weights = {}
    for (yaw, _), to_left, to_right in zip(turns, _ASIDE[:2], _ASIDE[2:], strict=False):
        weights[to_left if yaw > 0 else to_right] = abs(yaw) / _WIDEST
    return weights


def _matrix(face: Landmarks, names: tuple[str, ...]) -> np.ndarray:
    """The shapes as rows float32 [S, 3 V]. Eyeballs are turned exactly instead of by the shapes of looks."""
    shapes = np.zeros((len(names), *face.template.shape), np.float32)
    for row, name in zip(shapes, names, strict=True):
        row[:] = face.shapes[name]
        if name in _LOOKS:
            row[np.concatenate([eye.members for eye in face.eyes])] = 0
    return shapes.reshape(len(names), face.template.size)
