"""The window: whether it opens, how many pictures a second it shows, and whether they are shown with their sound."""

import time
from collections.abc import Iterator

import numpy as np

from demo.avatar import load_avatar
from demo.bare import GLTF
from demo.devices import DeviceError
from demo.doctor.findings import Finding, Level
from demo.doctor.flash_and_beep import FPS, Clip, perform
from demo.frame_queue import FrameQueue
from demo.life import Landmarks, Life
from demo.look import camera_pose
from demo.playback import Playback, SimulatedSpeaker, SoundDeviceSpeaker, Speaker
from demo.preflight import avatar_file
from demo.renderer import Canvas, DisplayError, OffscreenCanvas, Renderer, WindowCanvas
from demo.settings import Settings
from demo.stage import Stage
from streamingtalker.topology import DEFAULT_AVATAR

_CLIP = Clip(claps=5, first=15)
_DRIVER = "install the graphics card's driver; on Debian or Ubuntu libgl1-mesa-dri and libglx-mesa0"
_SETTLING_SECONDS = 1.5  # for the first pictures to be made; a sound server may need as long to begin
_WATCHED_SECONDS = 1.0
_SMOOTH, _BEARABLE = 24.0, 12.0  # pictures a second
_TOGETHER_MS, _BEARABLE_MS = 45.0, 120.0  # people notice sound about 45 ms before its picture, or 125 ms behind it


def check_picture(settings: Settings) -> Iterator[Finding]:
    """Window, frame rate, and sound and picture together. Raises UserError where the avatar cannot be had."""
    path = avatar_file(settings)
    avatar = load_avatar(DEFAULT_AVATAR if path.suffix.lower() in GLTF else path)
    try:
        canvas = _canvas(settings)
        renderer = Renderer(avatar, canvas)
    except DisplayError as error:
        yield Finding("window", Level.RED, str(error), _DRIVER)
        return
    speaker = _speaker(settings)
    playback, queue = Playback(speaker, offset_ms=settings.av_offset_ms), FrameQueue(_CLIP.frame_count)
    life = Life(Landmarks.of_rig(avatar.rig), viewer=camera_pose(avatar)[:3, 3])
    stage = Stage(renderer, life, playback.clock, queue, FPS)
    stage.step()
    width, height = canvas.size
    kind = "off-screen picture" if settings.headless else "window"
    yield Finding("window", Level.GREEN, f"{kind} of {width} x {height}, drawn by {renderer.device}")
    playback.open()
    yield judge_rate(_frame_rate(stage))
    seen = perform(_CLIP, stage, renderer, playback, queue, avatar.topology.vertex_count)
    if isinstance(speaker, SimulatedSpeaker) and not settings.headless:
        yield Finding("lips and voice", Level.YELLOW, "cannot be compared without a loudspeaker", "mend that first")
        return
    yield judge_offsets(_lateness([moment for moment, _ in seen]), playback.counts().underruns)


def _canvas(settings: Settings) -> Canvas:
    if settings.headless:
        return OffscreenCanvas(settings.size, settings.size)
    return WindowCanvas(settings.size, settings.size, fullscreen=settings.fullscreen)


def _speaker(settings: Settings) -> Speaker:
    """The loudspeaker; where there is none, a simulated one, so that pictures have a clock."""
    try:
        return SimulatedSpeaker() if settings.headless else SoundDeviceSpeaker(settings.output_device)
    except DeviceError:
        return SimulatedSpeaker()


def _frame_rate(stage: Stage) -> float:
    """Pictures a second of a resting face."""
    settled = time.monotonic() + _SETTLING_SECONDS
    while time.monotonic() < settled:
        stage.step()
    began, pictures = stage.presented_at, stage.pictures
    while stage.presented_at - began < _WATCHED_SECONDS:
        stage.step()
    return (stage.pictures - pictures) / (stage.presented_at - began)


def _lateness(seen: list[float]) -> np.ndarray:
    """How long after its beep each flash was seen, in milliseconds; negative is early."""
    moments = np.array(_CLIP.moments)
    return np.array([1000 * (moment - moments[np.abs(moments - moment).argmin()]) for moment in seen])


def judge_rate(rate: float) -> Finding:
    """What is to be said of so many pictures a second."""
    figures = {"pictures_per_second": round(rate, 1)}
    text = f"{rate:.0f} pictures a second"
    if rate >= _SMOOTH:
        return Finding("frame rate", Level.GREEN, text, "", figures)
    remedy = "close other programs, install the graphics driver, or choose a smaller --size"
    return Finding("frame rate", Level.YELLOW if rate >= _BEARABLE else Level.RED, text, remedy, figures)


def judge_offsets(late_ms: np.ndarray, underruns: int) -> Finding:
    """What is to be said of flashes seen so long after their beeps, in milliseconds [n]."""
    if len(late_ms) < _CLIP.claps // 2:
        text = f"{_CLIP.claps - len(late_ms)} of {_CLIP.claps} flashes were not seen in time"
        return Finding("lips and voice", Level.RED, text, "close other programs, or choose a smaller --size")
    median, worst = float(np.median(late_ms)), float(np.abs(late_ms).max())
    figures = {"offset_ms": round(median, 1), "worst_ms": round(worst, 1), "underruns": float(underruns)}
    text = (
        f"pictures are {abs(median):.0f} ms {'behind' if median >= 0 else 'ahead of'} the sound, {worst:.0f} ms at most"
    )
    if abs(median) > _BEARABLE_MS:
        return Finding("lips and voice", Level.RED, text, "close other programs, or choose a smaller --size", figures)
    if abs(median) > _TOGETHER_MS or underruns:
        text += f", and the sound broke off {underruns} times" if underruns else ""
        return Finding("lips and voice", Level.YELLOW, text, "close other programs", figures)
    return Finding("lips and voice", Level.GREEN, text, "", figures)
