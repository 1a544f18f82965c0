"""The discreet signs: what the conversation is doing, how loud the microphone is, a line for the operator."""

from collections.abc import Callable

import numpy as np
from PIL import Image

from demo.look import features
from demo.overlay.lettering import balanced, font, largest, length, line_height, wrap
from demo.overlay.meter import SEGMENTS, Trouble
from demo.overlay.patch import Color, Patch, Shape, sheet
from demo.overlay.speech import lettered

_NOTICE = (250, 215, 140)
_SMALLEST = 10  # pixels of a notice's letters
_GREEN, _YELLOW, _RED, _DARK = (120, 240, 150), (250, 210, 90), (255, 110, 100), (90, 98, 108)


def sign_size(width: int, height: int) -> int:
    """Pixels of a sign's letters."""
    return max(11, round(min(0.034 * height, 0.055 * width)))


def state_sign(state: str, size: int) -> Patch | None:
    """A shape and a word in the upper left corner; None where there is nothing to say."""
    if state not in _STATES:
        return None
    word, color, draw_shape = _STATES[state]
    face = font(size, word)
    high = round(size * 1.9)
    image, draw = sheet(round(face.getlength(word) + 2.75 * size), high, radius=high // 2)
    shape = Shape(round(size * 1.15), color)
    draw_shape(shape)
    shape.lay_on(image, size * 0.6, (high - size * 1.15) / 2)
    draw.text((size * 2.05, high / 2), word, font=face, fill=(*color, 255), anchor="lm")
    return Patch(size, size, np.asarray(image))


def meter_sign(lit: int, trouble: Trouble, size: int, top: int) -> Patch:
    """A small microphone with its level beside it, or with what is the matter with it."""
    bars = trouble in (Trouble.NONE, Trouble.LOUD)
    face = font(size, trouble)
    high, bar = round(size * 1.5), max(2, round(size * 0.26))
    wide = 1.9 * size + bars * 1.6 * SEGMENTS * bar + (face.getlength(trouble) + 0.5 * size if trouble else 0)
    image, draw = sheet(round(wide), high, radius=high // 2)
    color = _RED if trouble else _GREEN
    shape = Shape(round(size * 1.1), color)
    _microphone(shape)
    if not bars:
        shape.stroke((0.12, 0.06), (0.88, 0.94), width=0.1, gap=0.06)
    shape.lay_on(image, size * 0.4, (high - size * 1.1) / 2)
    left = 1.65 * size
    for number in range(SEGMENTS if bars else 0):
        tall = size * (0.3 + 0.6 * (number + 1) / SEGMENTS)
        shade = _bar_color(number) if number < lit else _DARK
        draw.rectangle((left, (high - tall) / 2, left + bar - 1, (high + tall) / 2), fill=(*shade, 255))
        left += 1.6 * bar
    if trouble:
        draw.text((left + 0.1 * size, high / 2), trouble, font=face, fill=(*color, 255), anchor="lm")
    return Patch(size, top, np.asarray(image))


def notice_line(text: str, width: int, height: int, right: int, bottom: int) -> Patch | None:
    """A line for the operator: in the upper right corner where it fits beside the signs, else below them.

    ``right`` and ``bottom`` is how far the signs reach. A long text is broken and set smaller, so that it ends above
    the face's eyes; what does not fit in the smallest letters either ends with "…", and stands whole in the log.
    """
    if not text:
        return None
    size = max(_SMALLEST, round(min(0.03 * height, 0.05 * width)))
    face = features(width, height)
    beside = width - max(right, face.left) - 2 * size
    room, top = (beside, size) if beside >= 0.5 * width else (width - 2 * size, bottom + size // 2)
    image = _boxed(text, size, room, face.top - top)
    return Patch(width - image.width - size, top, np.asarray(image))


def _boxed(text: str, size: int, width: int, height: int) -> Image.Image:
    """``text`` in a box of that width and height at most, in letters of ``size`` or, if it must be, smaller ones."""

    def rows(size: int) -> int:
        return (height - size) // line_height(font(size, text))

    def fits(size: int) -> bool:
        return len(wrap(text, font(size, text), width - 2 * size)) <= rows(size)

    size = largest(size, _SMALLEST, fits)
    letters, room = font(size, text), width - 2 * size
    lines = balanced(text, letters, room)
    if len(lines) > rows(size):
        lines = wrap(text, letters, room - length(letters, "…"))[: max(rows(size), 1)]
        lines[-1] += "…"
    return lettered(lines, letters, _NOTICE, size)


def _bar_color(number: int) -> Color:
    share = (number + 1) / SEGMENTS
    return _RED if share > 0.95 else _YELLOW if share > 0.75 else _GREEN


def _microphone(shape: Shape) -> None:
    shape.bar(0.34, 0.02, 0.66, 0.60)
    shape.arc(0.5, 0.42, 0.34, 0, 180)
    shape.bar(0.46, 0.74, 0.54, 0.96)
    shape.bar(0.28, 0.90, 0.72, 0.99)


def _ear(shape: Shape) -> None:
    """Sound arriving: three bars that differ."""
    for left, top in ((0.08, 0.32), (0.30, 0.08), (0.52, 0.20), (0.74, 0.36)):
        shape.bar(left, top, left + 0.14, 1 - top)


def _dots(shape: Shape) -> None:
    for x in (0.15, 0.5, 0.85):
        shape.disc(x, 0.5, 0.13)


def _loudspeaker(shape: Shape) -> None:
    shape.polygon((0.02, 0.34), (0.22, 0.34), (0.48, 0.10), (0.48, 0.90), (0.22, 0.66), (0.02, 0.66))
    shape.arc(0.46, 0.5, 0.28, -50, 50)
    shape.arc(0.46, 0.5, 0.48, -50, 50)


_STATES: dict[str, tuple[str, Color, Callable[[Shape], None]]] = {  # word, colour and shape
    "listening": ("Listening", (110, 205, 140), _microphone),
    "hearing": ("I hear you", (120, 240, 150), _ear),
    "thinking": ("Thinking", (245, 200, 90), _dots),
    "speaking": ("Speaking", (125, 190, 255), _loudspeaker),
}
