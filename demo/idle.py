"""What keeps a face alive: blinks, glances, breath, and a head that is never quite still.

All of it is a function of monotonic seconds and of a seed, so that the same evening can be drawn twice.
"""

import bisect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from streamingtalker.topology import Rig

_CLOSING, _CLOSED, _OPENING = 0.075, 0.025, 0.15  # seconds of a blink
_BLINK_EVERY = (2.0, 6.0)  # seconds between blinks
_LIDS_REST = 0.07  # how far lids hang while the eyes are open: wholly open ones stare
_DOUBLE = 0.15  # share of blinks followed at once by another
_LOOK_EVERY = (0.7, 3.2)  # seconds between glances
_SACCADE = 0.045  # seconds an eye takes to jump
_WIDEST = np.radians((7.0, 3.5))  # yaw and pitch of the widest glance
_AT_US = 0.55  # share of glances that return to whoever stands in front
_LID_LIMIT = np.radians(25.0)  # pitch at which eyeLookDown and eyeLookUp have their full weight
_SMILE = 0.10  # weight of mouthSmile while nobody speaks: a face at rest looks stern
_SWAY_HZ = np.array([[0.071, 0.113, 0.059], [0.163, 0.191, 0.137]])  # slow waves for yaw, pitch and roll
_SWAY = np.radians((1.5, 0.9, 0.7))
_NOD_HZ = np.array([0.61, 0.97])
_NOD = np.radians(1.3)
_BREATH_HZ, _BREATH = 0.23, (0.0016, 0.0010)  # metres up and forward


class IdleMotion:
    """The small movements of one face. Eyes turn about the rig's pivots, the head turns on its neck, shoulders stay."""

    def __init__(self, rig: Rig, seed: int = 0) -> None:
        self._rig = rig
        self.template = rig.topology.template
        self._blinks = _Timetable([seed, 0], _next_blink)
        self._glances = _Timetable([seed, 1], _next_glance)
        self._phases = np.random.default_rng([seed, 2]).uniform(0, 2 * np.pi, (3, 3))
        self._lids = _shape(rig, "eyeBlinkLeft", "eyeBlinkRight")
        self._lids_down = _without_eyes(rig, _shape(rig, "eyeLookDownLeft", "eyeLookDownRight"))
        self._lids_up = _without_eyes(rig, _shape(rig, "eyeLookUpLeft", "eyeLookUpRight"))
        self._smile = _shape(rig, "mouthSmileLeft", "mouthSmileRight")
        self._neck = _neck(rig)

    def offsets(self, seconds: float, speaking: float = 0.0, speech: np.ndarray | None = None) -> np.ndarray:
        """Offsets float32 [V, 3] from the template, in metres, at monotonic ``seconds``.

        ``speaking`` from 0 to 1: the gaze grows calm, the head nods. ``speech`` [V, 3]: offsets of the talking face to
        be joined; where it blinks by itself, no second blink is laid over it.
        """
        offsets = np.zeros_like(self.template) if speech is None else speech.astype(np.float32)
        yaw, pitch = self.gaze(seconds, speaking)
        offsets += np.float32(_SMILE * (1 - speaking)) * self._smile
        lids = self._lids_down if pitch < 0 else self._lids_up
        offsets += np.float32(min(abs(pitch) / _LID_LIMIT, 1.0)) * lids
        closed = _LIDS_REST + (1 - _LIDS_REST) * self.blink(seconds)
        offsets += np.float32(max(0.0, closed - self._closed(speech))) * self._lids
        vertices = self.template + offsets
        self._turn_eyes(vertices, yaw, pitch)
        return self._bend(vertices, seconds, speaking) - self.template

    def blink(self, seconds: float) -> float:
        """How far the lids are closed, from 0 to 1."""
        start, _ = self._blinks.at(seconds)
        since = seconds - start
        if since < _CLOSING:
            return _ease(since / _CLOSING)
        return 1 - _ease((since - _CLOSING - _CLOSED) / _OPENING)

    def gaze(self, seconds: float, speaking: float = 0.0) -> np.ndarray:
        """Yaw (to the avatar's left) and pitch (up) of the eyes in radians."""
        start, (before, after) = self._glances.at(seconds)
        jump = _ease((seconds - start) / _SACCADE)
        return (before + jump * (after - before)) * (1 - 0.65 * speaking)

    def head(self, seconds: float, speaking: float = 0.0) -> np.ndarray:
        """4x4 pose of the head, turning about the neck."""
        waves = np.sin(2 * np.pi * _SWAY_HZ * seconds + self._phases[:2])
        yaw, pitch, roll = _SWAY * (0.65 * waves[0] + 0.35 * waves[1])
        nods = np.sin(2 * np.pi * _NOD_HZ * seconds + self._phases[2, :2])
        pose = np.eye(4)
        pose[:3, :3] = _rotation(yaw, pitch + speaking * _NOD * nods.mean(), roll)
        pose[:3, 3] = self._neck.pivot - pose[:3, :3] @ self._neck.pivot
        return pose

    def _bend(self, vertices: np.ndarray, seconds: float, speaking: float) -> np.ndarray:
        """Turn the head, let the chest breathe."""
        pose = self.head(seconds, speaking).astype(np.float32)
        turned = vertices @ pose[:3, :3].T + pose[:3, 3]
        breath = np.sin(2 * np.pi * _BREATH_HZ * seconds + self._phases[2, 2])
        lift = np.array([0.0, *_BREATH], np.float32) * np.float32(breath)
        return vertices + self._neck.head * (turned - vertices) + self._neck.chest * lift

    def _turn_eyes(self, vertices: np.ndarray, yaw: float, pitch: float) -> None:
        turn = _rotation(yaw, pitch, 0.0).astype(np.float32)
        for members, pivot in zip(self._rig.eyes, self._rig.pivots, strict=True):
            vertices[members] = (vertices[members] - pivot) @ turn.T + pivot

    def _closed(self, speech: np.ndarray | None) -> float:
        """How far the talking face itself has closed its lids: the least-squares weight of the blink in it."""
        if speech is None:
            return 0.0
        weight = float(np.vdot(speech, self._lids) / max(np.vdot(self._lids, self._lids), 1e-12))
        return min(max(weight, 0.0), 1.0)


@dataclass(frozen=True)
class _Neck:
    pivot: np.ndarray  # float64 [3] where the head turns
    head: np.ndarray  # float32 [V, 1] share of the head's turn that a vertex takes part in
    chest: np.ndarray  # float32 [V, 1] share of the breath


def _neck(rig: Rig) -> _Neck:
    """Where the head ends, judged by the face's measure: the distance from mouth to eyes."""
    template = rig.topology.template
    mouth, eyes = template[rig.topology.lips].mean(axis=0), rig.pivots.mean(axis=0)
    unit = eyes[1] - mouth[1]
    height = (template[:, 1:2] - mouth[1]) / unit  # 0 at the mouth, 1 at the eyes, about -0.8 at the chin
    head = _ease((height + 2.3) / 1.5).astype(np.float32)
    chest = _ease((-1.6 - height) / 1.4).astype(np.float32)
    return _Neck(np.array([0.0, mouth[1] - 1.2 * unit, eyes[2] - 1.5 * unit]), head, chest)


class _Timetable:
    """Things that happen one after another for ever, drawn from a generator as far as anybody asks.

    The last minute can be asked again; what lies before it is forgotten, so that an evening takes no memory.
    """

    _REMEMBERED = 60.0  # seconds

    def __init__(self, seed: list[int], following: "Callable[[np.random.Generator, _Event], _Event]") -> None:
        self._random = np.random.default_rng(seed)
        self._following = following
        self._events: list[_Event] = [(0.0, (np.zeros(2), np.zeros(2)))]
        self._began: float | None = None

    def at(self, seconds: float) -> "_Event":
        """The last event not after ``seconds``. Time begins at the first question asked."""
        self._began = seconds if self._began is None else self._began
        since = max(seconds - self._began, 0.0)
        while self._events[-1][0] <= since:
            self._events.append(self._following(self._random, self._events[-1]))
            del self._events[: self._index(self._events[-1][0] - self._REMEMBERED)]
        start, what = self._events[self._index(since)]
        return start + self._began, what

    def _index(self, since: float) -> int:
        """Of the last event not after ``since``, or of the oldest remembered."""
        return max(bisect.bisect_right(self._events, since, key=lambda event: event[0]) - 1, 0)


_Event = tuple[
    float, tuple[np.ndarray, np.ndarray]
]  # its start, and the directions (yaw, pitch) a glance goes from, to


def _next_blink(random: np.random.Generator, last: _Event) -> _Event:
    whole = _CLOSING + _CLOSED + _OPENING
    pause = whole + 0.08 if random.random() < _DOUBLE else random.triangular(_BLINK_EVERY[0], 3.2, _BLINK_EVERY[1])
    return last[0] + pause, last[1]


def _next_glance(random: np.random.Generator, last: _Event) -> _Event:
    away = random.normal(0, 0.5, 2).clip(-1, 1) * _WIDEST
    target = away * 0.15 if random.random() < _AT_US else away
    return last[0] + random.uniform(*_LOOK_EVERY), (last[1][1], target)


def _shape(rig: Rig, *names: str) -> np.ndarray:
    """Sum of the rig's shapes of those names, float32 [V, 3]; zero for one it lacks."""
    total = np.zeros_like(rig.topology.template)
    for name in names:
        if name in rig.shape_names:
            total += rig.shapes[rig.shape_names.index(name)]
    return total


def _without_eyes(rig: Rig, shape: np.ndarray) -> np.ndarray:
    """The part of a look that the lids do: the eyeballs are turned exactly instead."""
    lids = shape.copy()
    lids[np.concatenate(rig.eyes)] = 0
    return lids


def _rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """3x3: yaw about y towards +x, pitch up about x, roll about z, in radians."""
    (cy, cp, cr), (sy, sp, sr) = np.cos((yaw, pitch, roll)), np.sin((yaw, pitch, roll))
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    about_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return about_y @ about_x @ about_z


def _ease(share: Any) -> Any:  # noqa: ANN401 - a number or an array, and the same again
    """From 0 to 1, starting and ending gently; constant outside."""
    inside = np.clip(share, 0.0, 1.0)
    return inside * inside * (3 - 2 * inside)
