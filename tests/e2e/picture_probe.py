"""A program for faults of the picture: speaks one long turn and draws it, while somebody takes away what it draws with.

``picture_probe.py CANVAS SECONDS``; a line on its input names what is to be broken from within. It prints "begun", and
at the end one JSON object: when each picture was shown, in monotonic seconds, what became of the sound, and what hung.
"""

import json
import sys
import threading
import time
from collections import deque

import numpy as np

from demo.avatar import load_avatar
from demo.frame_queue import FrameQueue
from demo.life import Landmarks, Life
from demo.playback import Playback, SimulatedSpeaker
from demo.renderer import LOW, DisplayError, OffscreenCanvas, Renderer, WindowCanvas
from demo.stage import Stage
from demo.supervision import Part, Watchdog

RATE, FPS = 24_000, 30


def destroy_glx_context(renderer: Renderer) -> None:
    """As a driver does that is reset."""
    from pyglet.gl import glx

    context = renderer.canvas._window.context
    glx.glXMakeContextCurrent(context.x_display, 0, 0, None)
    glx.glXDestroyContext(context.x_display, context.glx_context)


def destroy_egl_context(renderer: Renderer) -> None:
    """The same for pictures that nobody sees."""
    from OpenGL import EGL

    platform = renderer.canvas._platform
    EGL.eglMakeCurrent(platform._egl_display, None, None, None)
    EGL.eglDestroyContext(platform._egl_display, platform._egl_context)


def terminate_egl(renderer: Renderer) -> None:
    """The connection to the driver, with all that hangs on it."""
    from OpenGL import EGL

    platform = renderer.canvas._platform
    EGL.eglMakeCurrent(platform._egl_display, None, None, None)
    EGL.eglTerminate(platform._egl_display)


def delete_program(renderer: Renderer) -> None:
    """OpenGL goes on, and draws no face any more."""
    renderer._gl.glDeleteProgram(renderer._passes.program._program_id)


FAULTS = {each.__name__: each for each in (destroy_glx_context, destroy_egl_context, terminate_egl, delete_program)}


def main() -> int:
    """Speak, draw, and tell."""
    kind, seconds = sys.argv[1], float(sys.argv[2])
    avatar = load_avatar()
    canvas = OffscreenCanvas(400, 400) if kind == "offscreen" else WindowCanvas(400, 400)
    renderer = Renderer(avatar, canvas, LOW)
    playback, frames = Playback(SimulatedSpeaker()), FrameQueue(100_000)
    stage = Stage(renderer, Life(Landmarks.of_rig(avatar.rig)), playback.clock, frames, FPS)
    stage.step()
    orders: deque[str] = deque()
    threading.Thread(target=lambda: orders.extend(line.strip() for line in sys.stdin), daemon=True).start()
    hanging: list[float] = []
    watchdog = Watchdog(
        [Part("renderer", lambda: stage.pictures)], lambda name: hanging.append(time.monotonic()), sys.stderr
    )
    playback.open()
    frames.begin(1)
    spoken = playback.begin(1, RATE)
    playback.write(1, np.sin(np.arange(int(seconds * RATE)) * 0.05).astype(np.float32))
    for index in range(int(seconds * FPS)):
        frames.put(1, index, np.zeros((avatar.topology.vertex_count, 3), np.float16))
    playback.end(1)
    frames.end(1, int(seconds * FPS))
    print("begun", flush=True)
    moments: list[float] = []
    try:
        with watchdog:
            while not spoken.done():
                if orders:
                    FAULTS[orders.popleft()](renderer)
                if not stage.step().dropped:
                    moments.append(stage.presented_at)
                if isinstance(canvas, WindowCanvas):
                    canvas.poll()
    except DisplayError as error:
        print(error, file=sys.stderr)
        return 2
    counts = playback.counts()
    report = {
        "moments": moments,
        "played": counts.played / playback.clock.rate,
        "underruns": counts.underruns,
        "hanging": hanging,
        "brightness": float(renderer.read_pixels().mean()),
    }
    print(json.dumps(report), flush=True)
    renderer.close()
    playback.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
