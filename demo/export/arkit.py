"""ARKit's 52 shapes, the weights of every frame, and the CSV that Live Link Face writes of them."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_EYE = ("eyeBlink", "eyeLookDown", "eyeLookIn", "eyeLookOut", "eyeLookUp", "eyeSquint", "eyeWide")
SHAPES = (  # in the order of Live Link Face's columns
    *(name + "Left" for name in _EYE),
    *(name + "Right" for name in _EYE),
    *("jawForward", "jawRight", "jawLeft", "jawOpen", "mouthClose", "mouthFunnel", "mouthPucker"),
    *("mouthRight", "mouthLeft", "mouthSmileLeft", "mouthSmileRight", "mouthFrownLeft", "mouthFrownRight"),
    *("mouthDimpleLeft", "mouthDimpleRight", "mouthStretchLeft", "mouthStretchRight"),
    *("mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper"),
    *("mouthPressLeft", "mouthPressRight", "mouthLowerDownLeft", "mouthLowerDownRight"),
    *("mouthUpperUpLeft", "mouthUpperUpRight"),
    *("browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight"),
    *("cheekPuff", "cheekSquintLeft", "cheekSquintRight", "noseSneerLeft", "noseSneerRight", "tongueOut"),
)
ROTATIONS = (  # the motion turns neither head nor eyeballs: these stay 0
    *("HeadYaw", "HeadPitch", "HeadRoll"),
    *("LeftEyeYaw", "LeftEyePitch", "LeftEyeRoll", "RightEyeYaw", "RightEyePitch", "RightEyeRoll"),
)


@dataclass(frozen=True)
class Fit:
    """The ARKit weights of a motion, and how far the posed mesh is from it."""

    names: tuple[str, ...]
    weights: np.ndarray  # float32 [T, S], each within [0, 1]
    mean_mm: np.ndarray  # float32 [T] distance of the mesh's vertices, on average
    max_mm: np.ndarray  # float32 [T] and of the one that is furthest


def write_live_link(path: Path, fit: Fit, fps: float) -> None:
    """Write a take as Live Link Face does: a row a frame with time code, the 52 weights, and nine rotations."""
    columns = [fit.names.index(name) for name in SHAPES]
    with path.open("w", newline="", encoding="ascii") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["Timecode", "BlendShapeCount", *(name[0].upper() + name[1:] for name in SHAPES), *ROTATIONS])
        count = len(SHAPES) + len(ROTATIONS)
        for index, weights in enumerate(fit.weights[:, columns]):
            values = (f"{value:.8f}" for value in (*weights, *np.zeros(len(ROTATIONS))))
            rows.writerow([timecode(index, fps), count, *values])


def timecode(frame: int, fps: float) -> str:
    """Hours, minutes, seconds, frames with thousandths of frames: ``00:01:02:07.000``."""
    seconds, frames = divmod(frame, round(fps))
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}:{frames:02d}.000"


def write_weights(path: Path, fit: Fit, fps: float) -> None:
    """Write weights float32 [T, S], their names, the residual in mm and the frame rate as a NumPy archive."""
    names = np.array(fit.names)
    with path.open("wb") as file:
        np.savez(
            file,
            weights=fit.weights,
            shape_names=names,
            fps=fps,
            residual_mean_mm=fit.mean_mm,
            residual_max_mm=fit.max_mm,
        )
