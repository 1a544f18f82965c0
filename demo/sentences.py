"""Cutting a stream of text into sentences, so that the voice can begin before the answer is complete."""

import re
from dataclasses import dataclass

# Words whose full stop does not end a sentence.
_ABBREVIATIONS = frozenset(
    re.findall(
        r"\S+",
        "mr mrs ms dr prof rev gen col sgt capt lt st mt ft jr sr messrs no nos vol fig figs eq sec ch pp p vs ca cf "
        "al approx dept est inc ltd co corp jan feb mar apr jun jul aug sept sep oct nov dec bzw usw nr str "
        "bspw evtl ggf inkl abb sog tel mme mlle sra srta ud uds pág",
    )
)
# Runs of marks are taken whole and only from where they begin: a hundred thousand dots cost no more than they are long.
_END = re.compile(
    r"""(?<![.!?…])([.!?…]++)(["'”’»)\]*_]*+)(?=\s++(\S))|"""
    r"""(?<![。！？])([。！？]++[”’」』）]*+)(?=[^。！？”’」』）])"""
)
_AFTER_ORDINALS = ("Jan", "Feb", "März", "Apr", "Mai", "Jun", "Jul", "Aug", "Sep", "Okt", "Nov", "Dez", "Jahrhundert")
_CLAUSE = re.compile(r"[,;:—–](?=\s)|[，；、：]")
_SPACE = re.compile(r"\s")
_LONGEST_WORD = 64  # letters that are looked at before and behind a mark


@dataclass(frozen=True)
class Lengths:
    """When a sentence is too long to be waited for. Characters."""

    first: int = 50  # the first sentence is cut at a clause beyond this, for an early start
    clause: int = 220  # later ones beyond this
    word: int = 400  # and anywhere, if may be between words, beyond this
    least: int = 24  # but no piece is made shorter than this


class SentenceCutter:
    """Text in arbitrary pieces in, whole sentences out, in order and without loss of a word.

    Lines of fenced code are dropped: nobody wants them read aloud.
    """

    def __init__(self, lengths: Lengths = Lengths()) -> None:
        self._lengths = lengths
        self._text = ""
        self._started = False  # a first piece has gone out
        self._in_code = False

    def feed(self, delta: str) -> list[str]:
        """The sentences that ``delta`` completes."""
        self._text += delta
        out = []
        while (piece := self._next()) is not None:
            if piece := self._readable(piece):
                out.append(piece)
                self._started = True
        return out

    def finish(self) -> list[str]:
        """What is left, as the last sentence."""
        sentences = self.feed("\n")
        self.__init__(self._lengths)  # type: ignore[misc]
        return sentences

    def _next(self) -> str | None:
        """Take the next piece off the text: a sentence, a line, or a clause of something long."""
        line_end = self._text.find("\n")
        line = self._text if line_end < 0 else self._text[:line_end]
        if not self._in_code and not line.lstrip().startswith("```"):
            near = line if line_end >= 0 else line[: self._lengths.word + _LONGEST_WORD]  # further on it is cut anyway
            end = _sentence_end(near) or (line_end < 0 and self._early_end(line))
            if end:
                return self._take(end)
        return self._take(line_end + 1) if line_end >= 0 else None

    def _early_end(self, line: str) -> int:
        """Where to cut a line whose end is not in sight, or 0."""
        lengths = self._lengths
        wanted = lengths.clause if self._started else lengths.first
        if len(line) <= wanted:
            return 0
        clauses = [match.end() for match in _CLAUSE.finditer(line[: lengths.word + 1], lengths.least)]
        if clauses:
            return clauses[0] if not self._started else max([end for end in clauses if end <= wanted] or clauses[:1])
        if len(line) <= lengths.word:
            return 0
        spaces = [match.end() for match in _SPACE.finditer(line[: lengths.word], lengths.least)]
        return spaces[-1] if spaces else lengths.word

    def _take(self, end: int) -> str:
        piece, self._text = self._text[:end], self._text[end:]
        return piece

    def _readable(self, piece: str) -> str:
        piece = piece.strip()
        if piece.startswith("```"):
            self._in_code = not self._in_code
            return ""
        return "" if self._in_code else piece


def ends_in_mid_sentence(piece: str) -> bool:
    """Whether ``piece`` is a clause of a sentence that goes on."""
    return piece[-1:] in tuple(",;:—–，；、：")


def _sentence_end(line: str) -> int:
    """The position behind the first sentence of ``line``, or 0 where none is complete."""
    for match in _END.finditer(line):
        if match.group(4) or not _goes_on(line, match):
            return match.end()
    return 0


def _goes_on(line: str, match: re.Match[str]) -> bool:
    """Whether the mark found is inside a sentence: an abbreviation, an initial, a list number, an ellipsis."""
    marks, follows = match.group(1), match.group(3)
    if follows.islower() or marks.startswith("…") or marks.startswith(".."):
        return True
    if marks != ".":
        return False
    before = line[max(match.start() - _LONGEST_WORD, 0) : match.start()]  # a line may be very long
    word = before.rsplit(None, 1)[-1].lstrip("(\"'“‘*_[") if before.strip() else ""
    if word.isdigit() and _names_a_month(line[match.end() : match.end() + _LONGEST_WORD].split()[0]):
        return True  # "am 3. Oktober"
    begins = match.start() < _LONGEST_WORD and before.strip().isdigit()
    if begins or ("." in word and word.replace(".", "").isalpha()):
        return True  # "1. First", "U.S.", "e.g."
    return word.lower() in _ABBREVIATIONS or (len(word) == 1 and word.isalpha() and word != "I")


def _names_a_month(word: str) -> bool:
    """Whether a German ordinal may stand before ``word``, of which perhaps only the beginning is there yet."""
    return any(word.startswith(name) or name.startswith(word) for name in _AFTER_ORDINALS)
