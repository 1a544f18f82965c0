"""Small images over the picture, and the sheets and shapes they are made of."""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

Color = tuple[int, int, int]  # sRGB

SHADE = (10, 12, 16, 168)  # behind letters: dark enough for white ones on any backdrop
_FINER = 4  # shapes are drawn that much larger and reduced, for smooth edges


@dataclass(frozen=True, eq=False)
class Patch:
    """A small image lying over the picture. A new image is a new patch."""

    left: int  # pixels from the picture's left edge
    top: int  # pixels from the picture's top edge
    pixels: np.ndarray  # uint8 [H, W, 4], sRGB and straight alpha, top row first

    @property
    def right(self) -> int:
        """The first column to its right."""
        return self.left + self.pixels.shape[1]

    @property
    def bottom(self) -> int:
        """The first row below it."""
        return self.top + self.pixels.shape[0]


def sheet(
    width: int, height: int, radius: int, shade: tuple[int, int, int, int] = SHADE
) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """A dark sheet with round corners, to write on."""
    image = Image.new("RGBA", (width, height), (*shade[:3], 0))
    draw = ImageDraw.Draw(image)
    draw.rounded_rectangle((0, 0, width - 1, height - 1), radius, fill=shade)
    return image, draw


class Shape:
    """A square of smooth shapes, drawn in units of its side."""

    def __init__(self, side: int, color: Color) -> None:
        """``side`` in pixels."""
        self._side = side
        self._scale = side * _FINER
        self._mask = Image.new("L", (self._scale, self._scale), 0)
        self._draw = ImageDraw.Draw(self._mask)
        self._color = color

    def disc(self, x: float, y: float, radius: float) -> None:
        """A filled circle."""
        self._draw.ellipse(self._box(x - radius, y - radius, x + radius, y + radius), fill=255)

    def bar(self, left: float, top: float, right: float, bottom: float) -> None:
        """A filled bar whose narrow ends are round."""
        radius = min(right - left, bottom - top) * self._scale / 2
        self._draw.rounded_rectangle(self._box(left, top, right, bottom), radius, fill=255)

    def polygon(self, *corners: tuple[float, float]) -> None:
        """A filled polygon."""
        self._draw.polygon([(x * self._scale, y * self._scale) for x, y in corners], fill=255)

    def arc(self, x: float, y: float, radius: float, start: float, end: float, width: float = 0.08) -> None:
        """Part of a circle, in degrees clockwise from the right."""
        box = self._box(x - radius, y - radius, x + radius, y + radius)
        self._draw.arc(box, start, end, fill=255, width=round(width * self._scale))

    def stroke(self, *line: tuple[float, float], width: float = 0.1, gap: float = 0.0) -> None:
        """A line; with ``gap`` free space is cut out around it first."""
        points = [(x * self._scale, y * self._scale) for x, y in line]
        if gap:
            self._draw.line(points, fill=0, width=round((width + 2 * gap) * self._scale))
        self._draw.line(points, fill=255, width=round(width * self._scale))

    def lay_on(self, image: Image.Image, left: float, top: float) -> None:
        """Lay the shapes on ``image``."""
        mask = self._mask.resize((self._side, self._side), Image.Resampling.LANCZOS)
        image.paste((*self._color, 255), (round(left), round(top)), mask)

    def _box(self, left: float, top: float, right: float, bottom: float) -> tuple[float, float, float, float]:
        return left * self._scale, top * self._scale, right * self._scale, bottom * self._scale
