"""Whether a sentence is fit to be said and shown where children listen: no abuse, no obscenity, however disguised.

Words are read as a person reads them: look-alikes of other alphabets (by the Unicode Consortium's table, in
confusable-homoglyphs), figures and signs for letters (sh1t, a$$), letters apart (s h i t, s.h.i.t), letters drawn out
(shiiit) or hidden (sh*t), accents. What is found is compared with a list (assets/decency/words.txt) word by word, and
only what is never part of a decent word is looked for inside words, so that Scunthorpe stays where it is.
"""

import codecs
import functools
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rapidfuzz import fuzz, process

from demo.languages import language_of

WORDS = Path(__file__).resolve().parent.parent / "assets" / "decency" / "words.txt"
MISSPELT, MISSPELT_LETTERS = 90, 8  # likeness in % that gives a misspelt long word away, and what is long
BETWEEN = 2  # words that a ~ of a phrase may stand for

_FIGURES = str.maketrans("013456789@$!|+€£¡", "oieasgtbgasiiteli")  # what stands for a letter
_ONE_AS_L = str.maketrans("1!|", "lll")
_DENIALS = "not|never|no|nicht|kein|keine|nie|pas|jamais|nunca"  # "you are not stupid" is a kindness
_SHORT_FORMS = (("you're", "you are"), (" ur ", " your "), (" u ", " you "), ("i'll", "i will"))
_TOKEN = re.compile(r"[^\s,;:()\[\]{}\"“”«»„?¿…/]+")
_TRAILING = ".!'’*-_+|"
_LONG_RUN = re.compile(r"(.)\1{2,}")
_APART = re.compile(r"(?<!\w)(?:[^\W\d_][\s.\-_*·,]{1,2}){2,}[^\W\d_](?!\w)")


@dataclass(frozen=True)
class _Lists:
    """One language's list, ready for comparison."""

    words: frozenset[str]
    hideable: frozenset[str]  # also what only begins or contains others
    stems: re.Pattern[str]  # what begins or contains them
    long: tuple[str, ...]  # words worth comparing letter by letter
    phrases: re.Pattern[str]
    fine: re.Pattern[str]


class Decency:
    """Reads sentences in one language; English abuse is understood in all of them."""

    def __init__(self, lang: str = "en") -> None:
        self._lists = _lists(language_of(lang))

    def is_clean(self, text: str) -> bool:
        """Whether ``text`` can be said to anybody."""
        return not self.findings(text)

    def findings(self, text: str) -> list[str]:
        """What is wrong with ``text``: words as they stand there, then phrases as they are read."""
        readable = self._lists.fine.sub(" ", _letters(text))
        found = [token for token in _TOKEN.findall(readable) if self._is_bad(token)]
        found += [run for run in _APART.findall(readable) if self._is_listed("".join(filter(str.isalpha, run)))]
        return found + [match.group().strip() for match in self._lists.phrases.finditer(_in_words(readable))]

    def masked(self, text: str) -> str:
        """``text`` for the screen: unchanged where it is clean, else an ellipsis."""
        return text if self.is_clean(text) else "…"

    def _is_bad(self, token: str) -> bool:
        return any(self._is_listed(word) for word in _readings(token)) or self._is_hidden(token)

    def _is_listed(self, word: str) -> bool:
        if word in self._lists.words or self._lists.stems.search(word):
            return True
        if len(word) < MISSPELT_LETTERS:
            return False
        return process.extractOne(word, self._lists.long, scorer=fuzz.ratio, score_cutoff=MISSPELT) is not None

    def _is_hidden(self, token: str) -> bool:
        """Whether stars in ``token`` stand for the letters of a listed word."""
        token = token.strip(".,!?'")
        hidden = re.sub(r"[*#_%-]", ".", token)
        if not re.search(r"\w\.+\w", hidden) or hidden.count(".") * 2 > len(hidden) or "." in token:
            return False
        return any(len(word) == len(hidden) and re.fullmatch(hidden, word) for word in self._lists.hideable)


def _letters(text: str) -> str:
    """``text`` in small Latin letters without accents, as far as its signs look like some."""
    text = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    kept = (sign for sign in text if unicodedata.category(sign) not in ("Mn", "Cf", "Me"))
    return "".join(sign if sign.isascii() else _look_alike(sign) for sign in kept).replace("’", "'")


@functools.cache
def _look_alike(sign: str) -> str:
    """The small Latin letter that ``sign`` looks like, or ``sign``."""
    from confusable_homoglyphs.confusables import confusables_data

    likes = [like["c"].casefold() for like in confusables_data.get(sign, [])]
    return next((like for like in likes if like.isascii() and like.isalpha()), sign)


def _readings(token: str) -> Iterator[str]:
    """The words that ``token`` may be read as."""
    token = token.strip(_TRAILING)
    if not any(sign.isalpha() for sign in token):
        return
    for figures in (token.translate(_FIGURES), token.translate(_ONE_AS_L).translate(_FIGURES)):
        word = "".join(filter(str.isalnum, figures))
        yield word
        if _LONG_RUN.search(word):
            yield _LONG_RUN.sub(r"\1", word)
            yield _LONG_RUN.sub(r"\1\1", word)


def _in_words(text: str) -> str:
    """``text`` as words with one space between and around them, short forms in full."""
    text = f" {text} "
    for short, full in _SHORT_FORMS:
        text = text.replace(short, full)
    words = [re.sub(r"[^\w']", "", token.translate(_FIGURES)) for token in _TOKEN.findall(text)]
    return " " + " ".join(word for word in words if word) + " "


@functools.cache
def _lists(language: str) -> _Lists:
    """The list of ``language``, and the English one without the words that mean something else in it."""
    sections = _sections(codecs.encode(WORDS.read_text("utf-8").partition("\n[")[2], "rot13"))
    allowed = set(sections.get(f"{language} allowed", "").split())
    names = dict.fromkeys(("en", language))
    words = [word for name in names for word in sections.get(name, "").split() if word.strip("*") not in allowed]
    phrases = [phrase for name in names for phrase in _split(sections.get(f"{name} phrases", ""))]
    fine = [phrase for name in names for phrase in _split(sections.get(f"{name} fine", ""))]
    whole = frozenset(word for word in words if "*" not in word)
    return _Lists(
        whole | {f"{word}s" for word in whole if not word.endswith("s")},
        frozenset(word.strip("*") for word in words),
        re.compile("|".join(_stem(word) for word in words if "*" in word)),
        tuple(word.strip("*") for word in words if len(word.strip("*")) >= MISSPELT_LETTERS),
        re.compile("|".join(_in_a_row(phrase) for phrase in phrases)),
        re.compile("|".join(rf"(?<!\w){re.escape(each)}(?!\w)".replace(r"\ ", r"[\s-]+") for each in fine)),
    )


def _sections(text: str) -> dict[str, str]:
    parts = re.split(r"\]\n|\n\[", text)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def _split(phrases: str) -> Iterable[str]:
    return filter(None, (phrase.strip() for phrase in phrases.replace("\n", "|").split("|")))


def _stem(word: str) -> str:
    return ("" if word.startswith("*") else "^") + re.escape(word.strip("*")) + ("" if word.endswith("*") else "$")


def _in_a_row(phrase: str) -> str:
    between = rf"(?:(?!(?:{_DENIALS}) )\w+ ){{0,{BETWEEN}}}"
    return " " + "".join(between if word == "~" else re.escape(word) + " " for word in phrase.split())
