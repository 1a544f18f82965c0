"""A glTF 2.0 file opened with care: its document, its numbers, its images.

Nothing in the file is believed before it is checked: whatever a file claims, reading it takes bounded memory and time.
A broken file raises one of Python's own errors, which ``open_gltf``'s caller tells in a sentence.
"""

import base64
import io
import json
import stat
import struct
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

import numpy as np

MOST_BYTES = 400_000_000  # of a file
MOST_VERTICES = 200_000  # more are not drawn in real time on any machine this is for
_MOST_JSON = 8_000_000  # bytes
_MOST_PIXELS = 4096 * 4096  # of an image
_MOST_PARTS = 2000
_JSON, _BIN = 0x4E4F534A, 0x004E4942
_DTYPES = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}

Json = dict[str, Any]


class GltfFile:
    """A document and the buffers it speaks of."""

    def __init__(self, document: Json, embedded: bytes, folder: Path) -> None:
        self.document = document
        self._folder = folder
        self._buffers = [self._content(buffer, embedded) for buffer in document.get("buffers", ())]
        self._image: tuple[int, np.ndarray] | None = None  # the last one: parts that share it come together

    def item(self, kind: str, index: int) -> Json:
        """Entry ``index`` of one of the document's lists."""
        return self.document[kind][_natural(index)]

    def array(self, index: int, most: int = MOST_VERTICES) -> np.ndarray:
        """An accessor's numbers [n, components], n at most ``most``; normalised integers as float32 shares of one."""
        accessor = self.item("accessors", index)
        shape = (_natural(accessor["count"]), _WIDTHS[accessor["type"]])
        if shape[0] > most:
            raise ValueError(f"{shape[0]} numbers in one place are too many")
        dtype = np.dtype(_DTYPES[accessor["componentType"]])
        array = np.zeros(shape, dtype) if "bufferView" not in accessor else self._rows(accessor, shape, dtype)
        if "sparse" in accessor:
            array = self._changed(array, accessor["sparse"])
        if not accessor.get("normalized"):
            return array
        return np.maximum(array / np.float32(np.iinfo(dtype).max), -1).astype(np.float32)

    def image(self, index: int) -> np.ndarray:
        """An image's pixels uint8 [H, W, 4] sRGB."""
        if self._image is None or self._image[0] != index:
            self._image = index, _pixels(self._image_bytes(self.item("images", index)))
        return self._image[1]

    def posed_meshes(self) -> list[tuple[Json, np.ndarray]]:
        """Meshes of the scene with the 4x4 pose of each."""
        if not self.document.get("scenes"):
            waiting = [(index, np.eye(4)) for index in range(len(self.document["nodes"]))]
        else:
            scene = self.item("scenes", self.document.get("scene", 0))
            waiting = [(index, np.eye(4)) for index in scene.get("nodes", ())]
        found: list[tuple[Json, np.ndarray]] = []
        seen: set[int] = set()
        parts = 0
        while waiting:
            index, above = waiting.pop()
            if index in seen:
                raise ValueError(f"node {index} hangs on itself or on two others")
            seen.add(index)
            node = self.item("nodes", index)
            pose = above @ node_pose(node)
            waiting += [(child, pose) for child in node.get("children", ())]
            if "mesh" in node:
                still = np.eye(4) if "skin" in node else pose  # a skinned mesh does not follow its node
                found.append((self.item("meshes", node["mesh"]), still))
                parts += len(found[-1][0]["primitives"])
            if parts > _MOST_PARTS:
                raise ValueError(f"more than {_MOST_PARTS} parts are too many")
        return found

    def _rows(self, accessor: Json, shape: tuple[int, int], dtype: np.dtype) -> np.ndarray:
        view = self.item("bufferViews", accessor["bufferView"])
        start = _natural(view.get("byteOffset", 0)) + _natural(accessor.get("byteOffset", 0))
        size = shape[1] * dtype.itemsize
        stride = _natural(view.get("byteStride", 0)) or size
        content = self._buffers[_natural(view["buffer"])]
        if shape[0] and start + stride * (shape[0] - 1) + size > len(content):
            raise ValueError("numbers are missing at its end")
        return np.ndarray(shape, dtype, content, start, (stride, dtype.itemsize)).copy()

    def _changed(self, array: np.ndarray, change: Json) -> np.ndarray:
        where, count = change["indices"], _natural(change["count"])
        if count > len(array):
            raise ValueError("more numbers are changed than there are")
        places = self._rows(where, (count, 1), np.dtype(_DTYPES[where["componentType"]]))[:, 0]
        array[places] = self._rows(change["values"], (count, array.shape[1]), array.dtype)
        return array

    def _content(self, buffer: Json, embedded: bytes) -> bytes:
        return embedded if "uri" not in buffer else self._fetched(buffer["uri"])

    def _image_bytes(self, image: Json) -> bytes:
        if "uri" in image:
            return self._fetched(image["uri"])
        view = self.item("bufferViews", image["bufferView"])
        start = _natural(view.get("byteOffset", 0))
        return self._buffers[_natural(view["buffer"])][start : start + _natural(view["byteLength"])]

    def _fetched(self, uri: str) -> bytes:
        """What a URI means: data in itself, or a file beside the document."""
        if uri.startswith("data:"):
            return base64.b64decode(uri.partition("base64,")[2], validate=True)
        name = PurePosixPath(unquote(uri))
        if name.is_absolute() or ".." in name.parts or ":" in uri or "\\" in uri:
            raise ValueError("it refers to a file outside its folder")
        return read_limited(self._folder / name)


def open_gltf(path: Path) -> GltfFile:
    """The document in a ``.glb`` or ``.gltf`` file. Raises OSError, ValueError and other errors of broken content."""
    content = read_limited(path)
    text, embedded = _chunks(content) if content[:4] == b"glTF" else (content, b"")
    if len(text) > _MOST_JSON:
        raise ValueError("its description is too long")
    document = json.loads(text)
    if not isinstance(document, dict) or not str(document["asset"]["version"]).startswith("2."):
        raise ValueError("it is not of version 2")
    return GltfFile(document, embedded, path.parent)


def read_limited(path: Path) -> bytes:
    """A file's bytes. Raises OSError, and ValueError where it is too large or no regular file."""
    state = path.stat()
    if not stat.S_ISREG(state.st_mode):
        raise ValueError("it is no regular file")
    if state.st_size > MOST_BYTES:
        raise ValueError(f"it is larger than {MOST_BYTES // 1_000_000} MB")
    return path.read_bytes()


def node_pose(node: Json) -> np.ndarray:
    """A node's matrix 4x4."""
    from scipy.spatial.transform import Rotation

    if "matrix" in node:
        return np.array(node["matrix"], float).reshape(4, 4).T
    pose = np.eye(4)
    turn = Rotation.from_quat(node.get("rotation", (0, 0, 0, 1))).as_matrix()
    pose[:3, :3] = turn * np.array(node.get("scale", (1, 1, 1)), float)
    pose[:3, 3] = node.get("translation", (0, 0, 0))
    return pose


def _chunks(content: bytes) -> tuple[bytes, bytes]:
    """Document and binary chunk of a .glb file."""
    _, version, length = struct.unpack_from("<4sII", content)
    if version != 2:
        raise ValueError("it is not of version 2")
    if length > len(content):
        raise ValueError("it ends too early")
    chunks: dict[int, bytes] = {}
    place = 12
    while place + 8 <= length:
        size, kind = struct.unpack_from("<II", content, place)
        if place + 8 + size > length:
            raise ValueError("it ends too early")
        chunks.setdefault(kind, content[place + 8 : place + 8 + size])
        place += 8 + size
    return chunks[_JSON], chunks.get(_BIN, b"")


def _pixels(content: bytes) -> np.ndarray:
    from PIL import Image

    with Image.open(io.BytesIO(content), formats=("PNG", "JPEG", "WEBP")) as image:
        if image.width * image.height > _MOST_PIXELS:
            raise ValueError(f"an image of {image.width} x {image.height} pixels is too large")
        return np.asarray(image.convert("RGBA"))


def _natural(value: Any) -> int:  # noqa: ANN401 - whatever the file holds
    """``value`` where it is a whole number from 0 on; no index may count from the end."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{str(value)[:20]} is no index or count")
    return value
