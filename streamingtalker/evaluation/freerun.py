"""Many streams drawn side by side: each take the very frames that a stream of its own would give, in a fraction of the
time. They are known whole and go in step; streams that come and go are ``sessions``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from streamingtalker.data.dataset import Example
from streamingtalker.talker import Talker
from streamingtalker.training.judge import inputs

ROWS = 64  # takes at once


@dataclass(frozen=True)
class Take:
    """One sentence, drawn with one seed."""

    example: Example
    seed: int


@torch.inference_mode()
def free_run(talker: Talker, takes: Sequence[Take], done: Callable[[int], None] = lambda takes: None) -> list[Tensor]:
    """The motion [T, K] of every take, coefficients of the talker's basis. ``done`` hears of finished takes."""
    order = sorted(range(len(takes)), key=lambda index: len(takes[index].example.moods))
    motions: list[Tensor] = [torch.empty(0)] * len(takes)
    for start in range(0, len(order), ROWS):
        group = order[start : start + ROWS]
        for index, motion in zip(group, _side_by_side(talker, [takes[index] for index in group]), strict=True):
            motions[index] = motion
        done(len(group))
    return motions


def _side_by_side(talker: Talker, takes: Sequence[Take]) -> list[Tensor]:
    """As ``free_run``, for takes that are padded to the longest."""
    given = [inputs(take.example, talker) for take in takes]
    audio = _padded([talker.audio(features)[0] for features, _ in given])
    frames = audio.shape[1]
    style = _padded([style[0] for _, style in given], frames)
    noises = {seed: noise(talker, seed, frames) for seed in {take.seed for take in takes}}
    latents = _latents(talker, audio, style, torch.stack([noises[take.seed] for take in takes]))
    motions = talker.vqvae.decode_coefficients(latents).cpu()
    return [motion[: len(take.example.moods)] for motion, take in zip(motions, takes, strict=True)]


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
