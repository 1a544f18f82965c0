"""Claps through the real window, loudspeaker, clock and queue: the face comes into the middle while a beep sounds.

Between claps the face stands aside. What counts as seen is the picture itself: its pixels are read back.
"""

import threading
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np

from demo.frame_queue import FrameQueue
from demo.playback import Playback
from demo.renderer import Renderer
from demo.stage import Stage

FPS, RATE = 30, 24000
EVERY, LENGTH = 17, 6  # frames: from clap to clap, how long the face is seen
ASIDE = (0.16, 0.0, 0.0)  # metres: out of the middle, yet as dear to draw
_STARTED = 9  # frames there are before the sound starts


@dataclass(frozen=True)
class Clip:
    """Some claps, one every 17 frames."""

    claps: int
    first: int = 45  # frames before the first

    @property
    def moments(self) -> list[float]:
        """When each clap begins, in seconds."""
        return [(self.first + clap * EVERY) / FPS for clap in range(self.claps)]

    @property
    def frame_count(self) -> int:
        """How long it is."""
        return self.first + self.claps * EVERY

    def frames(self, vertices: int) -> list[np.ndarray]:
        """Offsets float16 [V, 3] of every frame."""
        here = np.zeros((vertices, 3), np.float16)
        aside = here + np.array(ASIDE, np.float16)
        since = [index - self.first for index in range(self.frame_count)]
        return [here if index >= 0 and index % EVERY < LENGTH else aside for index in since]

    def sound(self) -> np.ndarray:
        """30 ms of 1 kHz at each clap, float32 [n]."""
        pcm = np.zeros(self.frame_count * RATE // FPS, np.float32)
        tone = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(int(0.03 * RATE)) / RATE)
        for moment in self.moments:
            start = round(moment * RATE)
            pcm[start : start + len(tone)] = tone
        return pcm


def perform(
    clip: Clip, stage: Stage, renderer: Renderer, playback: Playback, queue: FrameQueue, vertices: int
) -> list[tuple[float, float]]:
    """Show and play a clip as turn 1; audio clock and monotonic time at which each flash was first seen."""
    enough = _between(stage, renderer)
    queue.begin(1)
    done = playback.begin(1, RATE)
    feeder = threading.Thread(target=_feed, args=(clip, playback, queue, vertices), daemon=True)
    feeder.start()
    seen = _watch(stage, renderer, done, enough)
    feeder.join()
    return seen


def brightness(picture: np.ndarray) -> float:
    """Of the place where the face comes, in a picture [H, W] or [H, W, 3]."""
    height, width = picture.shape[:2]
    return float(picture[height // 3 : height // 2, width * 4 // 10 : width * 6 // 10].mean())


def _between(stage: Stage, renderer: Renderer) -> float:
    """A brightness between that of the face, which is shown now, and that of what is behind it."""
    stage.step()
    picture = renderer.read_pixels()
    behind = float(picture[:, : picture.shape[1] // 20].mean())
    return (brightness(picture) + behind) / 2


def _feed(clip: Clip, playback: Playback, queue: FrameQueue, vertices: int) -> None:
    """What the client thread does when messages arrive."""
    sound, samples = clip.sound(), RATE // FPS
    for index, offsets in enumerate(clip.frames(vertices)):
        playback.write(1, sound[index * samples : (index + 1) * samples])
        queue.put(1, index, offsets)
        if index == _STARTED - 1:
            playback.start(1)
    queue.end(1, clip.frame_count)
    playback.end(1)


def _watch(stage: Stage, renderer: Renderer, done: "Future[bool]", enough: float) -> list[tuple[float, float]]:
    """Audio clock and monotonic time at which each flash was first seen."""
    seen, before = [], True
    while not done.done():
        shown = stage.step()
        if shown.dropped or shown.presented is None or shown.due is None:
            continue
        bright = brightness(renderer.read_pixels()) > enough
        if bright and not before:
            seen.append((shown.presented, stage.presented_at))
        before = bright
    return seen
