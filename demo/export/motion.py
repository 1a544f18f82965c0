"""The motion file of ``python -m streamingtalker.generate``, read back and compared with an avatar."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from streamingtalker.errors import UserError
from streamingtalker.topology import Rig


class ExportError(UserError):
    """A motion that cannot be taken along, or a tool that is missing for it."""


@dataclass(frozen=True)
class Motion:
    """How a talking mesh moves."""

    offsets: np.ndarray  # float32 [T, V, 3] metres from the mesh at rest
    faces: np.ndarray  # int32 [F, 3]
    fps: float


def load_motion(path: str | Path) -> Motion:
    """The motion in an ``.npz`` file with vertices, template, faces and fps. Raises ExportError."""
    try:
        with np.load(path) as file:
            offsets = (file["vertices"] - file["template"]).astype(np.float32)
            motion = Motion(offsets, file["faces"].astype(np.int32), float(file["fps"]))
    except FileNotFoundError as error:
        raise ExportError(f"The motion {path} does not exist; check the path.") from error
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise ExportError(
            f"{path} is no motion file ({error}); make one with 'python -m streamingtalker.generate'."
        ) from error
    _check(motion, path)
    return motion


def _check(motion: Motion, path: str | Path) -> None:
    shape = motion.offsets.shape
    if len(shape) != 3 or shape[2] != 3 or not shape[0] or not motion.fps > 0:
        raise ExportError(f"{path} holds no frames of a mesh (its vertices are {shape}); generate it again.")
    if not np.isfinite(motion.offsets).all():
        raise ExportError(f"{path} holds numbers that are not finite; generate it again.")


def check_mesh(motion: Motion, rig: Rig) -> None:
    """Raise ExportError where the motion is that of another mesh than the rig's."""
    if motion.offsets.shape[1] != rig.topology.vertex_count or not np.array_equal(motion.faces, rig.topology.faces):
        raise ExportError(
            f"The motion is that of another mesh ({motion.offsets.shape[1]} vertices) than the avatar "
            f"'{rig.topology.name}' has ({rig.topology.vertex_count}); only motions of its mesh have ARKit weights, "
            "so generate one with the default weights."
        )
