"""How fast pictures are drawn, level by level: ``python -m streamingtalker.bench render`` (or ``demo.render_bench``).

Draws a face that moves, off-screen, at every level of quality and at several sizes, and times posing (life and
surface), drawing and reading back. Nothing else should run on the machine meanwhile.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from demo.avatar import Avatar, load_avatar
from demo.life import Landmarks, Life
from demo.overlay import Captions, Overlay
from demo.quality import QUALITIES, Quality
from demo.renderer import OffscreenCanvas, Renderer
from streamingtalker.benchmark.machine import machine
from streamingtalker.errors import UserError
from streamingtalker.places import make_place
from streamingtalker.topology import avatar_path

SIZES = (512, 640, 1080)
_CAPTIONS = Captions("speaking", user="How are you?", reply="Very well, thank you; it is a fine day for a walk.")
_WARM_UP = 5  # pictures


@dataclass(frozen=True)
class Pace:
    """One level at one size, in milliseconds a picture; medians, unless named otherwise."""

    size: int  # pixels, width and height
    quality: str
    posing: float  # blinks, gaze, head, breath
    drawing: float  # surface, normals, upload, drawing, overlay
    drawing_p95: float
    reading: float  # back into memory, as the recorder needs it
    work: float  # processor time of a whole picture, in all threads
    pictures_per_second: float  # without recording


def measure(renderer: Renderer, life: Life, size: int, quality: Quality, pictures: int) -> Pace:
    """Draw a living face as the stage does, ``pictures`` times after a few to warm up."""
    renderer.canvas.size = (size, size)  # type: ignore[misc]  # off-screen ones may
    renderer.quality = quality
    overlay = Overlay()
    rows: list[list[float]] = []
    began = 0.0
    for number in range(pictures + _WARM_UP):
        if number == _WARM_UP:
            rows, began = [], time.process_time()
        marks = [time.perf_counter()]
        vertices = life.template + life.offsets(number / 30)
        marks.append(time.perf_counter())
        renderer.draw(vertices, overlay.patches(_CAPTIONS, size, size))
        marks.append(time.perf_counter())
        renderer.read_pixels()
        marks.append(time.perf_counter())
        rows.append([1000 * took for took in np.diff(marks)])
    work = 1000 * (time.process_time() - began) / pictures
    posing, drawing, reading = (float(value) for value in np.median(rows, axis=0))
    p95 = float(np.percentile([row[1] for row in rows], 95))
    return Pace(size, quality.name, posing, drawing, p95, reading, work, 1000 / (posing + drawing))


def sweep(avatar: Avatar, sizes: Sequence[int], pictures: int, tell: Callable[[str], None]) -> tuple[str, list[Pace]]:
    """Every level at every size; the name of what draws."""
    canvas = OffscreenCanvas(sizes[0], sizes[0])
    renderer = Renderer(avatar, canvas)
    life = Life(Landmarks.of_rig(avatar.rig))
    paces = []
    for size in sizes:
        for quality in QUALITIES:
            paces.append(measure(renderer, life, size, quality, pictures))
            tell(_line(paces[-1]))
    renderer.close()
    return renderer.device, paces


def _line(pace: Pace) -> str:
    return (
        f"{pace.size:5} {pace.quality:8} {pace.pictures_per_second:7.1f} pictures/s   posing {pace.posing:.1f} ms, "
        f"drawing {pace.drawing:.1f} (p95 {pace.drawing_p95:.1f}), reading {pace.reading:.1f}, work {pace.work:.1f}"
    )


def main(argv: list[str] | None = None) -> int:
    """The command line. Gives the exit status."""
    parser = argparse.ArgumentParser(prog="python -m streamingtalker.bench render", description=__doc__)
    parser.add_argument("--avatar", default="maya", metavar="NAME")
    parser.add_argument("--size", type=int, nargs="+", default=list(SIZES), metavar="PIXELS", help="width and height")
    parser.add_argument("--pictures", type=int, default=60, metavar="N", help="drawn at each level and size")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here, too")
    options = parser.parse_args(argv)
    try:
        if options.json:
            make_place(options.json, "The report")
        before = machine("cpu")
        device, paces = sweep(load_avatar(avatar_path(options.avatar)), options.size, options.pictures, print)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    report = {"machine": before | {"opengl": device}, "avatar": options.avatar, "paces": [asdict(p) for p in paces]}
    print(f"drawn by {device}")
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
