"""The mood of an answer, sentence by sentence: what a tag names, or else what words, signs and emoji tell.

Words are known in English; tags, emoji and exclamation marks work in every language.
"""

import re
from dataclasses import dataclass

from streamingtalker.mood import MOODS, NEUTRAL, Mood

# What language models call moods when they are asked to name them.
_NAMES = {
    "happy": "happy joy joyful cheerful excited enthusiastic amused smile smiles smiling laugh laughs laughing "
    "friendly warm playful glad proud",
    "serious": "serious stern firm angry earnest grave",
    "sad": "sad sorry apologetic sorrowful disappointed worried concerned sympathetic",
    "surprised": "surprised surprise amazed astonished shocked",
    NEUTRAL: "neutral calm",
}
_MOOD_OF = {word: mood for mood, words in _NAMES.items() for word in words.split()}
_TAG = re.compile(
    rf"\[\s*(?:(?:mood|emotion|tone)\s*[:=]\s*)?({'|'.join(_MOOD_OF)})(?:\s*[:=]\s*([01]?\.?\d+))?\s*\]\s*",
    re.IGNORECASE,
)
_TAG_INTENSITY = 0.8

# What gives a mood away. Of two moods with as many signs, the one that stands first here is taken.
_SIGNS = {
    mood: re.compile(signs, re.IGNORECASE)
    for mood, signs in {
        "surprised": r"\b(?:wow|whoa|oh my|gosh|goodness|incredibl[ey]|unbelievabl[ey]|astonish\w*|amaz\w+|"
        r"surpris\w+|believe it or not|guess what|no way|can you imagine|who would have thought)\b|\?!|!\?|"
        r"[😮😲😯🤯😱]",
        "sad": r"\b(?:sorry|unfortunately|sadly|sad|sadness|regret|apologi[sz]e|apolog(?:y|ies)|condolences|alas|"
        r"trag(?:ic|edy)|died|dies|death|funeral|grief|griev\w+|mourn\w*|lonely|heartbroken|tears|miss(?:es)? "
        r"(?:you|him|her|them)|passed away|i (?:am|'m) afraid|what a pity)\b|[😢😭☹🙁😞😔💔]",
        "serious": r"\b(?:warnings?|careful(?:ly)?|caution|danger(?:s|ous)?|beware|attention|important(?:ly)?|crucial|"
        r"must|never|emergency|serious(?:ly)?|please note|risks?|risky|illegal|poison\w*|threat\w*|crimes?|war|"
        r"fatal|call (?:a doctor|an ambulance|the police|for help|911|112)|do not (?:touch|open|move))\b|[⚠🚨]",
        "happy": r"\b(?:hello|hi|hey|welcome|goodbye|good (?:morning|afternoon|evening)|nice (?:to|talking|meeting)|"
        r"glad|happy|happily|delight\w*|pleas(?:ed|ure)|great|wonderful|fantastic|excellent|awesome|lovely|"
        r"congratulations|thanks?|i love|enjoy\w*|fun|funny|jokes?|laugh\w*|haha|hooray|yay|cheers|bravo|well done|"
        r"good luck|perfect|birthday|party|celebrat\w+)\b|[😀😃😄😁😆😂🤣😊🙂😉😍🥰😎🎉👍❤]",
    }.items()
}
_NEGATED = re.compile(r"(?:\b(?:not|no|never|neither|nor|without|hardly)|n['’]t)\s+(?:[\w'’]+\s+){0,2}$", re.IGNORECASE)
_FIRST_SIGN, _FURTHER_SIGN, _EXCLAMATION = 0.6, 0.15, 0.15  # intensity
_EXCLAIMED = 0.4  # happiness of a sentence that has nothing but its exclamation mark
_LINGERING, _LEAST = 0.5, 0.25  # how much of a mood a sentence without signs keeps, and when none is left


@dataclass(frozen=True)
class Utterance:
    """A sentence with the mood in which it is said."""

    text: str
    mood: Mood = Mood()


class MoodReader:
    """Reads one answer from its first sentence to its last.

    ``resting`` is the mood of a sentence that tells nothing; with ``fixed`` every sentence has that one.
    """

    def __init__(self, resting: Mood = Mood(), fixed: Mood | None = None) -> None:
        self._resting = resting
        self._fixed = fixed
        self._tagged: Mood | None = None  # holds until another tag
        self._last = resting

    def read(self, sentence: str, named: Mood | None = None) -> Utterance:
        """``sentence`` without its tags, and its mood; ``named`` is what somebody wrote beside it."""
        text, tag = without_tags(sentence)
        self._tagged = tag or self._tagged
        mood = self._fixed or named or self._tagged or self._told(text)
        if text.strip():
            self._last = mood
        return Utterance(text, mood)

    def _told(self, text: str) -> Mood:
        told = mood_of(text)
        if told is not None:
            return told
        left = round(_LINGERING * self._last.intensity, 2)
        lingers = self._last.name not in (NEUTRAL, self._resting.name) and left >= _LEAST
        return Mood(self._last.name, left) if lingers else self._resting


def without_tags(text: str) -> tuple[str, Mood | None]:
    """``text`` without tags such as ``[happy]`` and ``[mood: sad:0.5]``, and the mood that its last tag names."""
    tags = list(_TAG.finditer(text))
    if not tags:
        return text, None
    word, intensity = tags[-1].groups()
    mood = Mood(_MOOD_OF[word.lower()], min(float(intensity), 1.0) if intensity else _TAG_INTENSITY)
    return _TAG.sub("", text), mood


def mood_of(sentence: str) -> Mood | None:
    """The mood that ``sentence`` tells by itself, None where it tells none."""
    counts = {mood: _count(signs, sentence) for mood, signs in _SIGNS.items()}
    mood = max(counts, key=lambda name: counts[name])  # the first of equals
    exclaimed = "!" in sentence
    if counts[mood]:
        intensity = _FIRST_SIGN + _FURTHER_SIGN * (counts[mood] - 1) + _EXCLAMATION * exclaimed
        return Mood(mood, round(min(intensity, 1.0), 2))
    return Mood("happy", _EXCLAIMED) if exclaimed else None


def _count(signs: re.Pattern[str], sentence: str) -> int:
    """How many of ``signs`` there are, without those that are denied."""
    return sum(not _NEGATED.search(sentence[: match.start()]) for match in signs.finditer(sentence))


assert set(_SIGNS) == set(MOODS) and set(_NAMES) == {NEUTRAL, *MOODS}
