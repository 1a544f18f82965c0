"""The published network filled with the published weights."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from streamingtalker.config import HeadDims
from streamingtalker.convert.errors import ConvertError
from streamingtalker.convert.names import translate
from streamingtalker.convert.shapes import is_bridged, read_hubert
from streamingtalker.released.dims import ReleasedDims, ReleasedMotion, ReleasedPredictor
from streamingtalker.released.talker import ReleasedTalker
from streamingtalker.topology import Topology


def from_released(
    state_dict: dict[str, Tensor], config: dict[str, Any], topology: Topology | None = None
) -> ReleasedTalker:
    """The published talker with the weights of ``state_dict``, on the CPU, ready to run.

    ``state_dict``: the tensors of a published talker checkpoint by their published names (``autoencoder.…``,
    ``diff_ar_network.…`` and, optionally, ``audio_encoder.…``). ``config``: the published configuration, its ``MODEL``
    section as ``model``. ``topology``: the face it moves; without, one of which only the number of vertices is known.

    Raises ConvertError for a tensor that is missing, unknown, misshapen or not finite.
    """
    state = {name: torch.as_tensor(value) for name, value in state_dict.items()}
    dims = read_config(config)
    motion = replace(dims.motion, bridged=is_bridged(state))
    return fill(state, replace(dims, motion=motion, hubert=read_hubert(state)), topology)


def fill(state: dict[str, Tensor], dims: ReleasedDims, topology: Topology | None = None) -> ReleasedTalker:
    """The talker of these dimensions with published weights. Raises ConvertError as ``from_released``."""
    face = topology or Topology.unknown(dims.motion.vertices)
    own = translate(state, dims)
    try:
        with torch.device("meta"):  # takes no memory, whatever the file claims
            _check(own, ReleasedTalker(dims, face))
        talker = ReleasedTalker(dims, face)
    except (AssertionError, ValueError, TypeError, ZeroDivisionError, RuntimeError) as error:
        raise ConvertError(f"The weights' shapes make no network ({str(error)[:80]}); it is another one's.") from error
    talker.load_state_dict({**own, "start": talker.start})
    talker.eval()
    with torch.no_grad():
        talker.start.copy_(talker.vqvae.still())
    return talker


def read_config(config: dict[str, Any]) -> ReleasedDims:
    """The dimensions in a published configuration. Raises ConvertError where it lacks one."""
    model = config.get("model", config)
    try:
        motion, predictor = model["VAE"], model["DIFF_AR_DEC"]
        return ReleasedDims(
            motion=ReleasedMotion(
                vertices=motion["n_vert"] // 3,
                width=motion["hidden_size"],
                layers=motion["num_hidden_layers"],
                heads=motion["num_attention_heads"],
                feedforward=motion["intermediate_size"],
                components=motion["face_quan_num"],
                code_dim=motion["zquant_dim"],
                codes=motion["n_embed"],
                slope=motion["neg"],
            ),
            predictor=ReleasedPredictor(
                width=predictor["latent_dim"],
                layers=predictor["num_layers"],
                heads=predictor["n_heads"],
                feedforward=predictor["feedforward_dim"],
                activation=predictor.get("activation", "relu"),
                period=predictor["period"],
                audio=predictor["audio_encode_dim"],
                history=model["window_size"],
            ),
            fps=model["AUDIO_ENCODER"]["hidden_fps"],
            styles=predictor["id_dim"],
            head=_head(model["SCHEDULER"]),
        )
    except KeyError as error:
        raise ConvertError(f"The configuration lacks {error}; take the one the weights were published with.") from error


def _head(scheduler: dict[str, Any]) -> HeadDims:
    return HeadDims(
        kind="linear",
        train_steps=scheduler["num_train_timesteps"],
        beta_start=scheduler["beta_start"],
        beta_end=scheduler["beta_end"],
    )


def _check(own: dict[str, Tensor], talker: ReleasedTalker) -> None:
    expected = {name: value.shape for name, value in talker.state_dict().items() if name != "start"}
    wrong = sorted(name for name in expected.keys() | own.keys() if expected.get(name) != _shape(own, name))
    if wrong:
        raise ConvertError(
            f"{wrong[0]} is {_told(_shape(own, wrong[0]))} where the published network has "
            f"{_told(expected.get(wrong[0]))}; the file is another network's."
        )
    broken = sorted(name for name, value in own.items() if not value.isfinite().all())
    if broken:
        raise ConvertError(f"{broken[0]} holds numbers that are not finite; the file is damaged.")


def _shape(tensors: dict[str, Tensor], name: str) -> torch.Size | None:
    return tensors[name].shape if name in tensors else None


def _told(shape: torch.Size | None) -> str:
    return " × ".join(map(str, shape)) or "a number" if shape is not None else "nothing"
