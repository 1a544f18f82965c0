"""Files of tensors: the only module that opens the weights of a face or its baked assets.

A file is safetensors with one JSON document in its metadata (key ``config``), so it carries its own dimensions, and
the SHA-256 of its content: a flipped bit in a weight would load without a word.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import safetensors
import safetensors.numpy

from streamingtalker.errors import UserError
from streamingtalker.places import writing

V = TypeVar("V")
TALKER = "talker.safetensors"  # the file of weights in a folder


class CheckpointError(UserError):
    """A tensor file is missing, damaged or of another kind than asked for."""


def talker_file(path: str | Path) -> Path:
    """The file of weights that ``path`` is, or that lies in the folder ``path``."""
    path = Path(path)
    return path / TALKER if path.is_dir() else path


def read_tensors(path: str | Path, kind: str, prefix: str = "") -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """All tensors of ``path`` by name and its JSON metadata, which must say it is of this ``kind``.

    With a ``prefix`` only those whose names begin with it; then the content's checksum is not looked at. Raises
    CheckpointError where the file is missing, damaged or of another kind.
    """
    with _opened(path) as file:
        metadata = _metadata(file)
        if (found := metadata.get("kind", "foreign")) != kind:
            raise CheckpointError(f"{path} is a {found!r} file where a {kind!r} file is needed.")
        names = [name for name in file.keys() if name.startswith(prefix)]  # noqa: SIM118 - not a dict
        tensors = {name: file.get_tensor(name) for name in names}
    stated = metadata.pop("sha256", None)
    if not prefix and stated is not None and stated != _sha256(tensors, metadata):
        raise CheckpointError(f"{path} is damaged (its checksum is wrong); restore it or download it again.")
    return tensors, metadata


def stated_sha256(path: str | Path) -> str:
    """The checksum of its content that a file states, hexadecimal; its tensors are not read, nor is it looked at.

    Raises CheckpointError where the file is missing or damaged, or states none.
    """
    with _opened(path) as file:
        stated = _metadata(file).get("sha256")
    if stated is None:
        raise CheckpointError(f"{path} states no checksum; restore it or make it again.")
    return str(stated)


def below(tensors: Mapping[str, V], prefix: str) -> dict[str, V]:
    """Those of ``tensors`` whose names begin with ``prefix``, by the rest of their names."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def write_tensors(path: str | Path, tensors: dict[str, np.ndarray], kind: str, metadata: dict[str, Any]) -> None:
    """Write ``tensors`` with their JSON ``metadata`` so that ``read_tensors(path, kind)`` gives both back.

    Whole or not at all: safetensors renames what it has written, so a file that was there stays until then. Raises
    PlaceError.
    """
    contiguous = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    metadata = {"kind": kind, **metadata}
    config = json.dumps({**metadata, "sha256": _sha256(contiguous, metadata)})
    with writing(path):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        try:
            safetensors.numpy.save_file(contiguous, path, metadata={"config": config})
        except safetensors.SafetensorError as error:  # what it makes of the system's refusal
            raise OSError(str(error)) from error


@contextmanager
def _opened(path: str | Path) -> Iterator[safetensors.safe_open]:
    """Whatever goes wrong while it is read is a CheckpointError."""
    if not Path(path).is_file():
        raise CheckpointError(
            f"{path} does not exist; check the path, or restore a file of the repository with 'git checkout'."
        )
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            yield file
    except (safetensors.SafetensorError, OSError, ValueError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged ({error}); restore it or download it again.") from error


def _metadata(file: safetensors.safe_open) -> dict[str, Any]:
    """Empty for files of other people."""
    document = json.loads((file.metadata() or {}).get("config", "{}"))
    return document if isinstance(document, dict) else {}


def _sha256(tensors: dict[str, np.ndarray], metadata: dict[str, Any]) -> str:
    """Of all a file holds, in whatever order."""
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype.str} {tensors[name].shape}".encode())
        digest.update(tensors[name].tobytes())
    return digest.hexdigest()
