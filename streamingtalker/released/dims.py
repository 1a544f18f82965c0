"""The dimensions of the published network, as they travel inside a checkpoint."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from streamingtalker.config import HeadDims, MotionDims, Sampling, build

PUBLISHED = Sampling(
    steps=50, rule="released", spacing="leading", guidance=1.0, temperature=1.0, noise_memory=0.0
)  # how the published code draws
FIRST = 2  # frames in a stream's first block: what half a second of sound is enough for


@dataclass(frozen=True)
class ReleasedMotion:
    """The transformer VQ-VAE over vertex offsets."""

    vertices: int  # V
    width: int = 1024
    layers: int = 6  # of the encoder and of the decoder
    heads: int = 8
    feedforward: int = 1536
    components: int = 16  # H, codes a frame
    code_dim: int = 64  # C, numbers a code
    codes: int = 256  # N, codes in the codebook all components share
    slope: float = 0.2  # of the leaky units for negative numbers
    bridged: bool = False  # linear layers lead from width to latents and back; without, the two are equally wide

    @property
    def latent(self) -> int:
        """H·C, numbers a frame."""
        return self.components * self.code_dim

    @property
    def codebook(self) -> MotionDims:
        """What the quantiser needs to know."""
        return MotionDims(
            self.vertices,
            components=self.components,
            code_dim=self.code_dim,
            codes=self.codes,
            shared_codebook=True,
        )


@dataclass(frozen=True)
class ReleasedPredictor:
    """The autoregressive condition predictor."""

    width: int = 768
    layers: int = 2
    heads: int = 4
    feedforward: int = 1024
    activation: str = "relu"  # or gelu
    period: int = 30  # p, tokens after which positions repeat
    audio: int = 768  # width of the audio encoder's features
    history: int = 60  # h, tokens a stream looks back on


@dataclass(frozen=True)
class ReleasedDims:
    """A whole published talker."""

    motion: ReleasedMotion
    predictor: ReleasedPredictor = field(default_factory=ReleasedPredictor)
    fps: int = 30
    styles: int = 8  # identities
    moods: tuple[str, ...] = ()  # the network knows none
    head: HeadDims = field(default_factory=lambda: HeadDims(kind="linear"))
    hubert: dict[str, Any] = field(default_factory=dict)  # transformers.HubertConfig; empty: no audio encoder
    sampling: Sampling = PUBLISHED
    window: int = 30  # latents a stream decodes together
    block: float = 0.4  # seconds of them that are new, so much as HuBERT hears at once; 0: a frame

    def block_at(self, frame: int) -> int:
        """Frames in the block that begins with ``frame``. Blocks end every ``block`` seconds, the first is short."""
        size = min(max(round(self.block * self.fps), 1), self.window)
        return min(FIRST, size) if frame == 0 else size - frame % size

    def to_json(self) -> dict[str, Any]:
        """A JSON document that ``from_json`` reads back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "ReleasedDims":
        """The dimensions written by ``to_json``. Raises ConfigError for a key or a kind of value it does not know."""
        return build(cls, document, "talker")


NETWORKS = {  # published with the paper, by data set; what their files hold besides is read from there
    "vocaset": ReleasedDims(ReleasedMotion(5023)),
    "biwi": ReleasedDims(
        ReleasedMotion(23370, components=8, code_dim=128, codes=512, bridged=True),
        ReleasedPredictor(width=1024, feedforward=2048, activation="gelu", period=25, history=120),
        fps=25,
    ),
}
