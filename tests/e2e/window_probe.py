"""A program for the window test: shows the face in a real window and does what the lines on its input say.

Each command is answered with one JSON line: the picture's size, what the keys did, whether the window was closed.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

from PIL import Image

from demo.avatar import load_avatar
from demo.clock import PlaybackClock
from demo.frame_queue import FrameQueue
from demo.life import Landmarks, Life
from demo.overlay import Captions
from demo.renderer import LOW, Renderer, WindowCanvas
from demo.stage import Stage


def main() -> None:
    """Serve commands until the input ends."""
    import time

    avatar = load_avatar()
    canvas = WindowCanvas(400, 480)
    renderer = Renderer(avatar, canvas, LOW)
    clock = PlaybackClock(48000, time.monotonic)
    stage = Stage(renderer, Life(Landmarks.of_rig(avatar.rig)), clock, FrameQueue())
    for line in sys.stdin:
        command, _, argument = line.strip().partition(" ")
        if command == "say":
            stage.captions = replace(Captions("speaking"), reply=argument)
        elif command == "resize":
            canvas._window.set_size(*(int(value) for value in argument.split()))
        elif command == "fullscreen":
            canvas.toggle_fullscreen()
        strokes: list[str] = []
        for _ in range(12):
            strokes += [f"{'+' if stroke.down else '-'}{stroke.key}" for stroke in canvas.poll()]
            stage.step()
        if command == "picture":
            Image.fromarray(renderer.read_pixels()).save(Path(argument))
        print(json.dumps({"size": canvas.size, "strokes": strokes, "closed": canvas.closed}), flush=True)
    renderer.close()


if __name__ == "__main__":
    main()
