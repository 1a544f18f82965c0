"""Files of tensors: the only module that opens weights or baked assets.

A file is safetensors with one JSON document in its metadata (key ``config``), so it carries its own dimensions, and
the SHA-256 of its content: a flipped bit in a weight would load without a word.
"""

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors
import safetensors.numpy

from streamingtalker.errors import UserError

if TYPE_CHECKING:
    from torch import nn

    from streamingtalker.audio.encoder import RecogniserFactory
    from streamingtalker.talker import Talker


TOPOLOGY = ("template", "faces", "lip_pairs", "lips", "upper_face")  # tensors of a face, under topology/


class CheckpointError(UserError):
    """A tensor file is missing, damaged or of another kind than asked for."""


def read_tensors(path: str | Path, kind: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """All tensors of ``path`` by name and its JSON metadata, which must say it is of this ``kind``.

    Raises CheckpointError where the file is missing, damaged or of another kind.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(
            f"{path} does not exist; check the path, or restore a file of the repository with 'git checkout'."
        )
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = json.loads((file.metadata() or {}).get("config", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (safetensors.SafetensorError, json.JSONDecodeError, UnicodeDecodeError, OSError) as error:
        raise CheckpointError(f"{path} is damaged ({error}); restore it or download it again.") from error
    stated = metadata.pop("sha256", None)
    if stated is not None and stated != _sha256(tensors, metadata):
        raise CheckpointError(f"{path} is damaged (its checksum is wrong); restore it or download it again.")
    if metadata.get("kind") != kind:
        raise CheckpointError(f"{path} is a {metadata.get('kind', 'foreign')!r} file where a {kind!r} file is needed.")
    return tensors, metadata


def write_tensors(path: str | Path, tensors: dict[str, np.ndarray], kind: str, metadata: dict[str, Any]) -> None:
    """Write ``tensors`` with their JSON ``metadata`` so that ``read_tensors(path, kind)`` gives both back."""
    contiguous = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    metadata = {"kind": kind, **metadata}
    config = json.dumps({**metadata, "sha256": _sha256(contiguous, metadata)})
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    safetensors.numpy.save_file(contiguous, path, metadata={"config": config})


def _sha256(tensors: dict[str, np.ndarray], metadata: dict[str, Any]) -> str:
    """Of all a file holds, in whatever order."""
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype.str} {tensors[name].shape}".encode())
        digest.update(tensors[name].tobytes())
    return digest.hexdigest()


def save_talker(path: str | Path, talker: "Talker", card: dict[str, Any] | None = None) -> None:
    """Write a talker with its dimensions, its face's topology and a ``card`` (how it came about)."""
    face = talker.topology
    tensors = {f"model/{name}": value.cpu().numpy() for name, value in talker.state_dict().items()}
    tensors |= {f"topology/{name}": getattr(face, name) for name in TOPOLOGY}
    metadata = {"name": face.name, "dims": talker.dims.to_json(), "card": card or {}}
    write_tensors(path, tensors, kind="talker", metadata=metadata)


def load_talker(path: str | Path, device: str = "cpu", recogniser: "RecogniserFactory | None" = None) -> "Talker":
    """The talker in a file, ready to run on ``device``.

    Every tensor must be there, of the right shape, finite, and none too many: else CheckpointError. ``recogniser``
    replaces the phoneme recogniser in front of the audio encoder.
    """
    from streamingtalker.audio.posteriors import open_recogniser  # here, for these modules read their files above
    from streamingtalker.config import TalkerDims
    from streamingtalker.talker import Talker
    from streamingtalker.topology import Topology

    tensors, metadata = read_tensors(path, kind="talker")
    missing = [f"topology/{name}" for name in TOPOLOGY if f"topology/{name}" not in tensors]
    if missing or not {"name", "dims"} <= set(metadata):
        raise CheckpointError(f"{path} lacks {', '.join(missing) or 'its dimensions'}; restore or train it again.")
    face = Topology(name=metadata["name"], **{name: tensors.pop(f"topology/{name}") for name in TOPOLOGY})
    dims = TalkerDims.from_json(metadata["dims"])
    if dims.motion.vertices != face.vertex_count:
        raise CheckpointError(f"{path} holds a face and a network of different meshes; train it again.")
    talker = Talker(dims, face, recogniser or open_recogniser)
    _load_strictly(path, talker, {name.removeprefix("model/"): value for name, value in tensors.items()})
    return talker.to(_device(device)).eval()


def _load_strictly(path: str | Path, model: "nn.Module", tensors: dict[str, np.ndarray]) -> None:
    import torch

    expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    found = {name: value.shape for name, value in tensors.items()}
    wrong = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    wrong = wrong or sorted(name for name, value in tensors.items() if not np.isfinite(value).all())
    if wrong:
        listed = ", ".join(wrong[:4]) + (" …" if len(wrong) > 4 else "")
        raise CheckpointError(f"{path} does not fit: {listed} missing, unknown, misshapen or not finite; restore it.")
    model.load_state_dict({name: torch.from_numpy(value) for name, value in tensors.items()})


def _device(name: str) -> str:
    import torch

    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:
        raise CheckpointError(f"Device {name!r} cannot be used here; choose 'cpu' ({str(error)[:80]}).") from error
    return name
