"""The published live path as it was published, written again from its description: what speed is compared with.

HuBERT hears the whole utterance first. Then, for every frame, the predictor runs over all latents so far, the sampler
draws every one of them anew in 50 steps, and the decoder decodes them all; the last latent and the last frame are kept.
"""

import numpy as np
import torch
from torch import Tensor

from streamingtalker.config import frame_count
from streamingtalker.released import ReleasedTalker


class PublishedLive:
    """One utterance. Plain layers, nothing kept from frame to frame but the latents."""

    def __init__(self, talker: ReleasedTalker, rule: str = "released", identity: int = 0) -> None:
        self.talker = talker
        self.sampler = talker.sampler(rule, collapsed=False)
        self.identity = talker.identity(identity)
        self.latents = talker.start[None, None]

    @torch.inference_mode()
    def hear(self, pcm: np.ndarray) -> Tensor:
        """16 kHz float32 [n] → audio features [1, T, D], one a frame."""
        encoder = self.talker.audio
        normalised = torch.from_numpy(encoder.features(pcm)).to(self.talker.start)
        features = encoder(normalised[None])
        assert features.shape[1] == frame_count(len(pcm), self.talker.dims.fps)
        return features

    def skip_to(self, frame: int) -> None:
        """As if ``frame`` frames had been drawn: latents that cost as much as true ones."""
        size = self.talker.dims.motion.latent
        drawn = torch.randn(1, frame, size, generator=torch.Generator().manual_seed(0)).to(self.talker.start)
        self.latents = torch.cat([self.talker.start[None, None], drawn], dim=1)

    @torch.inference_mode()
    def next_frame(self, features: Tensor, noise: Tensor | None = None) -> Tensor:
        """The offsets [V, 3] of the next frame; ``noise`` [1, tokens, H·C] of all tokens, drawn here where None."""
        talker, tokens = self.talker, self.latents.shape[1]
        noise = torch.randn(1, tokens, talker.dims.motion.latent).to(self.latents) if noise is None else noise
        conditions = talker.conditions(self.latents, features[:, :tokens], self.identity)
        drawn = self.sampler(noise, conditions[None], conditions.new_ones(1, 1))
        self.latents = torch.cat([self.latents, drawn[:, -1:]], dim=1)
        return talker.vqvae.decode(self.latents)[0, -1].unflatten(0, (-1, 3)).cpu()
