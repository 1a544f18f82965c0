"""The numbers of a glTF file: accessors over one buffer, dense or sparse.

Accessors of a kind share a view of the buffer, so that the document stays small beside the numbers.
"""

from typing import Any

import numpy as np

from demo.export.motion import ExportError

_VIEWS = {  # name: (target, stride) as OpenGL numbers and bytes; None where glTF wants none
    "triangles": (34963, None),  # ELEMENT_ARRAY_BUFFER
    "vectors": (34962, 12),  # ARRAY_BUFFER
    "colors": (34962, 8),
    "places": (None, None),  # of what a sparse accessor changes
    "changes": (None, None),
    "curves": (None, None),
}
_COMPONENTS = {"uint16": 5123, "uint32": 5125, "float32": 5126}
_KINDS = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4"}


def gltf_library() -> Any:  # noqa: ANN401 - a module
    """pygltflib. Raises ExportError where it is not installed."""
    try:
        import pygltflib
    except ModuleNotFoundError as error:
        raise ExportError("glTF needs pygltflib; run 'pip install pygltflib==1.16.5'.") from error
    return pygltflib


class Numbers:
    """The accessors of one file as they are added; each ``add`` returns the accessor's index."""

    def __init__(self) -> None:
        self._library = gltf_library()
        self._views = {name: bytearray() for name in _VIEWS}
        self.accessors: list[Any] = []
        self._zeros: dict[int, int] = {}

    def add(self, view: str, array: np.ndarray, limits: bool = False, normalized: bool = False) -> int:
        """``array`` [n] or [n, components] of a type of glTF, in the view of that name."""
        accessor = self._accessor(array, limits)
        accessor.bufferView, accessor.byteOffset = self._store(view, array)
        accessor.normalized = normalized or None
        return self._keep(accessor)

    def add_sparse(self, array: np.ndarray, cut: float, limits: bool = False) -> int:
        """``array`` float32 [n, 3], of which only rows with an entry beyond ``cut`` are written; the rest is zero."""
        x, y, z = np.abs(array).T
        places = np.flatnonzero(np.maximum(np.maximum(x, y), z) > cut)  # max over rows so short is slow
        if not len(places):
            return self._add_zeros(array, limits)
        kept = np.zeros_like(array)
        kept[places] = array[places]
        accessor = self._accessor(kept, limits)
        accessor.sparse = self._sparse(places.astype(_narrow(len(array))), kept[places])
        return self._keep(accessor)

    def buffer(self) -> tuple[list[Any], bytes]:
        """The views and the bytes that they are views of. No accessor can be added afterwards."""
        views, offset = [], 0
        for name, (target, stride) in _VIEWS.items():
            size = len(self._views[name])
            view = self._library.BufferView(buffer=0, byteOffset=offset, byteLength=size, target=target, name=name)
            view.byteStride = stride
            views.append(view)
            offset += size
        return views, b"".join(self._views.values())

    def _add_zeros(self, array: np.ndarray, limits: bool) -> int:
        """An accessor without numbers, which glTF reads as zeros; one for all that are as long."""
        if len(array) not in self._zeros:
            self._zeros[len(array)] = self._keep(self._accessor(np.zeros_like(array), limits=True))
        return self._zeros[len(array)]

    def _accessor(self, array: np.ndarray, limits: bool) -> Any:  # noqa: ANN401 - pygltflib's Accessor
        table = array.reshape(len(array), -1)
        accessor = self._library.Accessor(
            componentType=_COMPONENTS[str(array.dtype)], count=len(array), type=_KINDS[table.shape[1]]
        )
        accessor.byteOffset = accessor.normalized = None
        if limits:
            accessor.min, accessor.max = table.min(axis=0).tolist(), table.max(axis=0).tolist()
        return accessor

    def _sparse(self, places: np.ndarray, changes: np.ndarray) -> Any:  # noqa: ANN401 - pygltflib's Sparse
        place_view, place_offset = self._store("places", places)
        change_view, change_offset = self._store("changes", changes)
        indices = self._library.AccessorSparseIndices(
            bufferView=place_view, byteOffset=place_offset, componentType=_COMPONENTS[str(places.dtype)]
        )
        values = self._library.AccessorSparseValues(bufferView=change_view, byteOffset=change_offset)
        return self._library.Sparse(count=len(places), indices=indices, values=values)

    def _store(self, view: str, array: np.ndarray) -> tuple[int, int]:
        """Append to a view, at a multiple of four bytes. The view's index and the offset in it."""
        content = self._views[view]
        offset = len(content)
        content += np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes()
        content += bytes(-len(content) % 4)
        return list(_VIEWS).index(view), offset

    def _keep(self, accessor: Any) -> int:  # noqa: ANN401 - pygltflib's Accessor
        self.accessors.append(accessor)
        return len(self.accessors) - 1


def _narrow(count: int) -> str:
    """The type of indices below ``count``; glTF forbids the largest number of a type as an index."""
    return "uint16" if count < 65535 else "uint32"


def triangles(faces: np.ndarray) -> np.ndarray:
    """Triangles [F, 3] as the flat list of indices that glTF wants."""
    flat = faces.ravel()
    return flat.astype(_narrow(int(flat.max(initial=0)) + 1))
