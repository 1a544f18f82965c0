"""Flashes and beeps through the real window, loudspeaker, clock and queue, as a program of its own.

Prints one JSON object: when each flash was seen, in monotonic seconds. Who listens tells when the beeps were heard.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

from demo.avatar import load_avatar
from demo.doctor.flash_and_beep import FPS, Clip, perform
from demo.frame_queue import FrameQueue
from demo.garbage import spare_what_is_loaded
from demo.life import Landmarks, Life
from demo.playback import Playback, SimulatedSpeaker, SoundDeviceSpeaker
from demo.recorder import Recorder
from demo.renderer import LOW, OffscreenCanvas, Renderer, WindowCanvas
from demo.stage import Stage

SIZE = (400, 400)


def measure(claps: int, headless: bool, film: Path | None, settle_seconds: float) -> dict[str, object]:
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
    spare_what_is_loaded()
    settle = time.monotonic() + settle_seconds
    while time.monotonic() < settle:
        stage.step()
    clip = Clip(claps)
    seen = perform(clip, stage, renderer, playback, queue, avatar.topology.vertex_count)
    counts, sound = queue.counts(), playback.counts()
    playback.close()
    if recorder:
        recorder.close()
    renderer.close()
    return {
        "claps": clip.moments,
        "seen": seen,
        "av_offset_ms": stage.meter.summary().as_trace(),
        "pictures": stage.meter.summary().count,
        "dropped": stage.dropped,
        "skipped": counts.skipped,
        "underruns": sound.underruns,
        "dry": sound.dry,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--claps", type=int, default=50)
    parser.add_argument("--headless", action="store_true")
    parser.add_argument("--film", type=Path)
    # A null sink starts with a gap of up to two seconds, and PulseAudio's idea of its latency takes ten to settle.
    parser.add_argument("--settle", type=float, default=2.5, help="seconds before the first clap")
    options = parser.parse_args()
    print(json.dumps(measure(options.claps, options.headless, options.film, options.settle)))


if __name__ == "__main__":
    main()
