"""A face mesh the model can speak with: its rest shape, its triangles and the regions metrics look at."""

import contextlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from streamingtalker.errors import UserError
from streamingtalker.tensor_file import CheckpointError, read_tensors, talker_file

AVATARS = Path(__file__).resolve().parent.parent / "assets" / "avatars"
DEFAULT_AVATAR = AVATARS / "maya.safetensors"
TOPOLOGY = ("template", "faces", "lip_pairs", "lips", "upper_face")  # tensors of a face in a file, under topology/


class AvatarError(UserError):
    """There is no avatar of the name asked for."""


def avatar_names() -> tuple[str, ...]:
    """The names of the avatars that come with the program, in alphabetical order."""
    return tuple(sorted(path.stem for path in AVATARS.glob("*.safetensors")))


def avatar_path(name_or_file: str | Path) -> Path:
    """The file of the avatar of that name, or the ``.safetensors`` file given. Raises AvatarError."""
    path = Path(name_or_file)
    if path.suffix == ".safetensors" and path.is_file():
        return path
    names = avatar_names()
    if str(name_or_file) not in names:
        raise AvatarError(f"There is no avatar '{name_or_file}', only {', '.join(names)}; choose one of them.")
    return AVATARS / f"{name_or_file}.safetensors"


@dataclass(frozen=True)
class Topology:
    """The mesh of one face. V vertices, F triangles; metres, y up, the face looks along +z.

    Motion is given as offsets from ``template``.
    """

    name: str
    template: np.ndarray  # float32 [V, 3]
    faces: np.ndarray  # int32 [F, 3], counter-clockwise seen from outside
    lip_pairs: np.ndarray  # int32 [5, 2] inner-lip vertices (upper, lower), from the viewer's left to right
    lips: np.ndarray  # int32 [L] lip vertices, the region of the lip vertex error
    upper_face: np.ndarray  # int32 [U] forehead, brows and lids, the region of the face dynamics distance

    @classmethod
    def unknown(cls, vertices: int) -> "Topology":
        """A face of which only the number of vertices is known."""
        nothing, rest = np.zeros(0, np.int32), np.zeros((vertices, 3), np.float32)
        return cls("unnamed", rest, np.zeros((0, 3), np.int32), np.zeros((5, 2), np.int32), nothing, nothing)

    @property
    def vertex_count(self) -> int:
        """V."""
        return len(self.template)

    @property
    def mesh(self) -> str:
        """Which mesh this is: the same for faces that share their vertices' order, whatever their shape."""
        return f"{zlib.crc32(np.ascontiguousarray(self.faces, '<i4').tobytes()):08x}"


@dataclass(frozen=True)
class Rig:
    """A topology with the 52 ARKit shapes, each a displacement of every vertex at full weight."""

    topology: Topology
    shape_names: tuple[str, ...]  # ARKit's names: jawOpen, mouthClose, …
    shapes: np.ndarray  # float32 [S, V, 3] metres
    eyes: tuple[np.ndarray, np.ndarray]  # int32 vertices of the left (the avatar's own) and of the right eyeball
    pivots: np.ndarray  # float32 [2, 3] centres of rotation of the left and the right eyeball

    def offsets(self, weights: np.ndarray) -> np.ndarray:
        """Vertex offsets [T, V, 3] in metres for ARKit ``weights`` [T, S]."""
        return np.einsum("ts,svc->tvc", weights.astype(np.float32), self.shapes, optimize=True)


def load_rig(path: str | Path = DEFAULT_AVATAR) -> Rig:
    """The rig baked into an avatar file. Raises CheckpointError where the file cannot serve."""
    tensors, metadata = read_tensors(path, kind="avatar")
    with _complete(path):
        return Rig(
            topology=_topology(tensors, metadata),
            shape_names=tuple(metadata["shape_names"]),
            shapes=tensors["rig/shapes"].astype(np.float32),
            eyes=(tensors["rig/eye_left"], tensors["rig/eye_right"]),
            pivots=tensors["rig/pivots"].astype(np.float32),
        )


def load_topology(path: str | Path = DEFAULT_AVATAR) -> Topology:
    """The mesh of an avatar file, without its rig. Raises CheckpointError where the file cannot serve."""
    tensors, metadata = read_tensors(path, kind="avatar")
    with _complete(path):
        return _topology(tensors, metadata)


def load_talking_mesh(path: str | Path) -> tuple[Topology, dict[str, Any]]:
    """The mesh in a talker's file or folder, and what the file says of itself. Raises CheckpointError."""
    tensors, metadata = read_tensors(talker_file(path), kind="talker", prefix="topology/")
    with _complete(path):
        return _topology(tensors, metadata), metadata


@contextlib.contextmanager
def _complete(path: str | Path) -> Iterator[None]:
    """What the file lacks is told as a CheckpointError."""
    try:
        yield
    except KeyError as error:
        raise CheckpointError(f"{path} lacks {error}; restore or bake it again.") from error


def _topology(tensors: dict[str, np.ndarray], metadata: dict[str, Any]) -> Topology:
    return Topology(
        name=metadata["name"],
        **{name: tensors[f"topology/{name}"] for name in TOPOLOGY},
    )
