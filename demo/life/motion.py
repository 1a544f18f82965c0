"""Gentle curves: eases, springs, slow waves, and turns of a rigid body."""

from typing import Any

import numpy as np


def ease(share: Any) -> Any:  # noqa: ANN401 - a number or an array, and the same again
    """From 0 to 1, starting and ending gently; constant outside."""
    inside = np.clip(share, 0.0, 1.0)
    return inside * inside * (3 - 2 * inside)


def bump(share: float, top: float = 0.4) -> float:
    """From 0 up to 1 at ``top`` and back to 0 at 1."""
    if not 0.0 < share < 1.0:
        return 0.0
    rising = share / top if share < top else (1 - share) / (1 - top)
    return rising * rising * (3 - 2 * rising)


class Spring:
    """Values that go to a goal and neither overshoot nor jump: a critically damped spring, solved exactly.

    So a goal that stands still is approached alike however often one looks.
    """

    def __init__(self, value: np.ndarray) -> None:
        self.value = np.array(value, float)
        self._speed = np.zeros_like(self.value)

    def follow(self, goal: np.ndarray, passed: float, seconds: float) -> np.ndarray:
        """The values ``passed`` seconds later; within ``seconds`` 95 % of the way is covered."""
        stiffness = 4.74 / seconds
        away = self.value - goal
        pull = self._speed + stiffness * away
        fading = np.exp(-stiffness * passed)
        self.value = goal + (away + pull * passed) * fading
        self._speed = (self._speed - stiffness * pull * passed) * fading
        return self.value


class Waves:
    """Slow curves that never repeat, each the mean of sines; about half of the time beyond half their height."""

    def __init__(self, random: np.random.Generator, count: int, hertz: tuple[float, float], sines: int = 3) -> None:
        slowest, fastest = hertz
        self._turns = 2 * np.pi * slowest * (fastest / slowest) ** random.uniform(0, 1, (sines, count))
        self._phases = random.uniform(0, 2 * np.pi, (sines, count))

    def at(self, seconds: float) -> np.ndarray:
        """[count] values, each within [-1, 1]."""
        return np.sin(self._turns * seconds + self._phases).mean(axis=0)


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """3x3: yaw about y towards +x, pitch up about x, roll about z towards -x, in radians."""
    (cy, cp, cr), (sy, sp, sr) = np.cos((yaw, pitch, roll)), np.sin((yaw, pitch, roll))
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    about_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return about_y @ about_x @ about_z


def about(pivot: np.ndarray, turn: np.ndarray, shift: np.ndarray | float = 0.0) -> np.ndarray:
    """4x4 pose that turns about ``pivot`` and then shifts."""
    pose = np.eye(4)
    pose[:3, :3] = turn
    pose[:3, 3] = pivot - turn @ pivot + shift
    return pose
