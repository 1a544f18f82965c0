"""The regression baseline on disk, so that it can be measured beside the talkers it was trained with."""

from pathlib import Path
from typing import Any

import torch

from streamingtalker.audio.encoder import build_encoder
from streamingtalker.config import TalkerDims
from streamingtalker.talker import Talker
from streamingtalker.tensor_file import CheckpointError, below, read_tensors, write_tensors
from streamingtalker.training.stages import Regression
from streamingtalker.vqvae import MotionBasis

KIND = "regression"


def save_regression(
    path: str | Path, regression: Regression, talker: Talker, card: dict[str, Any] | None = None
) -> None:
    """Write ``regression`` with the dimensions and the motion basis of the ``talker`` it was trained for."""
    parts = {"model": regression.state_dict(), "basis": talker.vqvae.basis.state_dict()}
    tensors = {f"{part}/{name}": value.cpu().numpy() for part, state in parts.items() for name, value in state.items()}
    write_tensors(path, tensors, kind=KIND, metadata={"dims": talker.dims.to_json(), "card": card or {}})


def load_regression(path: str | Path) -> tuple[Regression, TalkerDims, MotionBasis]:
    """The baseline in a file, with its dimensions and its motion basis. Raises CheckpointError."""
    tensors, metadata = read_tensors(path, kind=KIND)
    try:
        dims = TalkerDims.from_json(metadata["dims"])
        regression = Regression(dims, build_encoder(dims.audio, dims.fps))
        basis = MotionBasis(dims.motion.vertices, dims.motion.basis, dims.motion.upper_basis)
        for part, module in (("model", regression), ("basis", basis)):
            values = below(tensors, f"{part}/")
            module.load_state_dict({name: torch.from_numpy(value) for name, value in values.items()})
    except (KeyError, RuntimeError) as error:
        raise CheckpointError(f"{path} does not fit this version ({str(error)[:120]}); train it again.") from error
    return regression.eval(), dims, basis
