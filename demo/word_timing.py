"""Which words of a sentence have been said at a moment of its sound, told from the letters alone.

A voice does not say when it speaks which word, so a sentence's time is shared out among its words: by letters, by what
figures and signs are long for when read aloud, and by the pauses that punctuation makes.
"""

import functools
import re
import unicodedata

_UNIT = re.compile("[\u1100-\u11ff\u2e80-\u9fff\uf900-\ufaff\U00020000-\U0003ffff][^\\w\\s]*|\\S+")  # or a word
_SYLLABLES = re.compile("[\u1100-\u11ff\u2e80-\ufaff\U00020000-\U0003ffff]")  # each letter is one, or more
_SYLLABLE, _FIGURE, _SIGN = 3.5, 5.0, 6.0  # letters' worth
_WORD = 1.5  # that every word takes beside its letters
_PAUSES = dict.fromkeys(",;:，、；：–—", 6.0) | dict.fromkeys(".!?…。！？", 5.0)
LETTERS_A_SECOND = 21.0  # of a voice that has not yet been heard to the end of a sentence


def spoken_letters(text: str, share: float) -> int:
    """How many of the letters of ``text``, spaces left out, belong to words begun after that ``share`` of its time."""
    if share >= 1:
        return sum(count for count, _ in _units(text))
    reached, shown = share * weight(text), 0
    begun = 0.0
    for count, lasting in _units(text):
        if begun > reached:
            break
        shown += count
        begun += lasting
    return shown


def weight(text: str) -> float:
    """How long ``text`` takes to say, in letters."""
    return sum(lasting for _, lasting in _units(text))


@functools.lru_cache(maxsize=16)
def _units(text: str) -> tuple[tuple[int, float], ...]:
    """The words, or the syllables of scripts without spaces: letters of each, and how long each lasts."""
    units = _UNIT.findall(text)
    return tuple((len(unit), _WORD + sum(map(_letter, unit)) + _pause(unit)) for unit in units)


def _letter(letter: str) -> float:
    if _SYLLABLES.match(letter):
        return _SYLLABLE
    kind = unicodedata.category(letter)
    if kind.startswith("L"):
        return 1.0
    if kind.startswith("N"):
        return _FIGURE
    return _SIGN if kind in ("Sc", "Sm", "Po") and letter in "%&@$€£+=#" else 0.0


def _pause(unit: str) -> float:
    return max((_PAUSES.get(letter, 0.0) for letter in unit[1:] or unit), default=0.0)
