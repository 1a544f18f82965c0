"""How long a silence ends the user's turn: that depends on what was said.

After a complete question hardly anybody goes on; after "and", "um", an article or half a list everybody does. Judged
by the words and punctuation of what was recognised so far. Recognisers differ: Whisper sets marks, Vosk knows only
words, so a question is known by its first words as well.
"""

import re
from dataclasses import dataclass
from enum import StrEnum


class Completeness(StrEnum):
    """Whether what was said so far sounds as if it were all."""

    QUESTION = "question"  # a complete one: the answer is expected now
    STATEMENT = "statement"  # may be all
    UNFINISHED = "unfinished"  # more must come


@dataclass(frozen=True)
class Patience:
    """Milliseconds of silence that end a turn, before ``factor``."""

    factor: float = 1.0  # above 1 for slow speakers, below for quick ones
    question: int = 250
    statement: int = 480
    unfinished: int = 1300

    def silence_ms(self, completeness: Completeness) -> int:
        """The silence that ends a turn of whose words so far that is known."""
        return self._scaled(
            {
                Completeness.QUESTION: self.question,
                Completeness.STATEMENT: self.statement,
                Completeness.UNFINISHED: self.unfinished,
            }[completeness]
        )

    @property
    def longest_ms(self) -> int:
        """The longest of them."""
        return self._scaled(max(self.question, self.statement, self.unfinished))

    def _scaled(self, milliseconds: int) -> int:
        return round(milliseconds * self.factor)


@dataclass(frozen=True)
class _Grammar:
    """Words of a language that tell how a sentence goes on. Lower case."""

    fillers: frozenset[str]  # sounds of somebody who is thinking
    leading: frozenset[str]  # a sentence cannot end with them: articles, conjunctions
    prepositions: frozenset[str] = frozenset()  # only questions end with them, which ask for what
    stranding: frozenset[str] = frozenset()  # they belong to: "who are you talking to"
    auxiliaries: frozenset[str] = frozenset()  # end only short answers, after a pronoun; before one they ask
    asking: frozenset[str] = frozenset()  # first words of questions
    pronouns: frozenset[str] = frozenset()
    subordinating: frozenset[str] = frozenset()  # first words of a half sentence that another must follow
    opening: tuple[str, ...] = ()  # beginnings that are nothing by themselves


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_GRAMMARS = {
    "en": _Grammar(
        fillers=_words("um uh er erm hmm hm mm"),
        leading=_words(
            "a an the and or but because if than whose which my your our their its every very such unless "
            "although though until while whether plus when how where what who whom "
            "i'm i'd i'll i've we're they're you're he's she's"
        ),
        prepositions=_words("of to for with from into onto at by about between without against during towards in on"),
        stranding=_words("who what where which whose whom what's who's where's"),
        auxiliaries=_words(
            "is are was were am be been do does did has have had can could will would shall should may might must"
        ),
        asking=_words("who what when where why how which whose whom what's who's where's how's when's"),
        pronouns=_words("i you he she it we they this that there these those who"),
        subordinating=_words("if because although though while unless since whenever once after before"),
        opening=(
            "so", "well", "like", "i like", "i", "we", "you", "he", "she", "they", "it", "my", "tell me", "can you",
            "could you", "would you", "do you", "i want", "i would like", "i'd like", "i wonder", "i was wondering",
            "i think", "let's", "what", "how", "who", "where", "when", "why", "excuse me", "what about", "how about",
            "i have a question", "please tell me", "can you tell me", "could you tell me", "do you know", "one more",
            "you know", "i mean", "i want to know", "i wanted to know", "i would like to know", "i'd like to know",
            "i would love to know", "i want to ask", "i wanted to ask", "i would like to ask", "i'd like to ask",
            "may i ask", "can i ask", "please explain", "do you happen to know",
        ),
    ),
    "de": _Grammar(
        fillers=_words("äh ähm öh hm hmm mh also"),
        leading=_words("und oder aber weil wenn dass ob der die das ein eine einen einem einer mein meine sehr mit"),
        asking=_words("wer was wann wo warum wie welche welcher welches wohin woher weshalb wieso"),
    ),
    "fr": _Grammar(
        fillers=_words("euh heu ben hm bah"),
        leading=_words("et ou mais parce si que le la les un une des du de mon ma mes très avec pour dans à"),
        asking=_words("qui quand où pourquoi comment quel quelle quels quelles combien"),
    ),
    "es": _Grammar(
        fillers=_words("eh em este pues mmm"),
        leading=_words("y o pero porque si que el la los las un una unos unas de del mi tu su muy con para en a"),
        asking=_words("quién qué cuándo dónde cómo cuál cuáles cuánto cuántos cuánta"),
    ),
}  # fmt: skip
_NO_GRAMMAR = _Grammar(fillers=_words("um uh hm hmm mm eh äh ähm euh"), leading=frozenset())

_ASKS = ("?", "？", "؟", "⸮")
_GOES_ON = (",", ";", ":", "-", "–", "—", "…", "...", "，", "、", "；", "：", "،")
_ENDS = (".", "!", "。", "！", "।")
_MIN_QUESTION = 3  # words of a question without a mark
_LIST_ITEM = 3  # words an item of a list has at most


def completeness(text: str, language: str = "en") -> Completeness:
    """Whether ``text``, as understood up to a silence, sounds complete. Nothing at all may be everything."""
    text = text.strip()
    words = re.findall(r"[\w'’-]+", text.casefold().replace("’", "'"))
    if not words:
        return Completeness.STATEMENT
    grammar = _GRAMMARS.get(language.partition("-")[0], _NO_GRAMMAR)
    asked = text.endswith(_ASKS)
    if " ".join(words) in grammar.opening:
        return Completeness.STATEMENT if asked else Completeness.UNFINISHED
    if text.endswith(_GOES_ON) or _hangs(words, grammar, asked) or _lists(text, words):
        return Completeness.UNFINISHED
    if asked or (not text.endswith(_ENDS) and _asks(words, grammar)):
        return Completeness.QUESTION
    return Completeness.STATEMENT


def _hangs(words: list[str], grammar: _Grammar, asked: bool) -> bool:
    """Whether the last words want to be followed by others."""
    last, before = words[-1], words[-2] if len(words) > 1 else ""
    if last in grammar.fillers or last in grammar.leading:
        return True
    if last in grammar.prepositions:  # "where are you from", but not "how do I get to"
        if len(words) < _MIN_QUESTION:
            return not asked
        return not any(word in grammar.stranding for word in (words if asked else words[:1]))
    if last in grammar.auxiliaries and not any(word in grammar.asking for word in words[:-2]):
        return before not in grammar.pronouns | grammar.auxiliaries or before in grammar.asking
    if not asked and _short_of_a_clause(words):
        return True
    return words[0] in grammar.subordinating and not _has_main_clause(words, grammar)


def _short_of_a_clause(words: list[str]) -> bool:
    """Whether hardly anything follows an "if" or "whether" in the middle: "I was wondering if you …"."""
    middle = [index for index, word in enumerate(words) if index and word in ("if", "whether")]
    return bool(middle) and len(words) - middle[-1] <= _MIN_QUESTION


def _has_main_clause(words: list[str], grammar: _Grammar) -> bool:
    """Whether a second clause follows the half sentence: one more subject after the first, or a question."""
    subjects = [index for index, word in enumerate(words) if word in grammar.pronouns]
    return len(subjects) > 1 or any(word in grammar.asking or word == "then" for word in words[1:]) or len(words) > 12


def _lists(text: str, words: list[str]) -> bool:
    """Whether the end is a list without its last item: short items between commas and no "and"."""
    items = [item.split() for item in re.split(r"[,，、]", text.rstrip("".join(_ENDS)))]
    if len(items) < 3 or not all(0 < len(item) <= _LIST_ITEM for item in items[1:]):
        return False
    return not {"and", "or", "und", "oder", "et", "ou", "y", "o"} & set(words[-4:])


def _asks(words: list[str], grammar: _Grammar) -> bool:
    """Whether it is a question by its first words: "where is …", "can you …"."""
    if len(words) < _MIN_QUESTION:
        return False
    inverted = words[0] in grammar.auxiliaries and words[1] in grammar.pronouns | {"the", "your", "my", "a", "any"}
    return words[0] in grammar.asking or inverted
