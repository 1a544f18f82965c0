"""Puts the parts together: the server's process, the client thread, and the render loop in the main thread."""

import contextlib
import logging
import sys
import time
from collections.abc import Callable, Iterator

from demo.avatar import load_avatar
from demo.client_thread import ClientThread, Shared
from demo.devices import list_devices
from demo.frame_queue import FrameQueue
from demo.idle import IdleMotion
from demo.playback import Playback, SimulatedSpeaker, SoundDeviceSpeaker, Speaker
from demo.recorder import Recorder
from demo.renderer import Canvas, OffscreenCanvas, Renderer, WindowCanvas
from demo.server import serve_in_foreground
from demo.server_process import ServerProcess
from demo.settings import Settings, parse
from demo.stage import Stage
from demo.surroundings import adapt, missing_parts
from streamingtalker.errors import UserError
from streamingtalker.topology import AVATARS

log = logging.getLogger(__name__)

_QUEUED_SECONDS = 4.0  # of face waiting until it is due; beyond that the server waits
_FPS = 30


def main(arguments: list[str] | None = None) -> int:
    """Run the demo. Returns the exit status: 0, or 2 with one sentence on standard error."""
    started = time.monotonic()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for talkative in ("httpx2", "httpcore2", "websockets", "openai", "faster_whisper", "OpenGL"):
        logging.getLogger(talkative).setLevel(logging.WARNING)
    try:
        settings, rest = parse(sys.argv[1:] if arguments is None else arguments)
        if rest.list_devices:
            print(list_devices())
        elif settings.serve:
            serve_in_foreground(settings)
        else:
            run(_adapted(settings), started)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def _adapted(settings: Settings) -> Settings:
    settings, sentence = adapt(settings, [] if settings.headless else missing_parts())
    if sentence:
        print(sentence)
    return settings


def run(settings: Settings, started: float) -> None:
    """One session, from opening the window to the last frame. Raises UserError where something cannot be had."""
    with contextlib.ExitStack() as stack:
        wait_for_server = stack.enter_context(_server(settings))
        avatar = load_avatar(AVATARS / f"{settings.avatar}.safetensors")
        canvas = _canvas(settings)
        renderer = Renderer(avatar, canvas)
        stack.callback(renderer.close)
        speaker: Speaker = SimulatedSpeaker() if settings.headless else SoundDeviceSpeaker(settings.output_device)
        playback = Playback(speaker, offset_ms=settings.av_offset_ms)
        frames = FrameQueue(int(_QUEUED_SECONDS * _FPS))
        recorder = None
        if settings.headless:
            wait_for_server()  # nobody watches meanwhile, and the film begins when something happens
        if settings.record:
            recorder = stack.enter_context(Recorder(settings.record, canvas.size, speaker.rate))
            playback.on_played = recorder.audio
        stage = Stage(renderer, IdleMotion(avatar.rig, settings.seed), playback.clock, frames, _FPS, recorder=recorder)
        stage.step()  # shaders compile now, and the film begins with a face
        playback.open()
        stack.callback(playback.close)
        client = ClientThread(settings, Shared(playback, frames, stage.meter), wait_for_server, started)
        stack.callback(client.stop)
        client.start()
        _render(stage, canvas, client, playback)
    _conclude(client, settings)


@contextlib.contextmanager
def _server(settings: Settings) -> Iterator[Callable[[], str]]:
    """A function that waits until the server answers and gives its address: ours, or one that runs elsewhere."""
    if settings.server is not None:
        url = settings.server
        yield lambda: url
        return
    with ServerProcess(settings) as server:
        yield server.wait


def _canvas(settings: Settings) -> Canvas:
    width = settings.size
    if settings.headless:
        return OffscreenCanvas(width, settings.size)
    return WindowCanvas(width, settings.size, fullscreen=settings.fullscreen)


def _render(stage: Stage, canvas: Canvas, client: ClientThread, playback: Playback) -> None:
    """Draw until the session is over, the user closes the window or presses Ctrl-C."""
    with contextlib.suppress(KeyboardInterrupt):
        while not client.over.is_set():
            stage.captions = client.status.captions(playback.clock.now())
            stage.step()
            if isinstance(canvas, WindowCanvas) and _wants_to_leave(canvas):
                return


def _wants_to_leave(window: WindowCanvas) -> bool:
    """Obey the window's keys; whether the user wants to end."""
    for key in window.poll():
        if key == "F":
            window.toggle_fullscreen()
        elif key == "ESCAPE":
            return True
    return window.closed


def _conclude(client: ClientThread, settings: Settings) -> None:
    """Write the trace, tell where the film is, pass on what went wrong."""
    if settings.trace:
        client.trace.write(settings.trace)
        log.info("The trace is in %s.", settings.trace)
    if client.error is not None:
        raise client.error
    if settings.record:
        log.info("The film is in %s.", settings.record)
