"""Text written for the eye made fit for the voice: markup, links and emoji go, signs become words."""

import html
import re
import unicodedata

import emoji

_MARKUP: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"<\|[^|>]*\|>", " "),  # a chat template's own marks
        (r"</?[A-Za-z][^<>]*>", " "),  # HTML
        (r"!\[([^\[\]]*)\]\((?:[^()]++|\([^()]*+\))*+\)", r"\1"),  # image: its description
        (r"\[([^\[\]]+)\]\((?:[^()]++|\([^()]*+\))*+\)", r"\1"),  # link: its text
        (r"\[\^?\d+\]", ""),  # footnote
        (r"^\s*\|?[\s:|-]*-{2,}[\s:|-]*\|?\s*$", ""),  # a table's rule, a horizontal rule
        (r"^\s{0,3}(#{1,6}|>+)\s+", ""),  # heading, quotation
        (r"^\s*(?:[-*+•‣◦]|\d{1,2}[.)])\s+", ""),  # list item
        (r"(?<=\d)\s?\*\s?(?=\d)", " × "),
        (r"`+([^`]*)`+", r"\1"),
        (r"(\*\*|__|~~)(?=\S)(.+?)(?<=\S)\1", r"\2"),
        (r"(?<![\w*])\*(?=\S)([^*]+?)(?<=\S)\*(?![\w*])", r"\1"),
        (r"(?<!\w)_(?=\S)([^_]+?)(?<=\S)_(?!\w)", r"\1"),
        (r"\\\(|\\\)|\\\[|\\\]|\$\$", " "),  # LaTeX brackets
        (r"[*_`~#|\\]{2,}", " "),
        (r"(?<!\w)[*_`|\\](?!\w)|(?<=\s)[*_`|\\]|[*_`|\\](?=\s)|^[*_]|[*_]$", " "),
    )
)
_ESCAPE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")  # a terminal's colours
_URL = re.compile(r"(?:https?://|www\.)[^\s<>\"')\]]+", re.IGNORECASE)
_EMAIL = re.compile(r"(?<![\w.+-])([\w.+-]++)@([\w-]++(?:\.[\w-]++)+)")

# What the English voice gets wrong when left to itself (found by listening to its phonemes).
_ENGLISH: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\be\.\s?g\.,?", "for example"),
        (r"\bi\.\s?e\.,?", "that is"),
        (r"\bNo\.\s?(?=\d)", "number "),
        (r"\bvs\.?(?=\s)", "versus"),
        (r"\bapprox\.", "approximately"),
        (r"\bkm/h\b", " kilometers per hour"),
        (r"\bm/s\b", " meters per second"),
        (r"(?<=\d)\sm\b(?=[\s.,;!?]|$)", " meters"),
        (r"\bm²", "square meters"),
        (r"\bkm²", "square kilometers"),
        (r"\bm³", "cubic meters"),
        (r"(?<=\d)\s?°C\b", " degrees Celsius"),
        (r"(?<=\d)\s?°F\b", " degrees Fahrenheit"),
        (r"°", " degrees "),
        (r"\bC#", "C sharp"),
        (r"\b24/7\b", "twenty-four seven"),
        (r"\bCO2\b|\bCO₂", "C O two"),
        (r"\bH2O\b|\bH₂O", "H two O"),
        (r"(?<=\d)\s?[eE]([-−]?)(\d+)\b", r" times ten to the \1\2"),
        (r"[~≈]\s?(?=[\d$€£])", "about "),
        (r"\s≈\s", " is about "),
        (r"(?<=\d)\s?<\s?(?=\d)|\s<\s", " less than "),
        (r"(?<=\d)\s?>\s?(?=\d)|\s>\s", " greater than "),
        (r"≤", " at most "),
        (r"≥", " at least "),
        (r"\s?&\s?", " and "),
        (r"\s?[→⇒➜]\s?", ", "),
        (r"\s/\s", " or "),
    )
)


def plain(text: str) -> str:
    """``text`` without markup, emoji, control characters and addresses; one line, empty where nothing remains."""
    text = printable(html.unescape(printable(text))).strip()
    if text.startswith("|") and text.count("|") > 2:
        text = ", ".join(cell.strip() for cell in text.strip("|").split("|") if cell.strip(" :-"))
    text = emoji.replace_emoji(text, " ")
    text = _EMAIL.sub(r"\1 at \2", text)
    text = _URL.sub(_site, text)
    for pattern, replacement in _MARKUP:
        text = pattern.sub(replacement, text)
    text = "".join(" " if unicodedata.category(sign) == "So" and sign not in "°" else sign for sign in text)
    text = re.sub(r"\s+([.,;:!?])", r"\1", re.sub(r"\(\s*\)|\[\s*\]", " ", text))
    text = " ".join(text.split()).lstrip(",;:.!?)] ")
    return text if any(sign.isalnum() for sign in text) else ""


def speakable(text: str, lang: str = "en") -> str:
    """What the voice is given for ``text``; empty where there is nothing to say.

    Signs are put into words only for English, where the offline voice needs it.
    """
    text = plain(text)
    if lang.startswith("en"):
        for pattern, replacement in _ENGLISH:
            text = pattern.sub(replacement, text)
    return " ".join(text.split()).lstrip(", ")


def printable(text: str) -> str:
    """Control and formatting characters become spaces or vanish; compatibility forms stay."""
    kept = []
    for sign in _ESCAPE.sub("", text):
        category = unicodedata.category(sign)
        if category == "Cc":
            kept.append(" ")
        elif category not in ("Cf", "Co", "Cs", "Cn"):
            kept.append(sign)
    return "".join(kept)


def _site(match: re.Match[str]) -> str:
    """An address is spoken as its site: 'example.com'."""
    address = match.group()
    tail = re.search(r"[.,;:!?]+$", address)
    host = re.sub(r"^(?:https?://)?(?:www\.)?", "", address.rstrip(".,;:!?"), flags=re.IGNORECASE)
    return re.split(r"[/?#:]", host)[0] + (tail.group() if tail else "")
