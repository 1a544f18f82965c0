"""Files of tensors: the only module that opens weights or baked assets.

A file is safetensors with one JSON document in its metadata (key ``config``), so it carries its own dimensions.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from streamingtalker.errors import UserError


class CheckpointError(UserError):
    """A tensor file is missing, damaged or of another kind than asked for."""


def read_tensors(path: str | Path, kind: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """All tensors of ``path`` by name and its JSON metadata, which must say it is of this ``kind``.

    Raises CheckpointError where the file is missing, damaged or of another kind.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist; restore it with 'git checkout {path}' or give another path.")
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = json.loads((file.metadata() or {}).get("config", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (safetensors.SafetensorError, json.JSONDecodeError, UnicodeDecodeError, OSError) as error:
        raise CheckpointError(f"{path} is damaged ({error}); restore it or download it again.") from error
    if metadata.get("kind") != kind:
        raise CheckpointError(f"{path} is a {metadata.get('kind', 'foreign')!r} file where a {kind!r} file is needed.")
    return tensors, metadata


def write_tensors(path: str | Path, tensors: dict[str, np.ndarray], kind: str, metadata: dict[str, Any]) -> None:
    """Write ``tensors`` with their JSON ``metadata`` so that ``read_tensors(path, kind)`` gives both back."""
    config = json.dumps({"kind": kind, **metadata})
    contiguous = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    safetensors.numpy.save_file(contiguous, path, metadata={"config": config})
