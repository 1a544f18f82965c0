"""The network without one of its parts (the paper's Table 3), and baselines from its layers: all as dimensions."""

from typing import Any

from streamingtalker.config import ConfigError, TalkerDims

ALL_HISTORY = 900  # tokens: 30 s, longer than any clip

VARIANTS: dict[str, dict[str, Any]] = {
    "no-diffusion": {"head": {"kind": "direct"}},
    "no-vqvae": {"motion": {"bottleneck": "none"}},
    "plain-vae": {"motion": {"bottleneck": "gaussian"}},
    "all-history": {"predictor": {"history": ALL_HISTORY}},
    "no-cross-attention": {"predictor": {"cross_attention": False}},
    "no-self-attention": {"predictor": {"self_attention": False}},
}
BASELINES: dict[str, dict[str, Any]] = {
    "autoregressive": {  # FaceFormer's kind: deterministic, no latent space, looks back on everything
        "head": {"kind": "direct"},
        "motion": {"bottleneck": "none"},
        "predictor": {"history": ALL_HISTORY},
        "sampling": {"guidance": 1.0, "temperature": 0.0, "upper_temperature": 0.0},
    },
}  # and "full-sequence", DiffSpeaker's kind, which is a network of its own: ``full_sequence``
FULL_SEQUENCE = "full-sequence"


def changed(dims: TalkerDims, name: str | None) -> TalkerDims:
    """``dims`` as the variant or baseline ``name`` has them; as they are, where None. Raises ConfigError."""
    if name is None:
        return dims
    known = VARIANTS | BASELINES
    if name not in known:
        raise ConfigError(f"There is no variant {name!r}; choose one of {', '.join(known)}.")
    return TalkerDims.from_json(merged(dims.to_json(), known[name]))


def merged(document: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """``document`` with ``changes`` in place, table by table; HuBERT's settings are replaced as one."""
    if not isinstance(changes, dict):
        raise ConfigError('--dims is no table; give JSON such as {"motion": {"width": 512}}.')
    out = dict(document)
    for name, value in changes.items():
        nested = isinstance(value, dict) and isinstance(out.get(name), dict) and name != "hubert"
        out[name] = merged(out[name], value) if nested else value
    return out
