"""Tables over the picture: what the keys do, and what was measured."""

import functools
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from demo.look import features
from demo.overlay.lettering import font, largest, length
from demo.overlay.patch import Patch, sheet
from demo.overlay.speech import captions_top

_LEFT, _RIGHT, _TITLE = (245, 205, 110), (255, 255, 255), (160, 200, 250)
_OPAQUE, _DIM = (10, 12, 16, 225), (10, 12, 16, 190)
_HELP = "Keys"  # title of the help screen
_LINE = 1.4  # line height in font sizes

Rows = Sequence[tuple[str, str]]
Shade = tuple[int, int, int, int]


def help_screen(rows: Rows, width: int, height: int) -> Patch | None:
    """Keys and what they do, one line each, in the middle of the picture."""
    if not rows:
        return None
    size = _fitting(rows, max(11, round(height / 22)), round(0.92 * width), round(0.9 * height), _HELP)
    pixels = _table(rows, size, _OPAQUE, _HELP)
    rows_high, columns = pixels.shape[:2]
    return Patch((width - columns) // 2, max(0, (height - rows_high) // 2), pixels)


def figures_panel(rows: Rows, width: int, height: int, top: int) -> Patch | None:
    """What was measured, at the left edge from row ``top`` on, beside the face and above the captions.

    Its letters are smaller than all others: they are for an operator near the screen, and many rows have little room.
    """
    if not rows:
        return None
    left = max(2, round(0.012 * min(width, height)))
    room = features(width, height).left - 2 * left, captions_top(width, height) - top - left
    size = _fitting(rows, max(10, round(min(0.026 * height, 0.04 * width))), *room)
    return Patch(left, top, _table(rows, size, _DIM))


def _fitting(rows: Rows, size: int, width: int, height: int, title: str = "") -> int:
    """The largest letters up to ``size`` with which the table fits, 7 pixels at least."""
    return largest(size, 7, lambda size: _width(rows, size) <= width and _height(rows, size, title) <= height)


def _width(rows: Rows, size: int) -> int:
    return sum(_columns(rows, size)) + size + 2 * (size // 2)


def _height(rows: Rows, size: int, title: str) -> int:
    return _above(size, title) + len(rows) * round(_LINE * size) + size


def _above(size: int, title: str) -> int:
    """Pixels that the title takes."""
    return round(1.4 * _LINE * size) if title else 0


def _columns(rows: Rows, size: int) -> tuple[int, int]:
    """Pixels that the left and the right column need."""
    left, right = zip(*rows, strict=True)
    return _widest(left, size), _widest(right, size)


def _widest(texts: Sequence[str], size: int) -> int:
    return math.ceil(max(length(font(size, text), text) for text in texts))


def _table(rows: Rows, size: int, shade: Shade, title: str = "") -> np.ndarray:
    """Two columns on a dark sheet. Rows are made one by one: of figures few change at a time."""
    left, _ = _columns(rows, size)
    high, above = round(_LINE * size), _above(size, title)
    wide, edge = _width(rows, size), size // 2
    image, draw = sheet(wide, _height(rows, size, title), edge, shade)
    draw.text((edge, size / 2 + above / 2.4), title, font=font(size, title), fill=(*_TITLE, 255), anchor="lm")
    pixels = np.array(image)
    for number, (name, value) in enumerate(rows):
        top = size // 2 + above + number * high
        pixels[top : top + high] = _row(name, value, size, (edge, edge + left + size), (wide, high), shade)
    return pixels


@functools.lru_cache(maxsize=64)
def _row(
    name: str, value: str, size: int, columns: tuple[int, int], extent: tuple[int, int], shade: Shade
) -> np.ndarray:
    image = Image.new("RGBA", extent, shade)
    draw = ImageDraw.Draw(image)
    for x, text, color in ((columns[0], name, _LEFT), (columns[1], value, _RIGHT)):
        draw.text((x, extent[1] / 2), text, font=font(size, text), fill=(*color, 255), anchor="lm")
    return np.asarray(image)
