"""One phone inventory for every voice, and the maps from the alphabets that the synthesizers speak.

Names are ARPAbet in lower case with ``ax`` for schwa and ``sil`` for silence. Times are seconds of the sound.
"""

import dataclasses
import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

SILENCE = "sil"
VOWELS = frozenset(["aa", "ae", "ah", "ao", "aw", "ax", "ay", "eh", "er", "ey", "ih", "iy", "ow", "oy", "uh", "uw"])
BILABIALS = frozenset(["m", "b", "p"])
LABIODENTALS = frozenset(["f", "v"])
ROUNDED = frozenset(["uw", "ow", "w"])
STOPS = frozenset(["p", "b", "t", "d", "k", "g"])
CONSONANTS = frozenset(
    [
        "b",
        "ch",
        "d",
        "dh",
        "f",
        "g",
        "hh",
        "jh",
        "k",
        "l",
        "m",
        "n",
        "ng",
        "p",
        "r",
        "s",
        "sh",
        "t",
        "th",
        "v",
        "w",
        "y",
        "z",
        "zh",
    ]
)
INVENTORY = (SILENCE, *sorted(VOWELS | CONSONANTS))

UNSTRESSED, SECONDARY, STRESSED = 0, 1, 2

# What the alphabets of misaki (hibari, Kokoro) and espeak-ng write, longest symbol first when read.
IPA = {
    "eɪ": "ey", "aɪ": "ay", "ɔɪ": "oy", "aʊ": "aw", "oʊ": "ow", "əʊ": "ow", "tʃ": "ch", "dʒ": "jh",
    "aɪə": "ay ax", "aʊə": "aw ax", "iə": "iy ax", "əl": "ax l",
    "A": "ey", "I": "ay", "Y": "oy", "W": "aw", "O": "ow", "Q": "ow", "ʧ": "ch", "ʤ": "jh", "T": "d", "ᵊ": "ax",
    "ɑ": "aa", "a": "ae", "ɒ": "aa", "æ": "ae", "ʌ": "ah", "ɐ": "ax", "ə": "ax", "ɔ": "ao", "o": "ow", "e": "eh",
    "ɛ": "eh", "ɜ": "er", "ɜɹ": "er", "əɹ": "er", "ɚ": "er", "ɝ": "er", "ɪ": "ih", "ᵻ": "ih", "i": "iy", "ʊ": "uh",
    "u": "uw", "ɨ": "ih", "ʉ": "uw", "ø": "er", "œ": "er", "y": "uw",
    "b": "b", "d": "d", "f": "f", "ɡ": "g", "g": "g", "h": "hh", "j": "y", "k": "k", "l": "l", "ɫ": "l", "m": "m",
    "n": "n", "ŋ": "ng", "p": "p", "ɹ": "r", "r": "r", "ɾ": "d", "s": "s", "ʃ": "sh", "t": "t", "ʔ": "t", "θ": "th",
    "ð": "dh", "v": "v", "w": "w", "ʍ": "w", "x": "k", "z": "z", "ʒ": "zh", "ɬ": "l", "ɣ": "g", "ç": "hh",
}  # fmt: skip
_IPA_SYMBOL = re.compile("|".join(sorted(IPA, key=len, reverse=True)) + "|.", re.DOTALL)
_IPA_MARKS = frozenset("ˈˌːˑ̩̃ʰʲ̪̯͡ ‍-'")
_IPA_LENGTHENERS = frozenset("ːˑ̩̃ʰʲ̪̯͡")
_CMU_NAMES = {
    "pau": SILENCE,
    "h#": SILENCE,
    "brth": SILENCE,
    "axr": "er",
    "dx": "d",
    "el": "l",
    "en": "n",
    "em": "m",
    "nx": "n",
}


@dataclass(frozen=True)
class Phone:
    """A phone and when it sounds."""

    name: str  # of INVENTORY
    start: float  # seconds
    end: float  # seconds
    stress: int = UNSTRESSED  # of the syllable; only vowels carry it

    @property
    def seconds(self) -> float:
        """How long it sounds."""
        return self.end - self.start

    def moved(self, shift: float, scale: float = 1.0) -> "Phone":
        """The phone in a recording played ``scale`` times as long that begins ``shift`` seconds later."""
        return dataclasses.replace(self, start=self.start * scale + shift, end=self.end * scale + shift)


def from_ipa(symbols: str) -> list[str]:
    """The phones of a string of IPA symbols; marks of stress and length are passed over.

    Raises ValueError at a symbol that neither misaki's alphabet nor espeak's English writes.
    """
    names: list[str] = []
    for symbol in _IPA_SYMBOL.findall(symbols):
        if symbol in IPA:
            names += IPA[symbol].split()
        elif symbol not in _IPA_MARKS:
            raise ValueError(f"no phone for the symbol {symbol!r} in {symbols!r}")
    return names


def timed_ipa(symbols: str, edges: Sequence[float] | np.ndarray) -> list[Phone]:
    """The phones of ``symbols`` (IPA, marks, spaces and punctuation), number i from edges[i] to [i + 1].

    The time of a mark of stress goes to the phone that follows, that of length to the phone before; all else is
    silence. Raises ValueError at a letter that is none of the alphabet's.
    """
    phones: list[Phone] = []
    begun: float | None = None
    for match in _IPA_SYMBOL.finditer(symbols):
        start, end = float(edges[match.start()]), float(edges[match.end()])
        if match[0] in IPA:
            phones += share_out(IPA[match[0]].split(), start if begun is None else begun, end)
            begun = None
        elif match[0] in "ˈˌ":
            begun = start
        elif match[0] in _IPA_LENGTHENERS and phones:
            phones[-1] = dataclasses.replace(phones[-1], end=end)
        elif match[0].isalpha():
            raise ValueError(f"no phone for the symbol {match[0]!r} in {symbols!r}")
        else:
            phones.append(Phone(SILENCE, start, end))
    return phones


def from_cmu(name: str) -> str:
    """The phone of a name in the set of flite's and festival's English voices. Raises ValueError for a foreign one."""
    name = _CMU_NAMES.get(name, name)
    if name not in INVENTORY:
        raise ValueError(f"no phone for the CMU name {name!r}")
    return name


def share_out(names: Sequence[str], start: float, end: float, stress: int = UNSTRESSED) -> list[Phone]:
    """``names`` one after another over [start, end], a vowel taking three parts of the time to a consonant's two."""
    parts = [3 if name in VOWELS else 2 for name in names]
    phones, at = [], start
    for name, part in zip(names, parts, strict=True):
        until = at + (end - start) * part / sum(parts)
        phones.append(Phone(name, at, until, stress if name in VOWELS else UNSTRESSED))
        at = until
    return phones


def merge_silences(phones: Iterable[Phone]) -> list[Phone]:
    """The same phones with neighbouring silences made one and empty phones left out."""
    merged: list[Phone] = []
    for phone in phones:
        if phone.seconds <= 0:
            continue
        if merged and phone.name == merged[-1].name == SILENCE:
            merged[-1] = dataclasses.replace(merged[-1], end=phone.end)
        else:
            merged.append(phone)
    return merged


def with_stress(phones: Sequence[Phone], pronunciation: str) -> list[Phone]:
    """``phones`` with the stress that a misaki ``pronunciation`` of the same words marks on its vowels.

    The two sequences are aligned, since a voice may pronounce a word in its own way. A vowel without a counterpart
    stays unstressed where it is a schwa and gets secondary stress elsewhere.
    """
    names, marks = _stressed_names(pronunciation)
    spoken = [index for index, phone in enumerate(phones) if phone.name != SILENCE]
    matcher = difflib.SequenceMatcher(a=[phones[i].name for i in spoken], b=names, autojunk=False)
    stress = {i: UNSTRESSED if phones[i].name == "ax" else SECONDARY for i in spoken}
    for tag, a, a_end, b, b_end in matcher.get_opcodes():
        if tag == "equal" or (tag == "replace" and a_end - a == b_end - b):
            stress.update(zip(spoken[a:a_end], marks[b:b_end], strict=True))
    return [
        dataclasses.replace(phone, stress=stress[index]) if phone.name in VOWELS else phone
        for index, phone in enumerate(phones)
    ]


def _stressed_names(pronunciation: str) -> tuple[list[str], list[int]]:
    names: list[str] = []
    marks: list[int] = []
    for mark, symbols in re.findall(r"([ˈˌ]?)([^ˈˌ]+)", pronunciation):
        stress = {"ˈ": STRESSED, "ˌ": SECONDARY}.get(mark, UNSTRESSED)
        for name in from_ipa("".join(c for c in symbols if c not in ';:,.!?—…"()“”')):
            names.append(name)
            marks.append(stress if name in VOWELS else UNSTRESSED)
            stress = UNSTRESSED if name in VOWELS else stress
    return names, marks
