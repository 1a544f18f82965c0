"""A stream over a recording, watched: how long each part of the model worked on each block of frames."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from streamingtalker.streamer import FEED_SAMPLES, FaceModel

EAR, PREDICTOR, HEAD, DECODER = PARTS = ("audio encoder", "condition predictor", "diffusion head", "VQ-VAE decoder")
Clock = Callable[[], float]


@dataclass(frozen=True)
class Block:
    """Frames that came together."""

    first: int  # number of the first
    frames: int
    spent: dict[str, float]  # seconds in each part since the block before

    def cost(self, parts: Sequence[str] = PARTS) -> float:
        """Milliseconds a frame in these parts."""
        return 1000 * sum(self.spent[part] for part in parts) / self.frames


class _Watch:
    """Adds up what passes between laps. Waits for the graphics card, where there is one."""

    def __init__(self, clock: Clock, device: torch.device) -> None:
        self._clock, self._card = clock, device.type == "cuda"
        self.spent = dict.fromkeys(PARTS, 0.0)
        self._last = self._inside = self.now()

    def now(self) -> float:
        if self._card:
            torch.cuda.synchronize()
        return self._clock()

    def lap(self, part: str) -> None:
        now = self.now()
        self.spent[part] += now - self._last
        self._last = now

    @contextlib.contextmanager
    def inside(self, modules: Sequence[nn.Module], part: str, around: str) -> Iterator[None]:
        """While this lasts, what these modules take is counted for ``part`` and not for ``around``."""

        def enter(*_: object) -> None:
            self._inside = self.now()

        def leave(*_: object) -> None:
            taken = self.now() - self._inside
            self.spent[part] += taken
            self.spent[around] -= taken

        hooks = [module.register_forward_pre_hook(enter) for module in modules]
        hooks += [module.register_forward_hook(leave) for module in modules]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()


@torch.inference_mode()
def passage(model: FaceModel, pcm: np.ndarray, clock: Clock = time.perf_counter) -> list[Block]:
    """One stream over ``pcm`` (16 kHz float32), fed in tenths of a second: its blocks."""
    ear, state = model.audio.stream(), model.state()
    watch, blocks, frames = _Watch(clock, model.start.device), [], 0
    sounds = [*(pcm[start : start + FEED_SAMPLES] for start in range(0, len(pcm), FEED_SAMPLES)), None]
    with watch.inside(_heads(state), HEAD, PREDICTOR):
        for sound in sounds:
            audio = ear.finish() if sound is None else ear.feed(sound)
            watch.lap(EAR)
            latents = model.next_latents(audio, state)
            watch.lap(PREDICTOR)
            offsets = [model.next_offsets(latents, state)] + [model.last_offsets(state)] * (sound is None)
            fresh = len(torch.cat(offsets).cpu())
            watch.lap(DECODER)
            if fresh:
                blocks.append(Block(frames, fresh, watch.spent))
                watch.spent = dict.fromkeys(PARTS, 0.0)
                frames += fresh
    return blocks


def median_cost(passages: Sequence[Sequence[Block]], parts: Sequence[str], first: float = 0, last: float = 1) -> float:
    """Milliseconds a frame in these parts, in the blocks between two places of the clip (0 … 1): over passages."""
    costs = []
    for blocks in passages:
        total = blocks[-1].first + blocks[-1].frames
        begin, end = first * total, last * total
        inside = [block for block in blocks if block.first < end and block.first + block.frames > begin]
        frames = sum(block.frames for block in inside)
        costs.append(1000 * sum(block.spent[part] for block in inside for part in parts) / frames)
    return float(np.median(costs))


def _heads(state: Any) -> Sequence[nn.Module]:  # noqa: ANN401 - the model's own
    """Where latents are drawn."""
    return (state.network.latent, state.network.latent.of_noise) if hasattr(state, "network") else (state.sampler,)
