"""Words and signs over the picture: what was said, by whom, and what the avatar is doing.

Everything is drawn once, when it changes, into small images that the renderer lays over the picture, so that window and
recording show the same. Captions keep to the lower quarter, below the chin.
"""

import functools
import importlib.util
import logging
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

log = logging.getLogger(__name__)

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_STATES = {  # word shown, sRGB of its sign
    "idle": ("", (150, 160, 170)),
    "listening": ("Listening", (110, 205, 140)),
    "hearing": ("I hear you", (120, 240, 150)),
    "thinking": ("Thinking", (245, 200, 90)),
    "speaking": ("Speaking", (110, 180, 250)),
}
_USER, _REPLY, _NOTICE = (190, 205, 220), (255, 255, 255), (250, 215, 140)
_SHADE = (10, 12, 16, 150)
_LINE = 1.28  # line height in font sizes
_EASTERN = re.compile("[\u2e80-\ufaff\uff00-\uffef\U00020000-\U0003ffff]")  # letters that need a font of their own


@dataclass(frozen=True)
class Captions:
    """What the overlay says; empty strings are not shown."""

    state: str = "idle"  # idle, listening, hearing, thinking or speaking
    user: str = ""  # what the user said, or seems to be saying
    reply: str = ""  # the sentence being spoken
    notice: str = ""  # a line for the operator


@dataclass(frozen=True, eq=False)
class Patch:
    """A small image lying over the picture. A new image is a new patch."""

    left: int  # pixels from the picture's left edge
    top: int  # pixels from the picture's top edge
    pixels: np.ndarray  # uint8 [H, W, 4], sRGB and straight alpha, top row first


class Overlay:
    """Turns captions into patches, and remembers them until something changes."""

    def __init__(self) -> None:
        self._made: dict[str, tuple[object, Patch | None]] = {}  # by place: what it was made of, and the patch

    def patches(self, captions: Captions, width: int, height: int) -> list[Patch]:
        """The images for ``captions`` over a picture of ``width`` x ``height`` pixels."""
        size = width, height
        words = (captions.user, captions.reply)
        made = [
            self._once("state", (captions.state, size), lambda: _state_sign(captions.state, height)),
            self._once("notice", (captions.notice, size), lambda: _notice_line(captions.notice, width, height)),
            self._once("words", (words, size), lambda: _caption_box(*words, width, height)),
        ]
        return [patch for patch in made if patch is not None]

    def _once(self, place: str, made_of: object, make: Callable[[], Patch | None]) -> Patch | None:
        known = self._made.get(place)
        if known is None or known[0] != made_of:
            known = self._made[place] = (made_of, make())
        return known[1]


def _state_sign(state: str, height: int) -> Patch | None:
    word, color = _STATES.get(state, (state, _USER))
    if not word:
        return None
    size = max(11, round(height * 0.03))
    face = font(size, word)
    margin = size // 2
    wide, high = int(face.getlength(word)) + 3 * size, round(size * 1.9)
    image, draw = _sheet(wide, high, radius=high // 2)
    dot = size * 0.55
    draw.ellipse((margin + 2, (high - dot) / 2, margin + 2 + dot, (high + dot) / 2), fill=(*color, 255))
    draw.text((margin + 2 + dot + size * 0.5, high / 2), word, font=face, fill=(*color, 255), anchor="lm")
    return Patch(size, size, np.asarray(image))


def _notice_line(text: str, width: int, height: int) -> Patch | None:
    if not text:
        return None
    size = max(10, round(height * 0.026))
    face = font(size, text)
    lines = wrap(text, face, 0.62 * width)[:3]  # the sign in the other corner stays free
    image = _text_sheet([(line, face, _NOTICE) for line in lines], size)
    return Patch(width - image.width - size, size, np.asarray(image))


def _caption_box(user: str, reply: str, width: int, height: int) -> Patch | None:
    column = min(0.92 * width, 1.7 * height)
    large, small = max(13, round(height * 0.042)), max(11, round(height * 0.034))
    heard = _tail(wrap(user, font(small, user), column - 2 * small), 2 if reply else 3)
    said = _fitting(reply, large, column - 2 * large, 3)
    rows = [(line, font(small, line), _USER) for line in heard] + [(line, face, _REPLY) for line, face in said]
    if not rows:
        return None
    image = _text_sheet(rows, small)
    return Patch((width - image.width) // 2, height - image.height - round(height * 0.03), np.asarray(image))


def _fitting(text: str, size: int, width: float, lines: int) -> list[tuple[str, Font]]:
    """``text`` in the largest letters up to ``size`` that need no more than ``lines``, cut off if none do."""
    for letters in range(size, max(10, round(size * 0.62)), -1):
        face = font(letters, text)
        wrapped = wrap(text, face, width)
        if len(wrapped) <= lines:
            break
    if len(wrapped) > lines:
        wrapped = [*wrapped[: lines - 1], wrapped[lines - 1] + " …"]
    return [(line, face) for line in wrapped]


def _tail(lines: list[str], count: int) -> list[str]:
    """The last lines: of what is still being said, the newest words matter."""
    return lines if len(lines) <= count else ["… " + lines[-count], *lines[len(lines) - count + 1 :]]


def wrap(text: str, face: Font, width: float) -> list[str]:
    """``text`` in lines at most ``width`` pixels wide; words wider than that, or without spaces, are cut anywhere."""
    lines: list[str] = []
    line = ""
    for word in text.split():
        longer = f"{line} {word}" if line else word
        if face.getlength(longer) <= width:
            line = longer
            continue
        lines += [line] if line else []
        *whole, line = _cut(word, face, width)
        lines += whole
    return [*lines, line] if line else lines


def _cut(word: str, face: Font, width: float) -> list[str]:
    pieces = [""]
    for letter in word:
        if pieces[-1] and face.getlength(pieces[-1] + letter) > width:
            pieces.append("")
        pieces[-1] += letter
    return pieces


def _text_sheet(rows: list[tuple[str, Font, tuple[int, int, int]]], margin: int) -> Image.Image:
    """Centred lines on a dark sheet."""
    heights = [round(_size(face) * _LINE) for _, face, _ in rows]
    wide = int(max(face.getlength(line) for line, face, _ in rows)) + 2 * margin
    image, draw = _sheet(wide, sum(heights) + margin, radius=margin)
    top = margin / 2
    for (line, face, color), high in zip(rows, heights, strict=True):
        draw.text((wide / 2, top + high / 2), line, font=face, fill=(*color, 255), anchor="mm")
        top += high
    return image


def _sheet(width: int, height: int, radius: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("RGBA", (width, height), (*_SHADE[:3], 0))
    draw = ImageDraw.Draw(image)
    draw.rounded_rectangle((0, 0, width - 1, height - 1), radius, fill=_SHADE)
    return image, draw


def _size(face: Font) -> float:
    return face.size if isinstance(face, ImageFont.FreeTypeFont) else 11.0


def font(size: int, text: str) -> Font:
    """A typeface that has the letters of ``text``, ``size`` pixels high."""
    return _load(size, bool(_EASTERN.search(text)))


@functools.lru_cache(maxsize=64)
def _load(size: int, eastern: bool) -> Font:
    for path in _eastern_fonts() if eastern else _western_fonts():
        if path.exists():
            return ImageFont.truetype(str(path), size)
    if eastern:
        log.warning(
            "No font with Chinese, Japanese or Korean letters was found; install one, for example fonts-noto-cjk."
        )
        return _load(size, False)
    return ImageFont.load_default(size)


def _western_fonts() -> list[Path]:
    pyrender = importlib.util.find_spec("pyrender")  # brings Open Sans along; only looked for, not imported
    folders = pyrender.submodule_search_locations if pyrender else None
    return [Path(folder) / "fonts" / "OpenSans-Semibold.ttf" for folder in folders or ()]


def _eastern_fonts() -> list[Path]:
    if sys.platform == "win32":
        return [Path("C:/Windows/Fonts") / name for name in ("malgun.ttf", "msyh.ttc", "YuGothM.ttc", "simsun.ttc")]
    if sys.platform == "darwin":
        folder = Path("/System/Library/Fonts")
        return [folder / "AppleSDGothicNeo.ttc", folder / "PingFang.ttc", folder / "Hiragino Sans GB.ttc"]
    folder = Path("/usr/share/fonts")
    names = ("opentype/noto/NotoSansCJK-Regular.ttc", "noto-cjk/NotoSansCJK-Regular.ttc")
    return [folder / name for name in (*names, "truetype/nanum/NanumGothic.ttf", "truetype/wqy/wqy-zenhei.ttc")]
