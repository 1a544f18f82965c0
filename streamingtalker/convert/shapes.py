"""The dimensions of a published network, read from the shapes of its weights.

What shapes do not tell (heads, activation, period, history, frame rate) is known of each data set.
"""

import re
from typing import Any

from torch import Tensor

from streamingtalker.convert.errors import ConvertError
from streamingtalker.convert.names import AUDIO, BRIDGE, MOTION, TALKER
from streamingtalker.data.prepare.datasets import DATA_SETS, DataSet
from streamingtalker.released.dims import NETWORKS, ReleasedDims, ReleasedMotion, ReleasedPredictor

STRIDES = (5, 2, 2, 2, 2, 2, 2)  # of HuBERT's convolutions


def find_data_set(state: dict[str, Tensor]) -> DataSet:
    """The data set of the network's mesh. Raises ConvertError for a mesh of another one."""
    vertices = _size(state, f"{MOTION}decoder.vertice_map_reverse.weight", 0) // 3
    for known in DATA_SETS.values():
        if known.vertices == vertices:
            return known
    raise ConvertError(
        f"The network moves {vertices} vertices, but those published are of VOCASET (5023) and BIWI (23370)."
    )


def read_dims(state: dict[str, Tensor], data_set: DataSet) -> ReleasedDims:
    """The dimensions of the network with these weights. Raises ConvertError where one is missing."""
    known = NETWORKS[data_set.name]
    code_dim = _size(state, f"{MOTION}quantize.embedding.weight", 1)
    block = f"{MOTION}encoder.encoder_transformer.net"
    layer = f"{TALKER}transformer_decoder.layers"
    return ReleasedDims(
        motion=ReleasedMotion(
            vertices=data_set.vertices,
            width=_size(state, f"{MOTION}encoder.vertice_mapping.0.weight", 0),
            layers=_count(state, block) // 2,
            feedforward=_size(state, f"{block}.1.fn.fn.l1.weight", 0),
            components=_size(state, f"{TALKER}vq_latent_map.weight", 1) // code_dim,
            code_dim=code_dim,
            codes=_size(state, f"{MOTION}quantize.embedding.weight", 0),
            bridged=is_bridged(state),
        ),
        predictor=ReleasedPredictor(
            width=_size(state, f"{TALKER}vq_latent_map.weight", 0),
            layers=_count(state, layer),
            feedforward=_size(state, f"{layer}.0.linear1.weight", 0),
            activation=known.predictor.activation,
            period=known.predictor.period,
            audio=_size(state, f"{TALKER}audio_feature_map.weight", 1),
            history=known.predictor.history,
        ),
        fps=data_set.fps,
        styles=_size(state, f"{TALKER}obj_vector.weight", 0),
        hubert=read_hubert(state),
    )


def is_bridged(state: dict[str, Tensor]) -> bool:
    """Whether linear layers lead to the latents and back. Shapes do not tell: for BIWI both sides are 1024 wide."""
    return f"{BRIDGE}.weight" in state


def read_hubert(state: dict[str, Tensor]) -> dict[str, Any]:
    """Arguments of transformers.HubertConfig for the audio encoder of a talker file; none where it has none."""
    if not any(name.startswith(AUDIO) for name in state):
        return {}
    convolutions = _count(state, f"{AUDIO}feature_extractor.conv_layers")
    kernels = [f"{AUDIO}feature_extractor.conv_layers.{i}.conv.weight" for i in range(convolutions)]
    width = _size(state, f"{AUDIO}feature_projection.projection.weight", 0)
    position = next((name for name in state if re.search(r"pos_conv_embed.*(weight_v|original1)$", name)), "")
    return {
        "hidden_size": width,
        "num_hidden_layers": _count(state, f"{AUDIO}encoder.layers"),
        "num_attention_heads": max(width // 64, 1),
        "intermediate_size": _size(state, f"{AUDIO}encoder.layers.0.feed_forward.intermediate_dense.weight", 0),
        "conv_dim": [_size(state, name, 0) for name in kernels],
        "conv_kernel": [_size(state, name, 2) for name in kernels],
        "conv_stride": list(STRIDES[:convolutions]),
        "num_conv_pos_embeddings": _size(state, position, 2),
        "num_conv_pos_embedding_groups": width // max(_size(state, position, 1), 1),
    }


def _size(state: dict[str, Tensor], name: str, axis: int) -> int:
    if name not in state or state[name].dim() <= axis or not state[name].shape[axis]:
        raise ConvertError(f"{name or 'HuBERT'} is missing or misshapen; the file is another network's.")
    return state[name].shape[axis]


def _count(state: dict[str, Tensor], prefix: str) -> int:
    """How many numbered parts there are under ``prefix``."""
    found = {int(match[1]) for name in state if (match := re.match(rf"{re.escape(prefix)}\.(\d{{1,3}})\.", name))}
    if not found or found != set(range(len(found))):
        raise ConvertError(f"{prefix} is missing or has gaps; the file is another network's.")
    return len(found)
