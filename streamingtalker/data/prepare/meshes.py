"""Meshes and regions of the data sets: .ply, .obj, vertex lists, and BIWI's normalisation."""

import re
from pathlib import Path

import numpy as np

from streamingtalker.errors import UserError
from streamingtalker.safe_pickle import checked_array, read_pickle

MOST_BYTES = 64 << 20


class MeshError(UserError):
    """A mesh or region file that cannot be used."""


def read_ply(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Vertices float32 [V, 3] and triangles int32 [F, 3] of a .ply, ASCII or binary. Raises MeshError."""
    import trimesh

    _present(path)
    try:
        with path.open("rb") as file:
            mesh = trimesh.load_mesh(file, file_type="ply", process=False)
        if not isinstance(mesh, trimesh.Trimesh):
            raise MeshError(f"{path} has no triangles; get it again.")
        return _checked(path, mesh.vertices, mesh.faces)
    except MeshError:
        raise
    except Exception as error:  # the reader fails in any way on a damaged file
        raise MeshError(f"{path} is no mesh ({type(error).__name__}: {str(error)[:80]}); get it again.") from error


def read_obj(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Vertices float64 [V, 3] and triangles int32 [F, 3] of a Wavefront .obj; vertices keep their order."""
    _present(path)
    lines = [line.split() for line in path.read_text("latin1").splitlines()]
    try:
        vertices = [[float(number) for number in words[1:4]] for words in lines if words[:1] == ["v"]]
        corners = [[int(word.partition("/")[0]) - 1 for word in words[1:]] for words in lines if words[:1] == ["f"]]
        triangles = [[face[0], face[k], face[k + 1]] for face in corners for k in range(1, len(face) - 1)]
        return _checked(path, np.array(vertices), np.array(triangles))
    except (ValueError, IndexError) as error:
        raise MeshError(f"{path} is no mesh ({error}); get it again.") from error


def read_mask(path: Path, *regions: str) -> np.ndarray:
    """Vertex indices int32 [n] of the union of ``regions`` of ``FLAME_masks.pkl``."""
    masks = read_pickle(path)
    if not isinstance(masks, dict) or not set(regions) <= set(masks):
        raise MeshError(f"{path} does not name the regions {', '.join(regions)}; get it again.")
    return np.unique(np.concatenate([checked_array(path, name, masks[name], (None,)) for name in regions])).astype(
        np.int32
    )


def read_indices(path: Path) -> np.ndarray:
    """Vertex indices int32 [n] of a text file of numbers."""
    _present(path)
    text = path.read_text("latin1")
    if re.search(r"[^\d\s,\[\]]|\d{10}", text) or not re.search(r"\d", text):
        raise MeshError(f"{path} is no list of vertex numbers; get it again.")
    return np.unique(np.array([int(word) for word in re.findall(r"\d+", text)])).astype(np.int32)


def surface(vertices: np.ndarray, faces: np.ndarray) -> float:
    """Area of all triangles [F, 3] of vertices [V, 3], in the square of the vertices' unit."""
    a, b, c = vertices[faces.T]
    return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2)


def normalised(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """A raw BIWI face [V, 3] as it is published elsewhere: half a turn about x, centred, of surface 1; float32."""
    turned = np.asarray(vertices, np.float64) * (1.0, -1.0, -1.0)
    centred = turned - turned.mean(0)
    return (centred / np.sqrt(surface(centred, faces))).astype(np.float32)


def _present(path: Path) -> None:
    if not path.is_file():
        raise MeshError(f"{path} does not exist; put it there, or give its path.")
    if path.stat().st_size > MOST_BYTES:
        raise MeshError(f"{path} is larger than any mesh of these data sets; get it again.")


def _checked(path: Path, vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    vertices, faces = np.asarray(vertices, np.float64), np.asarray(faces)
    if vertices.ndim != 2 or vertices.shape[1:] != (3,) or not np.isfinite(vertices).all():
        raise MeshError(f"{path} has vertices that are no points; get it again.")
    if faces.ndim != 2 or faces.shape[1:] != (3,) or faces.min() < 0 or faces.max() >= len(vertices):
        raise MeshError(f"{path} has triangles that do not fit its vertices; get it again.")
    return vertices, faces.astype(np.int32)
