"""The dimensions of a network and the choices of a run, as frozen dataclasses; the presets.

Dimensions travel inside a checkpoint. Sampling is the checkpoint's recommendation and can be overridden at run time.
"""

import dataclasses
import types
from dataclasses import dataclass, field
from typing import Any, get_args, get_origin, get_type_hints

from streamingtalker.errors import UserError

RATE = 16000  # samples a second of all audio inside the model


class ConfigError(UserError):
    """Dimensions that do not describe a network of this version."""


@dataclass(frozen=True)
class MotionDims:
    """The causal VQ-VAE over vertex offsets."""

    vertices: int  # V
    basis: int = 32  # K, coefficients of the linear motion basis at both ends
    width: int = 128
    dilations: tuple[int, ...] = (1, 2, 4)  # of the encoder's and of the decoder's causal convolutions, kernel 3
    components: int = 8  # H, codes a frame
    code_dim: int = 4  # C, numbers a code
    codes: int = 64  # N, codes in a codebook
    shared_codebook: bool = False  # one codebook for all components, as in the paper, or one each
    upper_basis: int = 0  # coefficients of brows and lids, where these have a latent space of their own
    upper_width: int = 64
    upper_components: int = 0  # their codes a frame, the last of the frame's components
    bottleneck: str = "quantised"  # or, to compare: "gaussian" (a plain VAE), "none" (latents are coefficients)

    @property
    def coefficients(self) -> int:
        """K, of the whole face."""
        return self.basis + self.upper_basis

    @property
    def all_components(self) -> int:
        """H, of the whole face."""
        return self.components + self.upper_components

    @property
    def latent(self) -> int:
        """H·C, numbers a frame."""
        return self.all_components * self.code_dim

    @property
    def upper_latent(self) -> int:
        """The last of a frame's numbers: those of brows and lids."""
        return self.upper_components * self.code_dim


@dataclass(frozen=True)
class AudioDims:
    """The audio encoder: ``speech`` (log-mel and phoneme posteriors) or ``hubert`` (the paper's choice)."""

    kind: str = "speech"
    width: int = 128  # numbers a motion frame it gives
    mel_bands: int = 64
    posterior_classes: int = 191
    posterior_width: int = 64  # the posteriors enter through a linear layer of this width
    dilations: tuple[int, ...] = (1, 2, 4, 8, 1)
    lookahead: int = 6  # motion frames of future sound a frame may hear: rounding begins 0.2 s early
    hubert: dict[str, Any] = field(default_factory=dict)  # kind hubert: keyword arguments of transformers.HubertConfig


@dataclass(frozen=True)
class PredictorDims:
    """The autoregressive condition predictor."""

    width: int = 128
    layers: int = 3
    heads: int = 4
    feedforward: int = 256
    history: int = 60  # h: latents each layer looks back on, the newest included
    self_attention: bool = True  # without, to compare: a token knows the latent before it and no other
    cross_attention: bool = True  # without, to compare: nothing is heard


@dataclass(frozen=True)
class HeadDims:
    """The diffusion head: ``linear`` (the paper's single layer), ``mlp`` (adaLN blocks), ``direct`` (no diffusion)."""

    kind: str = "mlp"
    width: int = 160
    blocks: int = 2  # kind mlp only
    time_features: int = 256  # sinusoids that tell the diffusion step
    train_steps: int = 1000
    beta_start: float = 0.00085
    beta_end: float = 0.012


@dataclass(frozen=True)
class Sampling:
    """How frames are drawn."""

    steps: int = 4  # DDIM steps
    rule: str = "textbook"  # or "released": the update of diffusers 0.11, for weights published with it
    spacing: str = "trailing"  # of the steps: from the very last one; or "leading", as in the release
    guidance: float = 0.5  # part of the prediction that sees the history; the rest, 1 − guidance, sees an empty one
    temperature: float = 0.4  # scale of the noise a frame is drawn from; 0 gives the same face for every seed
    noise_memory: float = 0.5  # correlation of a frame's noise with the last one's: variation without trembling
    upper_guidance: float = 1.0  # guidance of brows and lids, where these have a latent space of their own
    upper_temperature: float = 1.0  # and their temperature: the voice says little about them, they vary


@dataclass(frozen=True)
class TalkerDims:
    """A whole talker."""

    motion: MotionDims
    fps: int = 30
    styles: int = 4  # speaking styles (identities), the width of the paper's one-hot vector s_k
    moods: tuple[str, ...] = ()  # whose intensities join s_k; see ``mood``
    audio: AudioDims = field(default_factory=AudioDims)
    predictor: PredictorDims = field(default_factory=PredictorDims)
    head: HeadDims = field(default_factory=HeadDims)
    sampling: Sampling = field(default_factory=Sampling)

    @property
    def style_width(self) -> int:
        """Numbers in the style condition of a frame."""
        return self.styles + len(self.moods)

    def to_json(self) -> dict[str, Any]:
        """A JSON document that ``from_json`` reads back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "TalkerDims":
        """The dimensions written by ``to_json``. Raises ConfigError for a key or a kind of value it does not know."""
        return build(cls, document, "talker")


def frame_count(samples: int, fps: int) -> int:
    """Motion frames of a clip of 16 kHz ``samples``: every started frame counts."""
    return -(-samples * fps // RATE)


def build(kind: type, document: Any, where: str) -> Any:  # noqa: ANN401 - follows the field's own type
    """The dataclass ``kind`` with the values of a JSON document; ``where`` is its name. Raises ConfigError."""
    if not isinstance(document, dict):
        raise ConfigError(f"The dimensions of the {where} are not a table; the file is of another version or damaged.")
    hints = get_type_hints(kind)
    unknown = sorted(set(document) - set(hints))
    if unknown:
        raise ConfigError(f"The {where} has dimensions this version does not know: {', '.join(unknown)}; update it.")
    values = {name: _value(hints[name], value, f"{where}.{name}") for name, value in document.items()}
    try:
        return kind(**values)
    except TypeError as error:
        raise ConfigError(f"The dimensions of the {where} are incomplete ({error}).") from error


def _value(hint: Any, value: Any, where: str) -> Any:  # noqa: ANN401
    if dataclasses.is_dataclass(hint):
        return build(hint, value, where)  # type: ignore[arg-type]
    origin = get_origin(hint) or hint
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_value(get_args(hint)[0], item, where) for item in value)
    accepted = (int, float) if origin is float else origin
    wrong_bool = isinstance(value, bool) and origin is not bool
    if isinstance(origin, types.UnionType) or wrong_bool or not isinstance(value, accepted):
        raise ConfigError(f"{where} is {value!r}, which is not {getattr(origin, '__name__', origin)}.")
    return value
