"""Tables over the picture: what the keys do, and what was measured."""

from collections.abc import Sequence

import numpy as np

from demo.overlay.lettering import Font, font
from demo.overlay.patch import Color, Patch, sheet

_LEFT, _RIGHT, _TITLE = (245, 205, 110), (255, 255, 255), (160, 200, 250)
_OPAQUE = (10, 12, 16, 225)
_LINE = 1.4  # line height in font sizes

Rows = Sequence[tuple[str, str]]


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
    return max(font(size, text).getlength(text) for text in texts)


def _table(rows: Rows, size: int, shade: tuple[int, int, int, int], title: str = "") -> np.ndarray:
    left, right = _columns(rows, size)
    high = round(_LINE * size)
    lines = len(rows) + (1.4 if title else 0)
    image, draw = sheet(round(left + right + 3 * size), round(lines * high) + size, size // 2, shade)

    def write(x: float, y: float, text: str, color: Color) -> None:
        face: Font = font(size, text)
        draw.text((x, y), text, font=face, fill=(*color, 255), anchor="lm")

    y = size / 2 + high / 2
    if title:
        write(size, y, title, _TITLE)
        y += 1.4 * high
    for name, value in rows:
        write(size, y, name, _LEFT)
        write(2 * size + left, y, value, _RIGHT)
        y += high
    return np.asarray(image)
