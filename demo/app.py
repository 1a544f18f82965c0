"""Puts the parts together: the server's process, the client thread, and the render loop in the main thread."""

import contextlib
import functools
import logging
import math
import sys
import time
from collections import deque
from typing import IO

from demo.bare import ShownFace, shown_face
from demo.client_thread import ClientThread, Shared
from demo.devices import PortAudioStreams, list_devices
from demo.export.live import TurnExporter
from demo.garbage import share_one_heap, spare_what_is_loaded
from demo.interruption import Interrupted, Interruption, interruptible
from demo.lasting import LastingSpeaker, lasting_speaker
from demo.life import Life
from demo.logs import set_up_logging
from demo.look import camera_pose
from demo.overlay.meter import DEAD_SECONDS, Meter
from demo.persona import load_persona
from demo.persona_check import report
from demo.playback import Playback, SimulatedSpeaker
from demo.preflight import avatar_file, check
from demo.recorder import Recorder
from demo.renderer import Canvas, OffscreenCanvas, Renderer, WindowCanvas
from demo.screen import Screen
from demo.server_process import RemoteServer, ServerProcess
from demo.settings import Settings, parse
from demo.stage import Stage
from demo.supervision import Part, Watchdog, begin_anew
from demo.surroundings import adapt, missing_parts
from demo.threads import limit_blas
from demo.trace import SessionTrace
from streamingtalker.errors import UserError
from streamingtalker.topology import DEFAULT_AVATAR

log = logging.getLogger(__name__)

_HANGING = "the conversation goes on, and if the picture does not come back Ctrl-C ends the demo"
_QUEUED_SECONDS = 4.0  # of face waiting until it is due; beyond that the server waits


def main(arguments: list[str] | None = None) -> int:
    """Run the demo. Returns the exit status: 0, or 2 with one sentence on standard error, or that of a signal."""
    started = time.monotonic()
    share_one_heap()
    try:
        settings, rest = parse(sys.argv[1:] if arguments is None else arguments)
        stacks = set_up_logging(settings.log)
        if rest.list_devices:
            print(list_devices())
        elif rest.persona_check:
            return report(load_persona(settings.persona, settings.avatar).in_language(settings.lang), rest.json)
        elif rest.doctor:
            from demo.doctor.examination import diagnose  # what few need is loaded for them alone: it takes its time

            return diagnose(settings, rest.json)
        elif settings.serve:
            from demo.server import serve_in_foreground

            serve_in_foreground(settings, stacks=stacks)
        else:
            run(_adapted(settings), started, stacks)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt as interrupt:
        return interrupt.status if isinstance(interrupt, Interrupted) else 130
    return 0


def _adapted(settings: Settings) -> Settings:
    settings, sentence = adapt(settings, [] if settings.headless else missing_parts())
    if sentence:
        print(sentence, flush=True)
    return settings


def run(settings: Settings, started: float, stacks: IO[str] = sys.stderr) -> None:
    """One session, from opening the window to the last frame. However it ends, its film and its trace are written.

    Where a part of it hangs, ``stacks`` gets the stacks of all threads; at a stand the program then begins anew.
    Raises UserError where something cannot be had, Interrupted where somebody ends it.
    """
    check(settings)
    limit_blas()
    trace = SessionTrace(journal=settings.trace and settings.trace.with_name(f"{settings.trace.name}l"))
    trace.keep_earlier()
    leave_trace = functools.partial(_leave_trace, trace, settings)
    with interruptible(leave_trace) as interruption, contextlib.ExitStack() as stack:
        stack.callback(leave_trace)  # after the server's end: its memory counts, too
        try:
            client = _hold(settings, stack, trace, started, interruption, stacks)
        finally:
            interruption.closing()
    if client.error is not None:
        raise client.error


def _hold(
    settings: Settings,
    stack: contextlib.ExitStack,
    trace: SessionTrace,
    started: float,
    interruption: Interruption,
    stacks: IO[str],
) -> ClientThread:
    """Open everything on ``stack`` and draw until the session is over."""
    server = _server(settings)
    stack.enter_context(server)
    face = shown_face(settings, avatar_file(settings))
    canvas = _canvas(settings)
    renderer = Renderer(face.look, canvas)
    stack.callback(renderer.close)
    streams = None if settings.headless else PortAudioStreams()
    speaker = SimulatedSpeaker() if streams is None else lasting_speaker(settings.output_device, streams)
    playback = Playback(speaker, offset_ms=settings.av_offset_ms)
    frames = face.queue(int(_QUEUED_SECONDS * face.fps))
    recorder = None
    interruption.check()
    if settings.headless:
        server.wait()  # nobody watches meanwhile, and the film begins when something happens
    if settings.record:
        recorder = stack.enter_context(Recorder(settings.record, canvas.size, speaker.rate, round(face.fps)))
        playback.taps.append(recorder.audio)
    tap = stack.enter_context(_exporter(settings, face)) if settings.export else None
    life = Life(face.landmarks, settings.seed, viewer=camera_pose(face.look)[:3, 3])
    stage = Stage(renderer, life, playback.clock, frames, face.fps, recorder=recorder)
    stage.step()  # shaders compile now, and the film begins with a face
    playback.open()
    stack.callback(playback.close)
    shared = Shared(
        playback, frames, stage.meter, face.talking.vertex_count, face.talking.mesh, face.fps, tap, streams=streams
    )
    client = ClientThread(settings, shared, trace, server.wait, started, server.end)
    if isinstance(speaker, LastingSpeaker):
        speaker.on_notice = client.tell
    stack.callback(client.stop)
    stack.callback(server.give_up)  # if it still loads: the client thread waits for it
    client.start()
    interruption.check()
    screen = Screen(stage, life, canvas, client, playback, _meter(settings))
    stack.enter_context(_watchdog(settings, stage, playback, stacks))
    spare_what_is_loaded()
    while not client.over.is_set() and not screen.step():
        interruption.check()
    return client


def _watchdog(settings: Settings, stage: Stage, playback: Playback, stacks: IO[str]) -> Watchdog:
    """Sees that pictures and sound go on, whether a loudspeaker is there or another stands in for it.

    A window may be held by whoever moves it, and who sits before it may end it; at a stand there is nobody.
    """
    blocks: deque[float] = deque([0.0], maxlen=1)  # when the newest one is heard
    playback.taps.append(lambda pcm, at: blocks.append(at))

    def hangs(name: str) -> None:
        if settings.kiosk and name == "renderer":  # the loudspeaker is opened anew by its own rules
            begin_anew()

    what_then = "the program begins anew" if settings.kiosk else _HANGING
    parts = [
        Part("renderer", lambda: stage.pictures + stage.dropped, what_then=what_then),
        Part("sound", lambda: blocks[0]),
    ]
    return Watchdog(parts, hangs, stacks)


def _server(settings: Settings) -> ServerProcess | RemoteServer:
    return ServerProcess(settings) if settings.server is None else RemoteServer(settings.server)


def _exporter(settings: Settings, face: ShownFace) -> TurnExporter:
    """Writes turns in the shape of the avatar; in the usual one's where a head of another mesh is shown."""
    assert settings.export is not None
    avatar = DEFAULT_AVATAR if face.puppet else avatar_file(settings)
    return TurnExporter(settings.export, avatar, face.talking.mesh)


def _leave_trace(trace: SessionTrace, settings: Settings) -> None:
    if settings.trace and trace.engines:  # else there was no session
        trace.write(settings.trace)
        log.info("The trace is in %s.", settings.trace)


def _canvas(settings: Settings) -> Canvas:
    if settings.headless:
        return OffscreenCanvas(settings.size, settings.size)
    return WindowCanvas(settings.size, settings.size, fullscreen=settings.fullscreen or settings.kiosk)


def _meter(settings: Settings) -> Meter | None:
    """Shows the microphone's level; of recordings, that they are silent in between is no trouble."""
    if settings.text or settings.say is not None or settings.speech:
        return None
    return Meter(dead_seconds=math.inf if settings.question else DEAD_SECONDS)
