"""Any glTF head that has ARKit's morph targets, moved by the 52 ARKit weights.

Everything that the file draws is put together as one surface in the scene's space. Colours of textures are taken at the
vertices. Skins are left in the pose the meshes are stored in.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sparse

from demo.avatar import Part
from demo.export.arkit import SHAPES, Fit
from demo.gltf_file import MOST_VERTICES, GltfFile, Json, open_gltf
from demo.look import linear
from streamingtalker.errors import UserError

_TRIANGLES = 4
_COMPRESSIONS = {"KHR_draco_mesh_compression", "EXT_meshopt_compression", "KHR_meshopt_compression"}
_EYE_SHAPES = ("eyeLookUp", "eyeBlink", "eyeWide", "eyeSquint", "eyeLookDown")  # the first there is tells the place
_MOUTH = ("mouthPucker", "mouthFunnel", "jawOpen")  # what moves about the lips: the first there is
_FARTHEST = 1e4  # metres: nothing of a head lies there
_USUAL = (0.045, 0.10)  # metres from mouth to eyes; a head of another measure is in other units
_MEAN = 0.06
_TOP = 2.9  # of that measure from mouth to the top of the hair
_ASIDE = 0.1  # of that measure: further from the middle is no head that is a little uneven


class HeadError(UserError):
    """A glTF file that cannot be shown as a face."""


@dataclass(frozen=True)
class GltfHead:
    """A drawable face (``demo.look.Look``) of V vertices that S of the 52 ARKit shapes move."""

    template: np.ndarray  # float32 [V, 3] metres at rest
    faces: np.ndarray  # int32 [F, 3]
    colors: np.ndarray  # uint8 [V, 4] sRGB and alpha
    parts: tuple[Part, ...]
    shape_names: tuple[str, ...]
    shapes: np.ndarray  # float32 [S, V, 3] metres at full weight
    pivots: np.ndarray  # float32 [2, 3] where the left and the right eye are
    mouth: np.ndarray  # float32 [3] where the lips are
    places: np.ndarray = field(repr=False)  # int64 [V] vertices of a part that share place and normal have one number

    def vertices(self, names: tuple[str, ...], weights: np.ndarray) -> np.ndarray:
        """Positions float32 [T, V, 3] in metres for ``weights`` [T, N] of the shapes ``names``.

        Shapes that the head has not move nothing.
        """
        known = [name for name in self.shape_names if name in names]
        chosen = weights[:, [names.index(name) for name in known]].astype(np.float32)
        shapes = self.shapes[[self.shape_names.index(name) for name in known]]
        return self.template + np.tensordot(chosen, shapes, axes=1)

    def wear(self, fit: Fit) -> np.ndarray:
        """Positions float32 [T, V, 3] of the frames of a motion's ARKit weights."""
        return self.vertices(fit.names, fit.weights)

    def surface(self, vertices: np.ndarray) -> np.ndarray:
        """What is drawn for ``vertices`` [V, 3]: just these."""
        return vertices.astype(np.float32, copy=False)

    def normals(self, positions: np.ndarray) -> np.ndarray:
        """Unit normals float32 [V, 3] at ``positions`` [V, 3]; where a texture is cut there is no edge to be seen."""
        a, b, c = (positions.take(corners, axis=0) for corners in self.faces.T)
        total = (self._fans @ np.cross(b - a, c - a).astype(np.float32))[self.places]
        return total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-20)

    @cached_property
    def _fans(self) -> sparse.csr_matrix:
        """[places, F]: which triangles meet in each place."""
        count = len(self.faces)
        corners = self.places[self.faces.ravel()], np.repeat(np.arange(count), 3)
        shape = (int(self.places.max()) + 1, count)
        return sparse.coo_matrix((np.ones(3 * count, np.float32), corners), shape=shape).tocsr()


@dataclass(frozen=True)
class _Piece:
    """One primitive, in the scene's space."""

    name: str
    positions: np.ndarray  # float32 [n, 3]
    places: np.ndarray  # int64 [n]
    faces: np.ndarray  # int64 [f, 3]
    colors: np.ndarray  # uint8 [n, 4]
    shapes: dict[str, np.ndarray]  # float32 [n, 3] by ARKit's names
    finish: dict[str, Any]  # of a Part


def load_gltf_head(path: str | Path) -> GltfHead:
    """The head in a ``.glb`` or ``.gltf`` file. Raises HeadError."""
    path = Path(path)
    try:
        with np.errstate(all="ignore"):  # what is no number is refused, and once is enough to hear of it
            head = _head(path, open_gltf(path))
    except HeadError:
        raise
    except FileNotFoundError as error:
        raise HeadError(f"{error.filename} does not exist; check the path of the avatar.") from error
    except Exception as error:  # broken content breaks in any way: types, lengths, depths, images
        reason = " ".join(str(error).split())[:100] or type(error).__name__
        raise HeadError(f"{path} is no glTF file or damaged ({reason}); export it again as one .glb file.") from error
    return _in_place(head, path)


def arkit_name(name: str) -> str | None:
    """ARKit's name of a shape in the spellings that are met: ``eyeBlinkLeft``, ``EyeBlink_L``, ``head.jawOpen``."""
    plain = name.rpartition(".")[2].replace("_", "").lower()
    return _SPELLINGS.get(plain)


_SPELLINGS = {
    spelling: name
    for name in SHAPES
    for spelling in (name.lower(), name.lower().replace("left", "l").replace("right", "r"))
    if spelling not in ("mouthl", "mouthr") or name in ("mouthLeft", "mouthRight")
}


def _head(path: Path, file: GltfFile) -> GltfHead:
    if compressed := _COMPRESSIONS.intersection(file.document.get("extensionsRequired", ())):
        raise HeadError(f"{path} is compressed ({', '.join(sorted(compressed))}); export it again without compression.")
    pieces = _pieces(file)
    if not any("jawOpen" in piece.shapes for piece in pieces):
        raise HeadError(
            f"{path} has no morph targets with ARKit's names (jawOpen, mouthClose, …); give it those shape keys first."
        )
    return _joined(pieces)


def _pieces(file: GltfFile) -> list[_Piece]:
    pieces: list[_Piece] = []
    for mesh, pose in file.posed_meshes():
        for primitive in mesh["primitives"]:
            if primitive.get("mode", _TRIANGLES) == _TRIANGLES:
                pieces.append(_piece(file, mesh, primitive, pose))
            if sum(len(piece.positions) for piece in pieces) > MOST_VERTICES:
                raise ValueError(f"more than {MOST_VERTICES} vertices are too many")
    return pieces


def _piece(file: GltfFile, mesh: Json, primitive: Json, pose: np.ndarray) -> _Piece:
    attributes = primitive["attributes"]
    stored = file.array(attributes["POSITION"])
    turn = pose[:3, :3].T
    material = file.item("materials", primitive["material"]) if "material" in primitive else {}
    return _Piece(
        name=str(material.get("name") or mesh.get("name") or "part"),
        positions=_believable(stored @ turn + pose[:3, 3]),
        places=_places(stored, file.array(attributes["NORMAL"]) if "NORMAL" in attributes else stored),
        faces=_triangles(file, primitive, len(stored)),
        colors=_colors(file, attributes, material, len(stored)),
        shapes={
            name: _believable(_same_length(file.array(place), stored) @ turn)
            for name, place in _targets(mesh, primitive).items()
        },
        finish=_finish(material),
    )


def _targets(mesh: Json, primitive: Json) -> dict[str, int]:
    """The accessor of each of ARKit's shapes that a primitive has; a target beyond the names has none."""
    names = [(holder.get("extras") or {}).get("targetNames") for holder in (mesh, primitive)]
    found = zip(names[0] or names[1] or (), primitive.get("targets", ()), strict=False)
    known = ((arkit_name(name), target.get("POSITION")) for name, target in found)
    return {name: place for name, place in known if name is not None and place is not None}


def _believable(points: np.ndarray) -> np.ndarray:
    """Points [n, 3] as float32, if they are anywhere near."""
    if not (np.abs(points) < _FARTHEST).all():  # not a number is nowhere
        raise ValueError("it holds places that are nowhere")
    return points.astype(np.float32)


def _same_length(array: np.ndarray, other: np.ndarray) -> np.ndarray:
    if array.shape != other.shape:
        raise ValueError("a morph target is of another mesh")
    return array


def _places(positions: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """A number [n] for each vertex, the same where position and normal are."""
    both = np.concatenate([positions, np.round(normals, 2)], axis=1) + 0.0  # no minus zero
    rows = np.ascontiguousarray(both).view(np.dtype((np.void, both.dtype.itemsize * both.shape[1])))
    return np.unique(rows.ravel(), return_inverse=True)[1].ravel()


def _triangles(file: GltfFile, primitive: Json, count: int) -> np.ndarray:
    """Corners int64 [f, 3] below ``count``."""
    indices = primitive.get("indices")
    flat = np.arange(count) if indices is None else file.array(indices, most=6 * MOST_VERTICES).ravel()
    if len(flat) and flat.max() >= count:
        raise ValueError("a triangle has a corner that there is not")
    return flat.astype(np.int64).reshape(-1, 3)


def _finish(material: Json) -> dict[str, Any]:
    """What a Part says of a material; glTF's own defaults where there is none."""
    pbr = material.get("pbrMetallicRoughness", {})
    shares = {name: float(pbr.get(f"{name}Factor", 1.0)) for name in ("roughness", "metallic")}
    return {**shares, "double_sided": bool(material.get("doubleSided"))}


def _colors(file: GltfFile, attributes: Json, material: Json, count: int) -> np.ndarray:
    """uint8 [n, 4] sRGB: factor times texture times the vertices' own colours."""
    pbr = material.get("pbrMetallicRoughness", {})
    light = np.tile(np.array(pbr.get("baseColorFactor", (1, 1, 1, 1)), np.float32), (count, 1))
    if "COLOR_0" in attributes:
        own = file.array(attributes["COLOR_0"])
        light[:, : own.shape[1]] *= own
    texture = pbr.get("baseColorTexture")
    coordinates = f"TEXCOORD_{texture.get('texCoord', 0)}" if texture else ""
    if texture and coordinates in attributes:
        light *= _texels(file, texture, file.array(attributes[coordinates]))
    mode = material.get("alphaMode", "OPAQUE")
    if mode != "BLEND":
        light[:, 3] = 1.0 if mode == "OPAQUE" else light[:, 3] >= material.get("alphaCutoff", 0.5)
    return np.round(_srgb(light) * 255).astype(np.uint8)


def _texels(file: GltfFile, texture: Json, places: np.ndarray) -> np.ndarray:
    """Linear light float32 [n, 4] of a texture at ``places`` [n, 2]."""
    pixels = file.image(file.item("textures", texture["index"])["source"])
    height, width = pixels.shape[:2]
    columns, rows = (np.floor(places % 1.0 * (width, height)).astype(int)).T
    return linear(pixels[np.minimum(rows, height - 1), np.minimum(columns, width - 1)])


def _srgb(light: np.ndarray) -> np.ndarray:
    """Shares of sRGB for linear light [n, 4]; alpha as it is."""
    shares = np.clip(light, 0, 1)
    rgb = shares[:, :3]
    shares[:, :3] = np.where(rgb <= 0.0031308, rgb * 12.92, 1.055 * rgb ** (1 / 2.4) - 0.055)
    return shares


def _joined(pieces: list[_Piece]) -> GltfHead:
    """All pieces as one surface."""
    starts = np.cumsum([0, *(len(piece.positions) for piece in pieces)])
    names = tuple(name for name in SHAPES if any(name in piece.shapes for piece in pieces))
    template = np.concatenate([piece.positions for piece in pieces])
    shapes = np.zeros((len(names), *template.shape), np.float32)
    for piece, start in zip(pieces, starts, strict=False):
        for name, shape in piece.shapes.items():
            shapes[names.index(name), start : start + len(shape)] = shape
    measure = dict(zip(names, shapes, strict=True))
    return GltfHead(
        template=template,
        faces=np.concatenate([piece.faces + start for piece, start in zip(pieces, starts, strict=False)]).astype("i4"),
        colors=np.concatenate([piece.colors for piece in pieces]),
        parts=_parts(pieces, starts),
        shape_names=names,
        shapes=shapes,
        pivots=_eyes(template, measure),
        mouth=_middle(template, measure, _MOUTH),
        places=np.concatenate([piece.places + start for piece, start in zip(pieces, starts, strict=False)]),
    )


def _parts(pieces: list[_Piece], starts: np.ndarray) -> tuple[Part, ...]:
    corners = np.cumsum([0, *(len(piece.faces) for piece in pieces)])
    return tuple(
        Part(
            name=piece.name,
            faces=(int(corners[index]), int(corners[index + 1])),
            vertices=(int(starts[index]), int(starts[index + 1])),
            **piece.finish,
        )
        for index, piece in enumerate(pieces)
    )


def _eyes(template: np.ndarray, shapes: dict[str, np.ndarray]) -> np.ndarray:
    """Where the left and the right eye are [2, 3]: where shapes move them, or else where most heads have them."""
    if all(any(f"{stem}{side}" in shapes for stem in _EYE_SHAPES) for side in ("Left", "Right")):
        sides = ([f"{stem}{side}" for stem in _EYE_SHAPES] for side in ("Left", "Right"))
        return np.stack([_middle(template, shapes, names) for names in sides])
    mouth = _middle(template, shapes, _MOUTH)
    unit = (template[:, 1].max() - mouth[1]) / _TOP
    return (mouth + unit * np.array([[0.47, 1, 0], [-0.47, 1, 0]])).astype(np.float32)


def _middle(template: np.ndarray, shapes: dict[str, np.ndarray], wanted: Sequence[str]) -> np.ndarray:
    """Where the first of the ``wanted`` shapes that moves anything moves most, [3]. Raises ValueError."""
    for name in wanted:
        moved = np.linalg.norm(shapes[name], axis=1) if name in shapes else np.zeros(1)
        if moved.max() > 0:
            return np.average(template, axis=0, weights=moved**2).astype(np.float32)
    raise ValueError(f"{wanted[-1]} moves nothing")


def _in_place(head: GltfHead, path: Path) -> GltfHead:
    """The head in metres and before the camera; what is far from a head's measure is in other units."""
    eyes = head.pivots.mean(axis=0)
    unit = float(eyes[1] - head.mouth[1])
    if unit <= 0:
        raise HeadError(f"{path} has its eyes below its mouth; export the head upright, y up and facing +z.")
    scale = 1.0 if _USUAL[0] <= unit <= _USUAL[1] else _MEAN / unit
    aside = np.array([eyes[0] if abs(eyes[0]) > _ASIDE * unit else 0.0, 0.0, 0.0])

    def placed(points: np.ndarray) -> np.ndarray:
        return ((points - aside) * scale).astype(np.float32)

    return replace(
        head,
        template=placed(head.template),
        shapes=head.shapes * np.float32(scale),
        pivots=placed(head.pivots),
        mouth=placed(head.mouth),
    )
