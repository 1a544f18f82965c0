"""Letters: typefaces that have them, and text broken into lines."""

import functools
import importlib.util
import logging
import re
import sys
from bisect import bisect_left
from collections.abc import Callable
from pathlib import Path

from PIL import ImageFont

log = logging.getLogger(__name__)

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

LINE = 1.28  # line height in font sizes
_EASTERN = re.compile("[\u1100-\u11ff\u2e80-\ufaff\uff00-\uffef\U00020000-\U0003ffff]")  # they need another font
_KOREAN = re.compile("[\u1100-\u11ff\u3130-\u318f\uac00-\ud7af]")
_SAMPLES = {"Korean": "한", "Chinese": "中", "western": "A"}
_NO_START = frozenset("，。、！？；：）」』”’…,.!?;:)")  # does not begin a line


def font(size: int, text: str) -> Font:
    """A typeface that has the letters of ``text``, ``size`` pixels high."""
    script = "Korean" if _KOREAN.search(text) else "Chinese" if _EASTERN.search(text) else "western"
    return _load(size, script)


def largest(most: int, least: int, fits: Callable[[int], bool]) -> int:
    """The largest letters, of ``most`` pixels or fewer, that fit; ``least`` where none do."""
    sizes = range(most, least, -1)
    place = bisect_left(sizes, True, key=fits)
    return sizes[place] if place < len(sizes) else least


def line_height(face: Font) -> int:
    """Pixels from one line to the next."""
    return round((face.size if isinstance(face, ImageFont.FreeTypeFont) else 11.0) * LINE)


def wrap(text: str, face: Font, width: float) -> list[str]:
    """``text`` in lines at most ``width`` pixels wide; words wider than that, or without spaces, are cut anywhere."""
    lines: list[str] = []
    line, taken = "", 0.0
    space = length(face, " ")
    for word in text.split():
        needed = length(face, word)
        if line and taken + space + needed <= width:
            line, taken = f"{line} {word}", taken + space + needed
            continue
        lines += [line] if line else []
        *whole, line = [word] if needed <= width else _cut(word, face, width)
        lines += whole
        taken = length(face, line)
    return [*lines, line] if line else lines


@functools.lru_cache(maxsize=4096)
def length(face: Font, text: str) -> float:
    """Pixels from the beginning to the end of ``text``; asked for again and again while lines are broken."""
    return float(face.getlength(text))


def balanced(text: str, face: Font, width: float) -> list[str]:
    """The same in as many lines, about equally long, so that no last word stands alone."""
    lines = wrap(text, face, width)
    low, high = 0.5 * width, width
    while len(lines) > 1 and high - low > 0.02 * width:
        middle = (low + high) / 2
        narrower = wrap(text, face, middle)
        low, high = (low, middle) if len(narrower) == len(lines) else (middle, high)
        lines = narrower if len(narrower) == len(lines) else lines
    return lines


def tail(text: str, face: Font, width: float, count: int) -> list[str]:
    """The last ``count`` lines of ``text``: of what is still being said, the newest words matter."""

    lines = balanced(text, face, width)
    if len(lines) <= count:
        return lines
    first, *others = wrap(text, face, width - face.getlength("… "))[-count:]
    return ["… " + first, *others]


def letters(text: str) -> int:
    """How many characters are to be seen, spaces left out."""
    return sum(not letter.isspace() for letter in text)


def _cut(word: str, face: Font, width: float) -> list[str]:
    pieces, taken = [""], 0.0
    for letter in word:
        needed = length(face, letter)
        full = bool(pieces[-1]) and taken + needed > width
        if full and letter in _NO_START and len(pieces[-1]) > 1:
            pieces[-1], letter = pieces[-1][:-1], pieces[-1][-1] + letter
        if full:
            pieces.append("")
            taken, needed = 0.0, length(face, letter)
        pieces[-1] += letter
        taken += needed
    return pieces


@functools.lru_cache(maxsize=64)
def _load(size: int, script: str) -> Font:
    for path in _western_fonts() if script == "western" else _eastern_fonts():
        if path.exists() and _has(face := ImageFont.truetype(str(path), size), _SAMPLES[script]):
            return face
    if script != "western":
        _tell_that_letters_are_missing(script)
        return _load(size, "western")
    return ImageFont.load_default(size)


def _has(face: ImageFont.FreeTypeFont, letter: str) -> bool:
    """Whether ``letter`` looks different from one that no font has."""
    return bytes(face.getmask(letter)) != bytes(face.getmask("\uffff"))


@functools.cache
def _tell_that_letters_are_missing(script: str) -> None:
    log.warning(
        "No font with %s letters was found, so captions show boxes; install one, on Debian or Ubuntu with "
        "'sudo apt-get install fonts-wqy-microhei'.",
        script,
    )


def _western_fonts() -> list[Path]:
    pyrender = importlib.util.find_spec("pyrender")  # brings Open Sans along; only looked for, not imported
    folders = pyrender.submodule_search_locations if pyrender else None
    return [Path(folder) / "fonts" / "OpenSans-Semibold.ttf" for folder in folders or ()]


def _eastern_fonts() -> list[Path]:
    """Where systems keep fonts with Chinese, Japanese or Korean letters; not each has all of them."""
    if sys.platform == "win32":
        names = ["malgunbd.ttf", "malgun.ttf", "msyhbd.ttc", "msyh.ttc", "YuGothM.ttc", "simsun.ttc"]
        return [Path("C:/Windows/Fonts") / name for name in names]
    if sys.platform == "darwin":
        names = ["AppleSDGothicNeo.ttc", "PingFang.ttc", "Hiragino Sans GB.ttc", "STHeiti Medium.ttc"]
        return [Path("/System/Library/Fonts") / name for name in names]
    names = ["opentype/noto/NotoSansCJK-Bold.ttc", "opentype/noto/NotoSansCJK-Regular.ttc"]
    names += ["google-noto-cjk/NotoSansCJK-Regular.ttc", "noto-cjk/NotoSansCJK-Regular.ttc"]
    names += ["truetype/nanum/NanumGothicBold.ttf", "truetype/nanum/NanumGothic.ttf"]
    names += ["truetype/wqy/wqy-microhei.ttc", "truetype/wqy/wqy-zenhei.ttc"]
    names += ["truetype/droid/DroidSansFallbackFull.ttf"]
    return [Path("/usr/share/fonts") / name for name in names]
