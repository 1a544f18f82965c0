"""What the tensors of the published checkpoints are called here, and what is left out and why.

Every tensor of a published state dictionary is used; one that is missing or unknown is an error. ``LEFT_OUT`` names the
parts of tensors that are not needed.
"""

from collections.abc import Iterator

from torch import Tensor

from streamingtalker.convert.errors import ConvertError
from streamingtalker.released.dims import ReleasedDims

MOTION = "autoencoder."
TALKER = "diff_ar_network."
AUDIO = "audio_encoder."
BRIDGE = f"{MOTION}encoder.encoder_linear_embedding_post.net"  # only the network for BIWI has it
COUNTERS = "losses."  # of the training's metrics; no part of the network
LEFT_OUT = "what position tables repeat or the network never reads, and queries and keys of attention to a single frame"


def modules(dims: ReleasedDims) -> Iterator[tuple[str, str]]:
    """Published and own names of modules that hold a ``weight`` and perhaps a ``bias``."""
    yield f"{MOTION}encoder.vertice_mapping.0", "vqvae.into"
    yield f"{MOTION}decoder.vertice_map_reverse", "vqvae.out"
    if dims.motion.bridged:
        yield BRIDGE, "vqvae.to_latent"
        yield f"{MOTION}decoder.decoder_linear_embedding_pre.net", "vqvae.from_latent"
    for half, conv in (("encoder", "squasher"), ("decoder", "expander")):
        yield f"{MOTION}{half}.{conv}.0.0", f"vqvae.{half}.conv"
        yield f"{MOTION}{half}.{half}_linear_embedding.net", f"vqvae.{half}.mix"
        for i in range(dims.motion.layers):
            attention, feedforward = (f"{MOTION}{half}.{half}_transformer.net.{2 * i + k}.fn" for k in (0, 1))
            block = f"vqvae.{half}.blocks.{i}"
            yield f"{attention}.norm", f"{block}.attention_norm"
            yield f"{attention}.fn.to_qkv", f"{block}.attention.qkv"
            yield f"{attention}.fn.to_out", f"{block}.attention.out"
            yield f"{feedforward}.norm", f"{block}.feedforward_norm"
            yield f"{feedforward}.fn.l1", f"{block}.feedforward.0"
            yield f"{feedforward}.fn.l2", f"{block}.feedforward.2"
    yield f"{TALKER}vq_latent_map", "head.latent"
    yield f"{TALKER}time_emb.mlp.0", "head.time.layers.0"
    yield f"{TALKER}time_emb.mlp.2", "head.time.layers.2"
    yield f"{TALKER}denoiser.0", "head.join"
    yield f"{TALKER}latent_vq_map", "head.out"
    yield f"{TALKER}audio_feature_map", "predictor.audio"
    for i in range(dims.predictor.layers):
        published, own = f"{TALKER}transformer_decoder.layers.{i}", f"predictor.layers.{i}"
        yield f"{published}.self_attn.out_proj", f"{own}.attention.out"
        yield f"{published}.multihead_attn.out_proj", f"{own}.audio.out"
        yield f"{published}.linear1", f"{own}.feedforward.0"
        yield f"{published}.linear2", f"{own}.feedforward.2"
        for norm, name in (("norm1", "attention_norm"), ("norm2", "audio_norm"), ("norm3", "feedforward_norm")):
            yield f"{published}.{norm}", f"{own}.{name}"


def translate(state: dict[str, Tensor], dims: ReleasedDims) -> dict[str, Tensor]:
    """The tensors of a published state dictionary under their names in ``ReleasedTalker``.

    Raises ConvertError for a tensor that is missing, unknown or not as published.
    """
    published = dict(state)
    own: dict[str, Tensor] = {}
    for source, name in modules(dims):
        own[f"{name}.weight"] = _take(published, f"{source}.weight")
        if not source.endswith("to_qkv"):
            own[f"{name}.bias"] = _take(published, f"{source}.bias")
    own["predictor.latent.weight"], own["predictor.latent.bias"] = own["head.latent.weight"], own["head.latent.bias"]
    own["predictor.style.weight"] = _take(published, f"{TALKER}obj_vector.weight", axes=2).T
    own["predictor.positions"] = _period(_take(published, f"{TALKER}PPE.pe", axes=3), dims.predictor.period)
    own["vqvae.quantiser.codebook"] = _take(published, f"{MOTION}quantize.embedding.weight", axes=2)[None]
    for half in ("encoder", "decoder"):
        own[f"vqvae.{half}.position"] = _take(published, f"{MOTION}{half}.{half}_pos_embedding.pe", axes=3)[0, 0]
    for i in range(dims.predictor.layers):
        source, name = f"{TALKER}transformer_decoder.layers.{i}", f"predictor.layers.{i}"
        for kind, axes in (("weight", 2), ("bias", 1)):
            own[f"{name}.attention.qkv.{kind}"] = _take(published, f"{source}.self_attn.in_proj_{kind}")
            own[f"{name}.audio.value.{kind}"] = _value_rows(
                _take(published, f"{source}.multihead_attn.in_proj_{kind}", axes)
            )
    own |= _hubert(published)
    unknown = sorted(published)
    if unknown:
        raise ConvertError(f"{_listed(unknown)} is in the file but not in the published network; it is another one.")
    return own


def _take(published: dict[str, Tensor], name: str, axes: int | None = None) -> Tensor:
    if name not in published:
        raise ConvertError(f"{name} is in the published network but not in the file; it is another one or damaged.")
    tensor = published.pop(name)
    if axes is not None and (tensor.dim() != axes or tensor.numel() == 0):
        raise ConvertError(f"{name} is no tensor of {axes} axes as in the published network; it is another one's.")
    return tensor


def _value_rows(projection: Tensor) -> Tensor:
    """The last third of a cross-attention's input projection.

    The first two make queries and keys, which cancel: a token attends to one audio frame, so its softmax is 1.
    """
    return projection[2 * (len(projection) // 3) :]


def _period(table: Tensor, period: int) -> Tensor:
    """The first period [p, W] of a table [1, n, W], which must repeat it."""
    rows = table[0]
    if len(rows) < period or not rows[period:].equal(rows[: len(rows) - period]):
        raise ConvertError(f"{TALKER}PPE.pe does not repeat after {period} positions; the preset is another network's.")
    return rows[:period]


def _hubert(published: dict[str, Tensor]) -> dict[str, Tensor]:
    """HuBERT's tensors, removed from ``published``, as its library calls them now."""
    names = [name for name in published if name.startswith(AUDIO)]
    return {_hubert_name(name): published.pop(name) for name in names}


def _hubert_name(name: str) -> str:
    """Weight normalisation used to be called weight_g and weight_v."""
    name = f"hearing.hubert.{name.removeprefix(AUDIO)}"
    normalised = "pos_conv_embed.conv."
    for old, new in (("weight_g", "original0"), ("weight_v", "original1")):
        name = name.replace(f"{normalised}{old}", f"{normalised}parametrizations.weight.{new}")
    return name


def _listed(names: list[str]) -> str:
    return ", ".join(names[:4]) + (" …" if len(names) > 4 else "")
