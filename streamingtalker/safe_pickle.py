"""Pickles of other people, opened without running them.

A pickle is a program. Here it runs in a child process with little memory and little time, and finds only stand-ins of
ours for the few names that arrays of numbers need; any other name is refused and told. What comes back to this
process is a safetensors file and a JSON document, so nothing the pickle built ever reaches it.
"""

import json
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from streamingtalker.errors import UserError

MEGABYTE = 1 << 20
MOST_DEPTH = 16  # of containers in containers
MOST_VALUES = 5_000_000
REFUSED = 3  # the child's status after a sentence on its standard error
STARVED = 4  # where its memory was too small; where the system ends it, the status is negative


class PickleError(UserError):
    """A pickle that is missing, damaged, of an unexpected content, or that wants more than numbers."""


def read_pickle(path: str | Path) -> Any:  # noqa: ANN401 - whatever the pickle holds
    """What a pickle holds: dicts, lists, tuples, strings, numbers and numeric arrays, nothing else.

    Strings of Python 2 are read as Latin-1. Memory and processor time are bounded by the size of the file. Raises
    PickleError naming the file, and what in it is refused.
    """
    path = Path(path)
    if not path.is_file():
        raise PickleError(f"{path} does not exist; check the path.")
    size = path.stat().st_size
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "content.safetensors"
        _run_child(path, result, seconds=3 + size // (20 * MEGABYTE), memory=1024 * MEGABYTE + 8 * size)
        with safetensors.safe_open(result, framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
            return _rebuild(json.loads(file.metadata()["document"]), arrays)


def checked_array(path: str | Path, what: str, value: object, shape: Sequence[int | None]) -> np.ndarray:
    """``value`` if it is a numeric array of that ``shape`` (None: any length) with finite numbers only.

    Else PickleError, which calls it ``what`` in the file ``path``.
    """
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "biuf":
        raise PickleError(f"{path}: {what} is no array of numbers; restore the file.")
    fits = len(value.shape) == len(shape) and all(
        want in (None, have) for want, have in zip(shape, value.shape, strict=True)
    )
    if not fits:
        wanted = " × ".join("any" if length is None else str(length) for length in shape)
        found = " × ".join(map(str, value.shape)) or "one number"
        raise PickleError(f"{path}: {what} has the shape {found} where {wanted} is needed; restore the file.")
    if not np.isfinite(value).all():
        raise PickleError(f"{path}: {what} holds values that are not finite numbers; restore the file.")
    return value


def _run_child(path: Path, result: Path, seconds: int, memory: int) -> None:
    command = [sys.executable, "-m", __name__, str(path), str(result), str(seconds), str(memory)]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    root = str(Path(__file__).resolve().parent.parent)
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [root, environment.get("PYTHONPATH")]))
    patience = seconds + 1 if sys.platform == "win32" else 10 * seconds  # elsewhere processor time is what is counted
    try:
        child = subprocess.run(command, capture_output=True, text=True, timeout=patience, env=environment)
    except subprocess.TimeoutExpired as error:
        raise PickleError(f"{path} takes too long to open; it is damaged or made to harm, restore it.") from error
    if child.returncode == REFUSED:
        raise PickleError(f"{path} {child.stderr.strip()}; nothing of it was run, restore it or get it again.")
    if child.returncode == STARVED or child.returncode < 0:
        raise PickleError(
            f"{path} needs more memory or time to open than its size allows; it is damaged or made to harm, restore it."
        )
    if child.returncode:
        told = _printable([f"status {child.returncode}", *child.stderr.strip().splitlines()][-1])
        raise PickleError(f"{path} cannot be opened here ({told}); check its permissions and the room on the disk.")


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)[:300]


# ---- the child ----------------------------------------------------------------------------------------------------


class _RefusedError(Exception):
    """Why a pickle is not opened: the end of a sentence that begins with its name."""


class _Dtype:
    """In the place of numpy.dtype: integers, floats and booleans only."""

    def __init__(self, code: str, *_: object) -> None:
        self._code = code
        self.dtype = _numeric(code)

    def __setstate__(self, state: tuple) -> None:
        if state[1] not in ("<", ">", "|", "="):
            raise _RefusedError("holds an array of an unknown byte order")
        self.dtype = _numeric(state[1] + self._code)


class _Array:
    """In the place of numpy.ndarray."""

    value = np.zeros(0)

    def __setstate__(self, state: tuple) -> None:
        _, shape, dtype, fortran, data = state
        self.value = _array(data, dtype, shape, "F" if fortran else "C").value


def _numeric(code: str) -> np.dtype:
    dtype = np.dtype(code) if isinstance(code, str) and code.lstrip("<>|=")[:1] in set("biuf") else None
    if dtype is None or dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise _RefusedError(f"holds an array of {code!r}, which are no plain numbers")
    return dtype


def _array(data: bytes | bytearray | str, dtype: _Dtype, shape: tuple[int, ...], order: str, *_: object) -> _Array:
    raw = data.encode("latin1") if isinstance(data, str) else data
    count = int(np.prod(shape, dtype=object)) if shape else 1
    if not isinstance(raw, bytes | bytearray) or len(raw) != count * dtype.dtype.itemsize:
        raise _RefusedError("holds an array whose shape does not fit its data")
    array = _Array()
    array.value = np.frombuffer(raw, dtype.dtype).reshape(shape, order="F" if order == "F" else "C")
    return array


def _scalar(dtype: _Dtype, data: bytes | str) -> float:
    return _array(data, dtype, (), "C").value.item()


def _encode(text: str, encoding: str = "latin1") -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise _RefusedError(f"wants the encoding {encoding!r}")
    return text.encode("latin1")


def _known_names() -> dict[tuple[str, str], object]:
    """What the names of a pickle may stand for."""
    known: dict[tuple[str, str], object] = {
        ("numpy", "ndarray"): _Array,
        ("numpy", "dtype"): _Dtype,
        ("_codecs", "encode"): _encode,
        ("collections", "OrderedDict"): dict,
        ("collections", "defaultdict"): lambda *_: {},
    }
    for core in ("numpy.core", "numpy._core"):
        known[f"{core}.multiarray", "_reconstruct"] = lambda *_: _Array()
        known[f"{core}.multiarray", "scalar"] = _scalar
        known[f"{core}.numeric", "_frombuffer"] = _array
    for module in ("builtins", "__builtin__"):  # what a defaultdict makes; of no use here, and not callable
        known |= {(module, name): name for name in ("dict", "list", "int", "float", "str")}
    return known


class _Unpickler(pickle.Unpickler):
    """Finds stand-ins by name, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 - as its parent
        found = _known_names().get((module, name))
        if found is None:
            raise _RefusedError(f"wants {module}.{name}, which no file of numbers needs")
        return found


class _Writer:
    """Turns what was unpickled into a JSON document and numbered arrays."""

    def __init__(self, most_bytes: int) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self._left = most_bytes
        self._values = MOST_VALUES

    def document(self, value: object, depth: int = 0) -> Any:  # noqa: ANN401 - JSON
        """``value`` as JSON: containers and arrays as [kind, content], numbers and strings as they are."""
        self._values -= 1
        if depth > MOST_DEPTH or self._values < 0:
            raise _RefusedError("nests or repeats its values without end")
        if isinstance(value, _Array):
            return ["array", self._keep(value.value)]
        if isinstance(value, dict):
            items = value.items()
            return ["dict", [[self._key(key, depth + 1), self.document(part, depth + 1)] for key, part in items]]
        if isinstance(value, list | tuple):
            return [type(value).__name__, [self.document(item, depth + 1) for item in value]]
        if isinstance(value, bytes):
            value = value.decode("latin1")
        if isinstance(value, str):
            self._spend(len(value))
        if value is None or isinstance(value, str | int | float):
            return value
        raise _RefusedError(f"holds a {type(value).__name__.lstrip('_')}, which is no number and no text")

    def _key(self, value: object, depth: int) -> Any:  # noqa: ANN401 - JSON
        before = len(self.arrays)
        document = self.document(value, depth)
        if len(self.arrays) > before:
            raise _RefusedError("calls something by an array, as no table of numbers does")
        return document

    def _keep(self, array: np.ndarray) -> str:
        self._spend(array.nbytes)
        name = str(len(self.arrays))
        self.arrays[name] = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("="))).reshape(array.shape)
        return name

    def _spend(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise _RefusedError("repeats its values without end")


def _rebuild(document: Any, arrays: dict[str, np.ndarray]) -> Any:  # noqa: ANN401 - JSON
    """What ``_Writer.document`` was given, with real arrays."""
    if not isinstance(document, list):
        return document
    kind, content = document
    if kind == "array":
        return arrays[content]
    if kind == "dict":
        return {_rebuild(key, arrays): _rebuild(value, arrays) for key, value in content}
    items = [_rebuild(item, arrays) for item in content]
    return tuple(items) if kind == "tuple" else items


def _limit(seconds: int, memory: int) -> None:
    """Bound this process; where the system knows no such bounds, the parent's patience is the only one."""
    try:
        import resource
    except ImportError:
        return
    for kind, most in ((resource.RLIMIT_CPU, seconds), (resource.RLIMIT_AS, memory)):
        try:
            resource.setrlimit(kind, (most, most))
        except (ValueError, OSError):  # macOS does not limit address space
            continue


def _open(path: Path, result: Path) -> None:
    with path.open("rb") as file:
        try:
            content = _Unpickler(file, encoding="latin1").load()
        except (_RefusedError, MemoryError, OSError):
            raise
        except Exception as error:  # a damaged pickle fails in any way
            raise _RefusedError(f"is damaged or no pickle ({type(error).__name__}: {str(error)[:80]})") from error
    writer = _Writer(64 * MEGABYTE + 4 * path.stat().st_size)
    document = json.dumps(writer.document(content))
    safetensors.numpy.save_file(writer.arrays, result, metadata={"document": document})


def _main(arguments: Sequence[str]) -> int:
    path, result, seconds, memory = arguments
    _limit(int(seconds), int(memory))
    try:
        _open(Path(path), Path(result))
    except _RefusedError as refusal:
        print(_printable(str(refusal)), file=sys.stderr)
        return REFUSED
    except MemoryError:
        return STARVED
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
