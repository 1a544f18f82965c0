"""Which of some written texts is nearest to what somebody said, as a speech recogniser wrote it down.

Words are compared by spelling (rapidfuzz) and, in English, by sound (jellyfish's Metaphone), so that "how many harts"
is "how many hearts"; two words may be one torn apart ("try ceratops"). A text is as near as the words that the two
share weigh against those they do not: words that many of the texts have weigh little, words that none of them has weigh
most, for they are what tells "how old is the Earth" from "how old is the Moon".
"""

import itertools
import re
import unicodedata
from collections.abc import Collection, Iterable, Sequence

import jellyfish
import numpy as np
from rapidfuzz import fuzz, process

ALIKE = 0.72  # words spelt less alike than this share nothing
SOUNDS_ALIKE, SPELT_AT_LEAST = 0.9, 0.5  # likeness of words that sound the same and are spelt at least so much alike
TORN_ALIKE, TORN_LETTERS = 0.85, 6  # two words that make one: how like it they are, and how long it is at least
SMALL_WORD, STRANGE_WORD = 0.12, 2.0  # weight of a word as "the", and of one that no text has; others are around 1
ALL_LETTERS = 0.3  # share of the likeness of the letters in a row, which knows nothing of words

# Words that tell little about what is asked. The words of questions (who, where, how) tell much.
_SMALL_WORDS = {
    "en": "a an the is are was were be been am do does did has have had of to in on at for with by from as or and any "
    "some ever very so much too also there here it its this that these those today i me my we us our you your he she "
    "they them not no may might can could would will shall should please just really if about into out up what",
    "de": "der die das den dem des ein eine einen einem einer ist sind war waren sein bin zu in im am an auf für mit "
    "von und oder es dies diese dieser hier da heute ich mir mich mein wir uns du dein sie er ihr nicht bitte denn "
    "mal so sehr was",
    "fr": "le la les l un une des du de d est sont était être à au aux dans en pour avec par et ou ce cet cette c "
    "ça ici il elle on je j me m mon nous vous tu te ton ne pas s y qu que quoi",
    "es": "el la los las un una unos unas es son era ser está están de del a al en por para con y o este esta esto "
    "ese aquí hoy yo me mi nos tú te tu usted se lo no qué que",
}

# What people say before and between what they ask.
_FILLERS = {
    "en": (
        r"(?:can|could|would|will) you (?:please |maybe )?(?:tell|explain|show)(?: to)? (?:me|us)(?: about)?",
        r"(?:do|would) you (?:happen to )?know",
        r"(?:i|we)(?: would|'d|) (?:want|like) to (?:know|ask)",
        r"(?:please )?tell (?:me|us)|excuse me|may i ask|you know",
        r"u+m+|u+h+|er+m?|a+h+|h+m+|oh|well|so|okay|ok|hey|please|now|and|then|just|really|actually|exactly|like",
    ),
    "de": (
        r"(?:kannst du|können sie) (?:mir |uns )?(?:bitte )?(?:mal )?(?:sagen|erklären)",
        r"(?:wissen sie|weißt du)|(?:ich|wir) (?:möchten?|würden?) gerne? wissen",
        r"ähm*|äh+|hm+|also|entschuldigung|bitte|mal|denn|eigentlich",
    ),
    "fr": (
        r"(?:pouvez-vous|peux-tu) (?:me|nous) dire|est-ce que|savez-vous|euh+|hm+|alors|donc|s'il vous plaît|pardon",
    ),
    "es": (r"(?:puede|puedes|podría) decir(?:me|nos)|sabe usted|eh+|em+|pues|bueno|por favor|perdone?",),
}
_SHORT_FORMS = (
    (re.compile(r"\b(what|who|where|when|how|why|that|it|there|here)'?s\b"), r"\1 is"),
    (re.compile(r"n't\b"), " not"),
    (re.compile(r"'re\b"), " are"),
    (re.compile(r"'m\b"), " am"),
    (re.compile(r"'(?:s|d|ll|ve)\b"), ""),
)
_LETTER_ALONE = re.compile(r"\b([b-hj-z]|a(?= [b-z]\b)) (?=\w)")  # "t rex", "a i", but not "a whale", "i am"
_PLURAL = re.compile(r"(?<=\w{2}[^sui])s$")
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W_]+")  # where words are not parted, a sign is one
_ACCENTS = re.compile(r"[\u0300-\u036f]")


def words_of(text: str, language: str = "en", ignored: Collection[str] = ()) -> list[str]:
    """The words of ``text`` that tell something, in one spelling; all of them where none does."""
    text = text.casefold().replace("’", "'")
    if language == "en":
        for pattern, long in _SHORT_FORMS:
            text = pattern.sub(long, text)
    text = text.replace("-", "")
    told = text
    for filler in _FILLERS.get(language, ()):
        told = re.sub(rf"(?<!\w)(?:{filler})(?!\w)", " ", told)
    words = _words(told, language)
    return [word for word in words if word not in ignored] or words or _words(text, language)


def _words(text: str, language: str) -> list[str]:
    plain = _ACCENTS.sub(
        "", unicodedata.normalize("NFKD", text)
    )  # Hangul becomes letters, so that endings count little
    if language == "en":
        plain = _LETTER_ALONE.sub(r"\1", " ".join(_WORD.findall(plain)))
        return [_PLURAL.sub("", word) for word in plain.split()]
    return _WORD.findall(plain)


class Retriever:
    """Likenesses of one question to N texts, all that can be prepared being prepared."""

    def __init__(self, texts: Sequence[str], language: str = "en", ignored: Iterable[str] = ()) -> None:
        """``ignored`` words tell nothing, as the name of who is asked."""
        self._language = language
        self._ignored = frozenset(word for each in ignored for word in words_of(each, language))
        self._small = frozenset(
            word for each in _SMALL_WORDS.get(language, "").split() for word in _words(each, language)
        )
        split = [words_of(text, language, self._ignored) for text in texts]
        self._known = sorted({word for words in split for word in words})
        self._sounds = np.array([self._sound(word) for word in self._known])
        self._has = np.array([[word in words for word in self._known] for words in map(set, split)], float)
        self._has = self._has.reshape(len(split), len(self._known))
        self._weights = self._weigh()
        self._in_a_row = ["".join(words) for words in split]

    def likeness(self, asked: str) -> np.ndarray:
        """How near each text is, [N] in [0, 1]: 1 for the same words."""
        words = words_of(asked, self._language, self._ignored)
        if not words or not self._known:
            return np.zeros(len(self._in_a_row))
        alike = self._alike(words)
        theirs = (self._has * self._weights * alike.max(0)).sum(1) / (self._has * self._weights).sum(1)
        letters = process.cdist(["".join(words)], self._in_a_row, scorer=fuzz.ratio)[0] / 100
        return (1 - ALL_LETTERS) * np.sqrt(self._told(words, alike) * theirs) + ALL_LETTERS * letters

    def coverage(self, asked: str) -> np.ndarray:
        """How much of what is asked each text speaks of, [N] in [0, 1]."""
        words = words_of(asked, self._language, self._ignored)
        if not words or not self._known:
            return np.zeros(len(self._in_a_row))
        return self._told(words, self._alike(words), small_word=SMALL_WORD / 10)

    def _weigh(self) -> np.ndarray:
        """The weight of each known word [W]."""
        rarity = np.sqrt(np.log((len(self._has) + 1) / (self._has.sum(0) + 0.5)))
        small = np.array([word in self._small for word in self._known], bool)
        return np.where(small, SMALL_WORD, rarity / max(rarity.mean() if len(rarity) else 1.0, 1e-6))

    def _told(self, words: list[str], alike: np.ndarray, small_word: float = SMALL_WORD) -> np.ndarray:
        """The share [N] of the weight of ``words`` that each text has, ``alike`` [words, W] the known ones."""
        small = np.array([word in self._small for word in words], bool)
        known = np.where(small, small_word, self._weights[alike.argmax(1)])
        missing = np.where(small, small_word, np.where(alike.max(1) == 1, known, STRANGE_WORD))
        found = (alike[:, None] * self._has).max(2)  # [words, N]
        shared = (known[:, None] * found).sum(0)
        return shared / (shared + (missing[:, None] * (1 - found)).sum(0))

    def _alike(self, words: list[str]) -> np.ndarray:
        """How alike each of ``words`` is to each known one, [words, W]."""
        alike = self._spelt_alike(words)
        if len(words) > 1:
            torn = self._spelt_alike([first + second for first, second in itertools.pairwise(words)])
            long = [len(word) >= TORN_LETTERS for word in self._known]
            torn = np.where((torn >= TORN_ALIKE) & np.array(long), torn, 0.0)
            alike[:-1], alike[1:] = np.maximum(alike[:-1], torn), np.maximum(alike[1:], torn)
        return alike

    def _spelt_alike(self, words: list[str]) -> np.ndarray:
        alike = process.cdist(words, self._known, scorer=fuzz.ratio) / 100
        short = np.minimum.outer([len(word) for word in words], [len(word) for word in self._known]) < 4
        heard = np.array([self._sound(word) for word in words])[:, None]
        same = (heard == self._sounds) & (heard != "") & (alike >= SPELT_AT_LEAST)
        alike = np.where(short & (alike < 1), 0.0, alike)  # one letter of three makes another word
        alike = np.where(same, np.maximum(alike, SOUNDS_ALIKE), alike)
        return np.where(alike >= ALIKE, alike, 0.0)

    def _sound(self, word: str) -> str:
        """How an English word sounds; empty where that tells too little."""
        if self._language != "en" or len(word) < 3 or word in self._small or not word.isascii():
            return ""
        sound = jellyfish.metaphone(word)
        return sound if len(sound) > 1 else ""
