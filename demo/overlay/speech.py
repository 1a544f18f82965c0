"""What both sides say: the user's words in a box of their own, and below it the sentence being spoken.

Letters are never made smaller to fit: a long sentence is shown in pages that turn with the voice.
"""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from demo.overlay.lettering import Font, balanced, font, letters, line_height, tail, wrap
from demo.overlay.patch import Color, Patch, sheet

USER, REPLY = (178, 214, 255), (255, 255, 255)
_FRAME = (120, 165, 215, 255)  # around what the user says: the sides differ not in colour alone
_ALONE = 3  # rows of one side, while the other says nothing
_SHARED = 2  # and while both do: four fit between chin and lower edge


def caption_size(height: int) -> int:
    """Pixels of the letters in a picture ``height`` pixels high: legible from ten metres on a projector."""
    return max(13, math.ceil(height / 24))


@dataclass(frozen=True)
class Place:
    """Where captions may lie."""

    width: int  # of the picture, pixels
    height: int
    floor: int  # the row that the lowest box ends at

    @property
    def size(self) -> int:
        """Pixels of the letters."""
        return caption_size(self.height)

    @property
    def margin(self) -> int:
        """Pixels from a box's edge to its words."""
        return max(4, self.size // 2)

    @property
    def gap(self) -> int:
        """Pixels between the boxes of both sides."""
        return max(2, self.size // 6)

    @property
    def column(self) -> float:
        """Pixels that a line may be wide."""
        return min(0.94 * self.width, 1.7 * self.height) - 2 * self.margin


def lower_edge(width: int, height: int) -> Place:
    """Where the lowest caption of a picture goes."""
    return Place(width, height, height - round(0.022 * height))


def captions_top(width: int, height: int) -> int:
    """The first row that captions may take in a picture."""
    place = lower_edge(width, height)
    alone, shared = (_box_height(rows, font(place.size, ""), place.margin) for rows in (_ALONE, _SHARED))
    return place.floor - max(alone, 2 * shared + place.gap)


def user_box(text: str, answered: bool, place: Place) -> Patch | None:
    """What the user says: the last lines of it, as many as there is room for."""
    face = font(place.size, text)
    lines = tail(text, face, place.column, _SHARED if answered else _ALONE)
    return _box(lines, face, USER, place, outlined=True) if lines else None


class Reply:
    """One sentence of the avatar, cut into pages whose words appear one after another."""

    def __init__(self, text: str, asked: bool, place: Place) -> None:
        """``asked``: the user's words are shown, too."""
        self._place = place
        self._face = font(place.size, text)
        rows = _SHARED if asked else _ALONE
        lines = balanced(text, self._face, place.column)
        if len(lines) > rows:
            lines = wrap(text, self._face, place.column)
        self._pages = [lines[start : start + rows] for start in range(0, len(lines), rows)]
        self._shown = -1  # letters that have appeared
        self._patch: Patch | None = None  # of them
        self._made: dict[int, tuple[Patch, Patch]] = {}  # by page: with all of its words, and with none

    def patch(self, spoken: int | None) -> Patch | None:
        """The page being spoken, with the words begun. ``spoken`` letters are; None shows all of the first page.

        Words that were shown stay: what is said of them may be an estimate that is corrected later.
        """
        if not self._pages:
            return None
        if spoken is None:
            return self._page(0)[0]
        if spoken > self._shown or self._patch is None:
            self._shown = max(spoken, 0)
            self._patch = self._up_to_date()
        return self._patch

    @property
    def top(self) -> int:
        """The first row of its tallest page."""
        rows = max(map(len, self._pages), default=0)
        return self._place.floor - _box_height(rows, self._face, self._place.margin)

    def _up_to_date(self) -> Patch:
        before = 0
        for number, lines in enumerate(self._pages):
            here = sum(map(letters, lines))
            if self._shown <= before + here or number == len(self._pages) - 1:
                break
            before += here
        return self._partly(number, self._shown - before)

    def _partly(self, number: int, count: int) -> Patch:
        full, empty = self._page(number)
        pixels = empty.pixels.copy()
        top = self._place.margin // 2
        for line in self._pages[number]:
            high = line_height(self._face)
            width = self._prefix(line, count)
            end = pixels.shape[1] if width is None else round(self._place.margin + width)
            pixels[top : top + high, :end] = full.pixels[top : top + high, :end]
            count -= letters(line)
            top += high
            if count <= 0:
                break
        return Patch(full.left, full.top, pixels)

    def _prefix(self, line: str, count: int) -> float | None:
        """Pixels that the first ``count`` letters of a line take, None for all of it."""
        if count >= letters(line):
            return None
        end = 0
        while count > 0:
            count -= not line[end].isspace()
            end += 1
        return float(self._face.getlength(line[:end]))

    def _page(self, number: int) -> tuple[Patch, Patch]:
        if number not in self._made:
            lines = self._pages[number]
            full = _box(lines, self._face, REPLY, self._place, centred=False)
            rows, columns = full.pixels.shape[:2]
            empty = np.asarray(sheet(columns, rows, self._place.margin)[0])
            self._made = {number: (full, Patch(full.left, full.top, empty))}
        return self._made[number]


def _box(
    lines: list[str], face: Font, color: Color, place: Place, *, centred: bool = True, outlined: bool = False
) -> Patch:
    """Lines on a dark sheet that ends at the place's floor."""
    image = lettered(lines, face, color, place.margin, centred=centred)
    if outlined:
        edge = (0, 0, image.width - 1, image.height - 1)
        width = max(1, place.size // 14)
        ImageDraw.Draw(image).rounded_rectangle(edge, place.margin, outline=_FRAME, width=width)
    return Patch((place.width - image.width) // 2, place.floor - image.height, np.asarray(image))


def lettered(lines: list[str], face: Font, color: Color, margin: int, *, centred: bool = True) -> Image.Image:
    """Lines on a dark sheet."""
    wide = math.ceil(max(face.getlength(line) for line in lines)) + 2 * margin
    image, draw = sheet(wide, _box_height(len(lines), face, margin), radius=margin)
    x, anchor = (wide / 2, "mm") if centred else (margin, "lm")
    for number, line in enumerate(lines):
        y = margin // 2 + (number + 0.5) * line_height(face)
        draw.text((x, y), line, font=face, fill=(*color, 255), anchor=anchor)
    return image


def _box_height(rows: int, face: Font, margin: int) -> int:
    return rows * line_height(face) + 2 * (margin // 2)
