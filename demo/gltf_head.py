"""Any glTF head that has ARKit's morph targets, moved by the 52 ARKit weights.

Everything that the file draws is put together as one surface in the scene's space. Colours of textures are taken at the
vertices. Skins are left in the pose the meshes are stored in.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sparse
from scipy.spatial.transform import Rotation

from demo.avatar import Part
from demo.export.arkit import SHAPES, Fit
from demo.export.gltf_parts import gltf_library
from demo.look import linear
from streamingtalker.errors import UserError

_DTYPES = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}
_TRIANGLES = 4
_COMPRESSIONS = {"KHR_draco_mesh_compression", "EXT_meshopt_compression", "KHR_meshopt_compression"}
_EYES = ("Left", "Right")
_MOUTH = ("mouthPucker", "mouthFunnel", "jawOpen")  # what moves about the lips: the first there is


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
    _fans: sparse.csr_matrix = field(repr=False)  # [V, F] which triangles meet in each vertex

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
        """Unit normals float32 [V, 3] at ``positions`` [V, 3]."""
        a, b, c = (positions[corner] for corner in self.faces.T)
        total = self._fans @ np.cross(b - a, c - a).astype(np.float32)
        return total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-20)


@dataclass(frozen=True)
class _Piece:
    """One primitive, in the scene's space."""

    name: str
    positions: np.ndarray  # float32 [n, 3]
    faces: np.ndarray  # int64 [f, 3]
    colors: np.ndarray  # uint8 [n, 4]
    shapes: dict[str, np.ndarray]  # float32 [n, 3] by ARKit's names
    finish: dict[str, Any]  # of a Part


def load_gltf_head(path: str | Path) -> GltfHead:
    """The head in a ``.glb`` or ``.gltf`` file. Raises HeadError, and ExportError where pygltflib is missing."""
    library = gltf_library()
    try:
        document = library.GLTF2().load(str(path))
    except FileNotFoundError as error:
        raise HeadError(f"The avatar {path} does not exist; check the path.") from error
    except Exception as error:  # the library has no errors of its own
        raise HeadError(f"{path} is no glTF file ({error}); export it again as .glb.") from error
    if compressed := _COMPRESSIONS.intersection(document.extensionsRequired or ()):
        raise HeadError(f"{path} is compressed ({', '.join(sorted(compressed))}); export it again without compression.")
    try:
        pieces = list(_pieces(_Reader(document)))
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise HeadError(f"{path} is damaged or incomplete ({error}); export it again as one .glb file.") from error
    if not any(piece.shapes for piece in pieces):
        raise HeadError(
            f"{path} has no morph targets with ARKit's names (jawOpen, mouthClose, …); give it those shape keys first."
        )
    return _joined(pieces)


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


class _Reader:
    """The numbers of a document, as glTF's rules for accessors give them."""

    def __init__(self, document: Any) -> None:  # noqa: ANN401 - pygltflib's GLTF2
        self.document = document
        self._buffers = [self._content(buffer) for buffer in document.buffers]

    def array(self, index: int) -> np.ndarray:
        """An accessor's numbers [n, components]; normalised integers as float32 shares of one."""
        accessor = self.document.accessors[index]
        shape = (accessor.count, _WIDTHS[accessor.type])
        dtype = np.dtype(_DTYPES[accessor.componentType])
        if accessor.bufferView is None:
            array = np.zeros(shape, dtype)
        else:
            array = self._rows(accessor.bufferView, accessor.byteOffset, shape, dtype)
        if accessor.sparse is not None:
            array = self._changed(array, accessor.sparse)
        return (array / np.float32(np.iinfo(dtype).max)).astype(np.float32) if accessor.normalized else array

    def image(self, index: int) -> np.ndarray:
        """An image's pixels uint8 [H, W, 4] sRGB."""
        from PIL import Image

        image = self.document.images[index]
        if image.bufferView is None:
            raise ValueError("its textures lie in other files")
        view = self.document.bufferViews[image.bufferView]
        start = view.byteOffset or 0
        content = self._buffers[view.buffer][start : start + view.byteLength]
        return np.asarray(Image.open(io.BytesIO(content)).convert("RGBA"))

    def _rows(self, view_index: int, offset: int | None, shape: tuple[int, int], dtype: np.dtype) -> np.ndarray:
        view = self.document.bufferViews[view_index]
        start = (view.byteOffset or 0) + (offset or 0)
        size = shape[1] * dtype.itemsize
        stride = view.byteStride or size
        content = self._buffers[view.buffer]
        if shape[0] and start + stride * (shape[0] - 1) + size > len(content):
            raise ValueError("numbers are missing at its end")
        return np.ndarray(shape, dtype, content, start, (stride, dtype.itemsize)).copy()

    def _changed(self, array: np.ndarray, change: Any) -> np.ndarray:  # noqa: ANN401 - pygltflib's Sparse
        where, values = change.indices, change.values
        dtype = np.dtype(_DTYPES[where.componentType])
        places = self._rows(where.bufferView, where.byteOffset, (change.count, 1), dtype)[:, 0]
        array[places] = self._rows(values.bufferView, values.byteOffset, (change.count, array.shape[1]), array.dtype)
        return array

    def _content(self, buffer: Any) -> bytes:  # noqa: ANN401 - pygltflib's Buffer
        if buffer.uri is None:
            return bytes(self.document.binary_blob())
        return bytes(self.document.get_data_from_buffer_uri(buffer.uri))


def _pieces(reader: _Reader) -> Iterator[_Piece]:
    document = reader.document
    scene = document.scenes[document.scene or 0]
    waiting = [(index, np.eye(4)) for index in scene.nodes]
    while waiting:
        index, above = waiting.pop()
        node = document.nodes[index]
        pose = above @ _pose(node)
        waiting += [(child, pose) for child in node.children or ()]
        if node.mesh is not None:
            mesh = document.meshes[node.mesh]
            still = np.eye(4) if node.skin is not None else pose  # a skinned mesh does not follow its node
            yield from (_piece(reader, mesh, primitive, still) for primitive in mesh.primitives if _is_solid(primitive))


def _is_solid(primitive: Any) -> bool:  # noqa: ANN401 - pygltflib's Primitive
    return primitive.mode in (None, _TRIANGLES)


def _pose(node: Any) -> np.ndarray:  # noqa: ANN401 - pygltflib's Node
    """A node's matrix 4x4."""
    if node.matrix:
        return np.array(node.matrix, float).reshape(4, 4).T
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_quat(node.rotation or (0, 0, 0, 1)).as_matrix() * (node.scale or (1, 1, 1))
    pose[:3, 3] = node.translation or (0, 0, 0)
    return pose


def _piece(reader: _Reader, mesh: Any, primitive: Any, pose: np.ndarray) -> _Piece:  # noqa: ANN401
    names = [arkit_name(name) for name in (mesh.extras or {}).get("targetNames", ())]
    stored = reader.array(primitive.attributes.POSITION)
    turn = pose[:3, :3].T
    shapes: dict[str, np.ndarray] = {}
    for name, target in zip(names, primitive.targets or (), strict=False):  # a target beyond the names has none
        place = target["POSITION"] if isinstance(target, dict) else target.POSITION
        if name is not None and place is not None:
            shapes[name] = (reader.array(place) @ turn).astype(np.float32)
    material = None if primitive.material is None else reader.document.materials[primitive.material]
    return _Piece(
        name=(material.name if material else None) or mesh.name or "part",
        positions=(stored @ turn + pose[:3, 3]).astype(np.float32),
        faces=_triangles(reader, primitive, len(stored)),
        colors=_colors(reader, primitive, material, len(stored)),
        shapes=shapes,
        finish=_finish(material),
    )


def _triangles(reader: _Reader, primitive: Any, count: int) -> np.ndarray:  # noqa: ANN401 - pygltflib's Primitive
    flat = np.arange(count) if primitive.indices is None else reader.array(primitive.indices).ravel()
    return flat.astype(np.int64).reshape(-1, 3)


def _finish(material: Any) -> dict[str, Any]:  # noqa: ANN401 - pygltflib's Material
    """What a Part says of a material; glTF's own defaults where there is none."""
    pbr = material.pbrMetallicRoughness if material else None
    values = {"roughness": getattr(pbr, "roughnessFactor", None), "metallic": getattr(pbr, "metallicFactor", None)}
    return {name: 1.0 if value is None else value for name, value in values.items()} | {
        "double_sided": bool(material and material.doubleSided)
    }


def _colors(reader: _Reader, primitive: Any, material: Any, count: int) -> np.ndarray:  # noqa: ANN401
    """uint8 [n, 4] sRGB: factor times texture times the vertices' own colours."""
    pbr = material.pbrMetallicRoughness if material else None
    factor = getattr(pbr, "baseColorFactor", None) or (1, 1, 1, 1)
    light = np.tile(np.array(factor, np.float32), (count, 1))
    if (place := primitive.attributes.COLOR_0) is not None:
        own = reader.array(place)
        light[:, : own.shape[1]] *= own
    texture = getattr(pbr, "baseColorTexture", None)
    if texture is not None and primitive.attributes.TEXCOORD_0 is not None:
        light *= _texels(reader, texture, reader.array(primitive.attributes.TEXCOORD_0))
    if material is None or material.alphaMode in (None, "OPAQUE"):
        light[:, 3] = 1.0
    return np.round(_srgb(light) * 255).astype(np.uint8)


def _texels(reader: _Reader, texture: Any, places: np.ndarray) -> np.ndarray:  # noqa: ANN401 - a TextureInfo
    """Linear light float32 [n, 4] of a texture at ``places`` [n, 2]."""
    pixels = reader.image(reader.document.textures[texture.index].source)
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
    faces = np.concatenate([piece.faces + start for piece, start in zip(pieces, starts, strict=False)])
    template = np.concatenate([piece.positions for piece in pieces])
    shapes = np.zeros((len(names), *template.shape), np.float32)
    for piece, start in zip(pieces, starts, strict=False):
        for name, shape in piece.shapes.items():
            shapes[names.index(name), start : start + len(shape)] = shape
    measure = dict(zip(names, shapes, strict=True))
    count = len(faces)
    entries = (np.ones(3 * count, np.float32), (faces.ravel(), np.repeat(np.arange(count), 3)))
    return GltfHead(
        template=template,
        faces=faces.astype(np.int32),
        colors=np.concatenate([piece.colors for piece in pieces]),
        parts=_parts(pieces, starts),
        shape_names=names,
        shapes=shapes,
        pivots=np.stack([_middle(template, measure, (f"eyeLookUp{side}", f"eyeBlink{side}")) for side in _EYES]),
        mouth=_middle(template, measure, _MOUTH),
        _fans=sparse.coo_matrix(entries, shape=(len(template), count)).tocsr(),
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


def _middle(template: np.ndarray, shapes: dict[str, np.ndarray], wanted: tuple[str, ...]) -> np.ndarray:
    """Where the first of the ``wanted`` shapes moves most, [3]; the middle of the face where there is none of them."""
    for name in wanted:
        moved = np.linalg.norm(shapes[name], axis=1) if name in shapes else np.zeros(1)
        if moved.max() > 0:
            return np.average(template, axis=0, weights=moved**2).astype(np.float32)
    return ((template.min(axis=0) + template.max(axis=0)) / 2).astype(np.float32)
