"""The joined model: audio and past motion in, latents and vertices out."""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from streamingtalker.audio.encoder import RecogniserFactory, build_encoder
from streamingtalker.audio.posteriors import open_recogniser
from streamingtalker.config import Sampling, TalkerDims
from streamingtalker.diffusion import Sampler, build_head, check
from streamingtalker.errors import UserError
from streamingtalker.noise import AutoregressiveNoise
from streamingtalker.predictor import ConditionPredictor, PredictorState
from streamingtalker.topology import Topology
from streamingtalker.vqvae import FaceState, VqVae


class IdentityError(UserError):
    """A speaking style the model was not trained with."""


@dataclass
class TalkerState:
    """What one stream of frames remembers. Row 0 of the predictor knows the history, row 1 (if any) does not."""

    predictor: PredictorState
    decoder: FaceState
    identity: Tensor  # [1, 1, styles + moods], the moods zero
    weights: Tensor  # [rows, H·C] how much each row's prediction counts
    latent: Tensor  # [1, H·C] of the newest frame
    noise: AutoregressiveNoise
    sampler: Sampler

    def reset(self, still: Tensor, seed: int) -> None:
        """As before the first frame, whose past is the latent ``still`` [H·C]."""
        self.predictor.reset()
        self.decoder.reset()
        self.latent = still[None]
        self.noise.reset(seed)


class Talker(nn.Module):
    """VQ-VAE, audio encoder, condition predictor and diffusion head of one face.

    Training and whole clips go through ``conditions``; every frame that is shown goes through ``next_latents`` and
    ``next_offsets``, which keep their past in a ``TalkerState``.
    """

    start: Tensor

    def __init__(self, dims: TalkerDims, topology: Topology, recogniser: RecogniserFactory = open_recogniser) -> None:
        super().__init__()
        assert dims.motion.vertices == topology.vertex_count, "the face and the network have different meshes"
        self.dims = dims
        self.topology = topology
        self.vqvae = VqVae(dims.motion)
        self.audio = build_encoder(dims.audio, dims.fps, recogniser)
        self.predictor = ConditionPredictor(dims.predictor, dims.motion.latent, dims.audio.width, dims.style_width)
        self.head = build_head(dims.head, dims.motion.latent, dims.predictor.width)
        self.register_buffer("start", torch.zeros(dims.motion.latent))  # the latent before frame 0

    def identity(self, index: int) -> Tensor:
        """The style condition [1, 1, styles + moods] of speaker ``index`` in a neutral mood: one-hot, s_k.

        Raises IdentityError for a style that does not exist.
        """
        if not 0 <= index < self.dims.styles:
            raise IdentityError(f"Identity {index} does not exist; this model knows 0 to {self.dims.styles - 1}.")
        style = torch.zeros(1, 1, self.dims.style_width, device=self.start.device)
        style[..., index] = 1
        return style

    def style(self, identity: Tensor, moods: Tensor) -> Tensor:
        """The style condition [B, T, styles + moods] of ``identity`` with intensities [B, T, moods]."""
        return torch.cat([identity[..., : self.dims.styles].expand(*moods.shape[:2], -1), moods], dim=2)

    def conditions(self, latents: Tensor, audio: Tensor, style: Tensor, keep: Tensor | None = None) -> Tensor:
        """Conditions C_A [B, T, W] of all frames of clips, each predicted from the true latents before it (eq. 4).

        latents [B, T, H·C] of frames 0 … T − 1 (the last is not needed), audio [B, T, A], style [B, T or 1, styles +
        moods], keep bool [B, T]: which tokens know their latent (all, where None).
        """
        before = torch.cat([self.start.expand(len(latents), 1, -1), latents[:, :-1]], dim=1)
        keep = torch.ones(before.shape[:2], dtype=torch.bool, device=before.device) if keep is None else keep
        return self.predictor(before, self.predictor.hear(audio), style, keep)

    def state(self, identity: int = 0, seed: int = 0, sampling: Sampling | None = None) -> TalkerState:
        """The state of a stream that has not begun. Raises IdentityError and SamplingError.

        The prediction is guidance·known + (1 − guidance)·unknown; above 1 that is classifier-free guidance.
        """
        sampling = sampling or self.dims.sampling
        check(sampling)
        weights = self.mixing(sampling)
        state = TalkerState(
            predictor=self.predictor.state(len(weights)),
            decoder=self.vqvae.state(),
            identity=self.identity(identity),
            weights=weights,
            latent=self.start[None],
            noise=self.noise(sampling),
            sampler=self.head.sampler(sampling),
        )
        state.reset(self.start, seed)
        return state

    def mixing(self, sampling: Sampling) -> Tensor:
        """How much the prediction with and that without the history count, [2, H·C]; [1, H·C] where all is with it."""
        known = self._by_part(sampling.guidance, sampling.upper_guidance)
        return known[None] if bool((known == 1).all()) else torch.stack([known, 1 - known])

    def temperature(self, sampling: Sampling) -> Tensor:
        """Scale [H·C] of the noise that a frame is drawn from."""
        return self._by_part(sampling.temperature, sampling.upper_temperature)

    def noise(self, sampling: Sampling, count: int = 1) -> AutoregressiveNoise:
        """What ``count`` streams draw their frames from."""
        memory = self._by_part(sampling.noise_memory, 0.0)  # the history is what joins brows and lids in time
        return AutoregressiveNoise(self.start, self.temperature(sampling), memory, count)

    def _by_part(self, face: float, upper: float) -> Tensor:
        """A number for each of a latent's [H·C]: ``upper`` for those of brows and lids, ``face`` for the rest."""
        values = torch.full_like(self.start, face)
        values[len(values) - self.dims.motion.upper_latent :] = upper
        return values

    def next_latents(self, audio: Tensor, state: TalkerState, moods: Tensor | None = None) -> Tensor:
        """Draw the latents [k, H·C] of the frames that ``audio`` [k, A] belongs to, one after another.

        ``moods`` [k, moods]: their intensities in each frame; a neutral face without.
        """
        moods = audio.new_zeros(len(audio), len(self.dims.moods)) if moods is None else moods
        if len(audio) == 0:
            return audio.new_zeros(0, self.dims.motion.latent)
        noise, style = state.noise.draw(len(audio)), self.style(state.identity, moods[None])
        latents = self.draw(
            state.latent[None], audio[None], style, noise, state.predictor, state.sampler, state.weights
        )[0]
        state.latent = latents[-1:]
        return latents

    def draw(
        self, before: Tensor, audio: Tensor, style: Tensor, noise: Tensor, state: PredictorState,
        sampler: Sampler, weights: Tensor,
    ) -> Tensor:  # fmt: skip
        """Draw the latents [B, k, H·C] of the next k frames of B streams, one after another.

        ``before`` [B, 1, H·C] are the latents they go on from; audio [B, k, A], style [B, k, styles + moods], noise
        [B, k, H·C]. ``state`` holds for each stream as many rows as ``weights`` [rows, H·C] has: the first knows the
        history, the second, where guidance needs it, does not.
        """
        rows = len(weights)
        heard = [layer.repeat_interleave(rows, dim=0) for layer in self.predictor.hear(audio)]
        style = style.repeat_interleave(rows, dim=0)
        keep = (torch.arange(len(style), device=style.device) % rows == 0)[:, None]
        latents = [before]
        for k in range(audio.shape[1]):
            now = slice(k, k + 1)
            known = latents[-1].repeat_interleave(rows, dim=0)
            conditions = self.predictor(known, [layer[:, now] for layer in heard], style[:, now], keep, state)
            mixed = conditions.unflatten(0, (-1, rows)).transpose(0, 1)
            latents.append(cast(Tensor, sampler(noise[:, now], mixed, weights)))
        return torch.cat(latents[1:], dim=1)

    def next_offsets(self, latents: Tensor, state: TalkerState) -> Tensor:
        """The next latents [k, H·C] → their offsets [k, V, 3] in metres."""
        if len(latents) == 0:
            return latents.new_zeros(0, self.dims.motion.vertices, 3)
        return self.vqvae.decode_next(latents[None], state.decoder)[0]

    def last_offsets(self, state: TalkerState) -> Tensor:
        """The sound is over: nothing [0, V, 3], this decoder awaits nothing."""
        return self.start.new_zeros(0, self.dims.motion.vertices, 3)
