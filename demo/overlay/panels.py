"""Tables over the picture: what the keys do, and what was measured."""

import functools
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from demo.overlay.lettering import font, length
from demo.overlay.patch import Patch, sheet

_LEFT, _RIGHT, _TITLE = (245, 205, 110), (255, 255, 255), (160, 200, 250)
_OPAQUE = (10, 12, 16, 225)
_LINE = 1.4  # line height in font sizes

Rows = Sequence[tuple[str, str]]
Shade = tuple[int, int, int, int]


def help_screen(rows: Rows, width: int, height: int) -> Patch | None:
    """Keys and what they do, one line each, in the middle of the picture."""
    if not rows:
        return None
    size = _fitting(rows, max(11, round(height / 22)), 0.92 * width, 0.9 * height)
    pixels = _table(rows, size, _OPAQUE, "Keys")
    rows_high, columns = pixels.shape[:2]
    return Patch((width - columns) // 2, max(0, (height - rows_high) // 2), pixels)


def figures_panel(rows: Rows, width: int, height: int, left: int, top: int) -> Patch | None:
    """What was measured, small, below the signs."""
    if not rows:
        return None
    size = _fitting(rows, max(10, round(min(0.026 * height, 0.04 * width))), 0.6 * width, height - top)
    return Patch(left, top, _table(rows, size, (10, 12, 16, 190)))


def _fitting(rows: Rows, size: int, width: float, height: float) -> int:
    """The largest letters up to ``size`` with which the table fits, 7 pixels at least."""
    while size > 7 and (_width(rows, size) > width or (len(rows) + 2.4) * _LINE * size > height):
        size -= 1
    return size


def _width(rows: Rows, size: int) -> float:
    left, right = _columns(rows, size)
    return left + right + 3 * size


def _columns(rows: Rows, size: int) -> tuple[float, float]:
    """Pixels that the left and the right column need."""
    left, right = zip(*rows, strict=True)
    return _widest(left, size), _widest(right, size)


def _widest(texts: Sequence[str], size: int) -> float:
    return max(length(font(size, text), text) for text in texts)


def _table(rows: Rows, size: int, shade: Shade, title: str = "") -> np.ndarray:
    """Two columns on a dark sheet. Rows are made one by one: of figures few change at a time."""
    left, right = map(math.ceil, _columns(rows, size))
    high, above = round(_LINE * size), round(1.4 * _LINE * size) if title else 0
    wide = left + right + 3 * size
    image, draw = sheet(wide, above + len(rows) * high + size, size // 2, shade)
    draw.text((size, size / 2 + above / 2.4), title, font=font(size, title), fill=(*_TITLE, 255), anchor="lm")
    pixels = np.array(image)
    for number, (name, value) in enumerate(rows):
        top = size // 2 + above + number * high
        pixels[top : top + high] = _row(name, value, size, 2 * size + left, (wide, high), shade)
    return pixels


@functools.lru_cache(maxsize=64)
def _row(name: str, value: str, size: int, column: int, extent: tuple[int, int], shade: Shade) -> np.ndarray:
    image = Image.new("RGBA", extent, shade)
    draw = ImageDraw.Draw(image)
    for x, text, color in ((size, name, _LEFT), (column, value, _RIGHT)):
        draw.text((x, extent[1] / 2), text, font=font(size, text), fill=(*color, 255), anchor="lm")
    return np.asarray(image)
