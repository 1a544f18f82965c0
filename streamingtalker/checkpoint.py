"""A talker on disk: its weights, its dimensions and the topology of its face, in one file."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from streamingtalker.audio.encoder import RecogniserFactory
from streamingtalker.audio.posteriors import open_recogniser
from streamingtalker.config import TalkerDims
from streamingtalker.errors import UserError
from streamingtalker.released import ReleasedDims, ReleasedTalker
from streamingtalker.talker import Talker
from streamingtalker.tensor_file import CheckpointError, read_tensors, talker_file, write_tensors
from streamingtalker.topology import TOPOLOGY, Topology

MOST = 4096  # that a dimension may be which is no tensor's, as the steps of training


def save_talker(path: str | Path, talker: Talker | ReleasedTalker, card: dict[str, Any] | None = None) -> None:
    """Write a talker with its dimensions, its face's topology and a ``card`` (how it came about)."""
    face = talker.topology
    tensors = {f"model/{name}": value.cpu().numpy() for name, value in talker.state_dict().items()}
    tensors |= {f"topology/{name}": getattr(face, name) for name in TOPOLOGY}
    network = "released" if isinstance(talker, ReleasedTalker) else "default"
    metadata = {"name": face.name, "network": network, "dims": talker.dims.to_json(), "card": card or {}}
    write_tensors(path, tensors, kind="talker", metadata=metadata)


def load_talker(
    path: str | Path, device: str = "cpu", recogniser: RecogniserFactory | None = None
) -> Talker | ReleasedTalker:
    """The talker in a file, or in the folder that ``streamingtalker.convert`` made, ready to run on ``device``.

    Every tensor must be there, of the right shape, finite, and none too many: else CheckpointError. That is looked at
    before a network of the file's dimensions takes any memory. ``recogniser`` replaces the phoneme recogniser in front
    of the audio encoder.
    """
    path = talker_file(path)
    tensors, metadata = read_tensors(path, kind="talker")
    missing = [f"topology/{name}" for name in TOPOLOGY if f"topology/{name}" not in tensors]
    if missing or not {"name", "dims"} <= set(metadata):
        raise CheckpointError(f"{path} lacks {', '.join(missing) or 'its dimensions'}; restore or train it again.")
    face = Topology(name=metadata["name"], **{name: tensors.pop(f"topology/{name}") for name in TOPOLOGY})
    weights = {name.removeprefix("model/"): value for name, value in tensors.items()}
    make = partial(_build, path, metadata, face, recogniser or open_recogniser)
    _compare(path, _expected(path, metadata["dims"], make, weights), weights)
    talker = make()
    talker.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    return talker.to(_device(device)).eval()


def load_own_talker(path: str | Path, device: str = "cpu") -> Talker:
    """As ``load_talker``, for what only the default network can do. Raises CheckpointError for another."""
    talker = load_talker(path, device)
    if not isinstance(talker, Talker):
        raise CheckpointError(
            f"{path} holds the published network, which runs but is not trained here; choose another."
        )
    return talker


def _build(
    path: Path, metadata: dict[str, Any], face: Topology, recogniser: RecogniserFactory
) -> Talker | ReleasedTalker:
    released = metadata.get("network", "default") == "released"
    dims = ReleasedDims.from_json(metadata["dims"]) if released else TalkerDims.from_json(metadata["dims"])
    if dims.motion.vertices != face.vertex_count:
        raise CheckpointError(f"{path} holds a face and a network of different meshes; train it again.")
    return ReleasedTalker(dims, face) if isinstance(dims, ReleasedDims) else Talker(dims, face, recogniser)


def _expected(
    path: Path, dims: object, make: Callable[[], Talker | ReleasedTalker], tensors: dict[str, np.ndarray]
) -> dict[str, tuple[int, ...]]:
    """The shapes of the tensors that a network of these dimensions has."""
    most = max(MOST, len(tensors), *(axis for value in tensors.values() for axis in value.shape))
    try:
        if not all(0 <= number <= most for number in _whole_numbers(dims)):
            raise CheckpointError(f"{path} states dimensions that its tensors cannot have; restore it or get it again.")
        with torch.device("meta"):  # takes no memory, whatever the file claims
            return {name: tuple(value.shape) for name, value in make().state_dict().items()}
    except UserError:
        raise
    except Exception as error:  # dimensions that do not fit each other fail in any way
        what = f"{type(error).__name__}: {' '.join(str(error).split())[:80]}"
        raise CheckpointError(f"{path} states dimensions that make no network ({what}); restore it.") from error


def _whole_numbers(document: object) -> Iterator[int]:
    """All of a JSON document's."""
    if isinstance(document, int):
        yield document
    elif isinstance(document, dict | list):
        for part in document.values() if isinstance(document, dict) else document:
            yield from _whole_numbers(part)


def _compare(path: Path, expected: dict[str, tuple[int, ...]], tensors: dict[str, np.ndarray]) -> None:
    found = {name: value.shape for name, value in tensors.items()}
    wrong = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    wrong = wrong or sorted(name for name, value in tensors.items() if not np.isfinite(value).all())
    if wrong:
        listed = ", ".join(wrong[:4]) + (" …" if len(wrong) > 4 else "")
        raise CheckpointError(f"{path} does not fit: {listed} missing, unknown, misshapen or not finite; restore it.")


def _device(name: str) -> str:
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:
        raise CheckpointError(f"Device {name!r} cannot be used here; choose 'cpu' ({str(error)[:80]}).") from error
    return name
