"""A program for the sync test: flashes and beeps through the real window, loudspeaker, clock and queue.

Between claps the face stands aside; a clap brings it into the middle for six frames while a beep sounds. What counts
as seen is the picture itself: its pixels are read back. Prints one JSON object.
"""

import argparse
import json
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from demo.avatar import load_avatar
from demo.frame_queue import FrameQueue
from demo.life import Landmarks, Life
from demo.playback import Playback, SimulatedSpeaker, SoundDeviceSpeaker
from demo.recorder import Recorder
from demo.renderer import LOW, OffscreenCanvas, Renderer, WindowCanvas
from demo.stage import Stage

FPS, RATE = 30, 24000
FIRST, EVERY, LENGTH = 45, 17, 6  # frames: first clap, from clap to clap, how long the face is seen
SIZE = (400, 400)
ASIDE = (0.16, 0.0, 0.0)  # metres: out of the middle, yet as dear to draw


def frames(claps: int, vertices: int) -> list[np.ndarray]:
    """Offsets of every frame."""
    here = np.zeros((vertices, 3), np.float16)
    aside = here + np.array(ASIDE, np.float16)
    count = FIRST + claps * EVERY
    flashing = [k >= FIRST and (k - FIRST) % EVERY < LENGTH for k in range(count)]
    return [here if flash else aside for flash in flashing]


def beeps(claps: int) -> np.ndarray:
    """The sound: 30 ms of 1 kHz at each clap."""
    pcm = np.zeros((FIRST + claps * EVERY) * RATE // FPS, np.float32)
    tone = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(int(0.03 * RATE)) / RATE)
    for clap in range(claps):
        start = (FIRST + clap * EVERY) * RATE // FPS
        pcm[start : start + len(tone)] = tone
    return pcm


def feed(playback: Playback, queue: FrameQueue, claps: int, vertices: int) -> None:
    """What the client thread does when messages arrive."""
    sound, motion = beeps(claps), frames(claps, vertices)
    samples = RATE // FPS
    for index, offsets in enumerate(motion):
        playback.write(1, sound[index * samples : (index + 1) * samples])
        queue.put(1, index, offsets)
        if index == 8:
            playback.start(1)
    queue.end(1, len(motion))
    playback.end(1)


def measure(claps: int, headless: bool, film: Path | None) -> dict[str, object]:
    """Run the clip and say what was seen when."""
    avatar = load_avatar()
    bald = replace(avatar, parts=tuple(part for part in avatar.parts if "hair" not in part.name))  # lighter to draw
    canvas = OffscreenCanvas(*SIZE) if headless else WindowCanvas(*SIZE)
    renderer = Renderer(bald, canvas, LOW)
    speaker = SimulatedSpeaker() if headless else SoundDeviceSpeaker()
    recorder = Recorder(film, SIZE, speaker.rate) if film else None
    playback = Playback(speaker)
    if recorder:
        playback.taps.append(recorder.audio)
    queue = FrameQueue(60)
    stage = Stage(renderer, Life(Landmarks.of_rig(avatar.rig)), playback.clock, queue, FPS, recorder=recorder)
    playback.open()
    settle = time.monotonic() + 2.5  # a null sink starts with a gap of up to two seconds
    while time.monotonic() < settle:
        stage.step()
    queue.begin(1)
    done = playback.begin(1, RATE)
    feeder = threading.Thread(target=feed, args=(playback, queue, claps, avatar.topology.vertex_count))
    feeder.start()
    seen = watch(stage, renderer, done)
    feeder.join()
    counts, sound = queue.counts(), playback.counts()
    playback.close()
    if recorder:
        recorder.close()
    renderer.close()
    return {
        "claps": [(FIRST + clap * EVERY) / FPS for clap in range(claps)],
        "seen": seen,
        "av_offset_ms": stage.meter.summary().as_trace(),
        "pictures": stage.meter.summary().count,
        "dropped": stage.dropped,
        "skipped": counts.skipped,
        "underruns": sound.underruns,
    }


def watch(stage: Stage, renderer: Renderer, done: "object") -> list[tuple[float, float]]:
    """Audio clock and monotonic time at which each flash was first seen."""
    seen, before = [], True
    while not done.done():  # type: ignore[attr-defined]
        shown = stage.step()
        if shown.dropped or shown.presented is None or shown.due is None:
            continue
        bright = in_the_middle(renderer.read_pixels())
        if bright and not before:
            seen.append((shown.presented, stage.presented_at))
        before = bright
    return seen


def in_the_middle(picture: np.ndarray) -> bool:
    """Whether the face is there, in a picture [H, W] or [H, W, 3]."""
    height, width = picture.shape[:2]
    return bool(picture[height // 3 : height // 2, width * 4 // 10 : width * 6 // 10].mean() > 110)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--claps", type=int, default=50)
    parser.add_argument("--headless", action="store_true")
    parser.add_argument("--film", type=Path)
    options = parser.parse_args()
    print(json.dumps(measure(options.claps, options.headless, options.film)))


if __name__ == "__main__":
    main()
