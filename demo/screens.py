"""A contact sheet of what one sees over the face: every state, window shape and script, drawn as the demo draws it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageDraw

from demo.avatar import Avatar
from demo.controls import help_rows
from demo.figures import Figures
from demo.overlay import Captions, Overlay, Reading, Trouble, font
from demo.playback import PlaybackCounts
from demo.renderer import HIGH, OffscreenCanvas, Renderer
from demo.stage import SyncSummary
from demo.trace import SessionTrace, TurnTrace
from demo.word_timing import spoken_letters

_BACKGROUND, _INK = (20, 22, 26), (225, 228, 232)
_GAP, _LABEL = 6, 24  # pixels between pictures and under each
_HD, _PORTRAIT, _FOUR_TO_THREE, _SQUARE, _SMALL = (1920, 1080), (1080, 1920), (1024, 768), (640, 640), (320, 320)

_QUESTION = "Could you tell me how this works?"
_ANSWER = "A neural network hears my voice, and moves my face while I speak; all of it runs on this one laptop."
_HEARD = Captions("hearing", "Could you tell me how", microphone=Reading(7))
_SPOKEN = Captions("speaking", _QUESTION, _ANSWER, spoken_letters(_ANSWER, 0.55), microphone=Reading(1))
_NOTICE = (
    "Whisper tiny.en listens instead of Vosk: https://alphacephei.com cannot be reached, so the model vosk-en "
    "cannot be fetched."
)
_LANGUAGES = {
    "German": ("Größe?", "Über fünfzig Muskeln bewegen ein Gesicht, heißt es; bei mir sind es zweiundfünfzig Regler."),
    "French": ("Où êtes-vous née ?", "Ça dépend : mon visage vient d'un atelier, ma voix d'un réseau de neurones."),
    "Korean": ("누구세요?", "저는 마야입니다. 제 얼굴은 신경망이 움직이고, 모든 것이 이 노트북에서 돌아갑니다."),
    "Chinese": ("你是谁？", "我叫玛雅，我的脸由神经网络驱动，一切都在这台笔记本电脑上运行。"),
}


@dataclass(frozen=True)
class Shot:
    """A picture of the sheet."""

    label: str
    captions: Captions
    size: tuple[int, int] = _HD  # pixels of the window


def shots() -> list[list[Shot]]:
    """All pictures, row by row."""
    return [
        [
            Shot("listening", Captions("listening", microphone=Reading(1))),
            Shot("hearing", _HEARD),
            Shot("thinking", Captions("thinking", _QUESTION, microphone=Reading(1))),
            Shot("speaking", _SPOKEN),
        ],
        [
            Shot("H: help", Captions("listening", microphone=Reading(1), keys=help_rows())),
            Shot("L: latency and frame rate", replace(_SPOKEN, figures=_figures())),
            Shot("M: muted", Captions(microphone=Reading(0, Trouble.MUTED))),
            Shot("nothing comes from the microphone", Captions("listening", microphone=Reading(0, Trouble.DEAD))),
        ],
        [
            Shot("portrait, L", replace(_SPOKEN, figures=_figures()), _PORTRAIT),
            Shot("4:3, too loud", replace(_HEARD, microphone=Reading(10, Trouble.LOUD)), _FOUR_TO_THREE),
            Shot("square, L, a long notice", replace(_SPOKEN, figures=_figures(), notice=_NOTICE), _SQUARE),
            Shot("320 pixels", replace(_SPOKEN, spoken=spoken_letters(_ANSWER, 0.3)), _SMALL),
            Shot("portrait, help", Captions("listening", microphone=Reading(2), keys=help_rows()), _PORTRAIT),
        ],
        [Shot(name, _in(*words)) for name, words in _LANGUAGES.items()],
    ]


def _in(user: str, reply: str) -> Captions:
    return replace(_SPOKEN, user=user, reply=reply, spoken=spoken_letters(reply, 0.55))


def draw(avatar: Avatar, canvas: OffscreenCanvas, rows: Sequence[Sequence[Shot]], high: int = 250) -> Image.Image:
    """The sheet, each picture ``high`` pixels high."""
    renderer = Renderer(avatar, canvas, HIGH)
    spoken = avatar.template + 0.3 * avatar.rig.shapes[avatar.rig.shape_names.index("jawOpen")]
    made = [[(shot.label, _taken(renderer, avatar.template, spoken, shot, high)) for shot in row] for row in rows]
    wide = max(sum(picture.width + _GAP for _, picture in row) for row in made) + _GAP
    sheet = Image.new("RGB", (wide, len(made) * (high + _LABEL + _GAP) + _GAP), _BACKGROUND)
    pen = ImageDraw.Draw(sheet)
    for number, row in enumerate(made):
        free = wide - sum(picture.width for _, picture in row)
        left, top = free / (len(row) + 1), _GAP + number * (high + _LABEL + _GAP)
        for label, picture in row:
            sheet.paste(picture, (round(left), top))
            middle = (left + picture.width / 2, top + high + _LABEL / 2)
            pen.text(middle, label, font=font(15, label), fill=_INK, anchor="mm")
            left += picture.width + free / (len(row) + 1)
    return sheet


def _taken(renderer: Renderer, rest: np.ndarray, spoken: np.ndarray, shot: Shot, high: int) -> Image.Image:
    width, height = renderer.canvas.size = shot.size  # type: ignore[misc]  # an off-screen canvas has any size
    vertices = spoken if shot.captions.state == "speaking" else rest
    renderer.draw(vertices, Overlay().patches(shot.captions, width, height))
    picture = Image.fromarray(renderer.read_pixels())
    return picture.resize((round(high * width / height), high), Image.Resampling.LANCZOS)


def _figures() -> tuple[tuple[str, str], ...]:
    """As they may look after a turn."""
    turn = TurnTrace(1, av_offset_ms={"p5": -8.0, "p50": -1.0, "p95": 6.0, "max_abs": 12.0})
    spans = (310.0, 42.0, 96.0, 88.0, 61.0, 74.0, 58.0)
    names = ("endpoint", "stt", "llm_first_token", "llm_first_sentence", "tts_first_audio", "first_frame")
    turn.spans_ms = dict(zip((*names, "first_sample_played"), spans, strict=True)) | {"voice_to_voice": sum(spans)}
    now, shown = iter((0.0, 1.0)), iter((0, 0, 30, 0))
    figures = Figures(
        SessionTrace(turns=[turn]),
        lambda: (next(shown), 0),
        lambda: SyncSummary(0, 0.0, 0.0, 0.0, 0.0),
        PlaybackCounts,
        lambda: next(now),
    )
    figures.rows()
    return figures.rows()
