"""Many streams drawn side by side: each gives the frames that a stream of its own would, in a fraction of the time.

Their sound is known whole and they go in step; streams that come and go are ``sessions``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from streamingtalker.data.dataset import Example
from streamingtalker.talker import Talker
from streamingtalker.training.judge import inputs

ROWS = 64  # rollouts at once


@dataclass(frozen=True)
class Rollout:
    """One sentence, drawn freely from one seed: each frame follows those drawn before it, not the truth."""

    example: Example
    seed: int


@torch.inference_mode()
def free_run(
    talker: Talker, rollouts: Sequence[Rollout], done: Callable[[int], None] = lambda rollouts: None
) -> list[Tensor]:
    """The motion [T, K] of every rollout, coefficients of the talker's basis. ``done`` hears of finished rollouts."""
    order = sorted(range(len(rollouts)), key=lambda index: len(rollouts[index].example.moods))
    motions: list[Tensor] = [torch.empty(0)] * len(rollouts)
    for start in range(0, len(order), ROWS):
        group = order[start : start + ROWS]
        for index, motion in zip(group, _side_by_side(talker, [rollouts[index] for index in group]), strict=True):
            motions[index] = motion
        done(len(group))
    return motions


def _side_by_side(talker: Talker, rollouts: Sequence[Rollout]) -> list[Tensor]:
    """As ``free_run``, for rollouts that are padded to the longest."""
    given = [inputs(rollout.example, talker) for rollout in rollouts]
    audio = _padded([talker.audio(features)[0] for features, _ in given])
    frames = audio.shape[1]
    style = _padded([style[0] for _, style in given], frames)
    noises = {seed: noise(talker, seed, frames) for seed in {rollout.seed for rollout in rollouts}}
    latents = _latents(talker, audio, style, torch.stack([noises[rollout.seed] for rollout in rollouts]))
    motions = talker.vqvae.decode_coefficients(latents).cpu()
    return [motion[: len(rollout.example.moods)] for motion, rollout in zip(motions, rollouts, strict=True)]


def _latents(talker: Talker, audio: Tensor, style: Tensor, noises: Tensor) -> Tensor:
    """Latents [N, T, H·C] from audio [N, T, A], style [N, T, S] and noise [N, T, H·C]."""
    weights, sampler = talker.mixing(talker.dims.sampling), talker.head.sampler(talker.dims.sampling)
    state = talker.predictor.state(len(weights) * len(audio))
    return talker.draw(talker.start.expand(len(audio), 1, -1), audio, style, noises, state, sampler, weights)


def noise(talker: Talker, seed: int, frames: int) -> Tensor:
    """What a stream with ``seed`` draws its frames from, [frames, H·C]."""
    process = talker.noise(talker.dims.sampling)
    process.reset(seed)
    return process.draw(frames)[0]


def _padded(parts: Sequence[Tensor], frames: int = 0) -> Tensor:
    """[N, T, …] from N tensors [t, …], shorter ones continued by zeros."""
    longest = max(frames, *(len(part) for part in parts))
    out = parts[0].new_zeros(len(parts), longest, *parts[0].shape[1:])
    for row, part in zip(out, parts, strict=True):
        row[: len(part)] = part
    return out
