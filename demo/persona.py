"""Who the avatar is: a TOML file that becomes the language model's first messages and the avatar's set phrases."""

import dataclasses
import math
import re
import tomllib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from streamingtalker.errors import UserError
from streamingtalker.mood import Mood, MoodError

WRITTEN_LIKENESS = 0.89  # a question this much like a written one gets its answer
_FILLER = re.compile(r"\b(?:um+|uh+|er+|well|so|okay|ok|hey|hi|hello|please|maya|now|and|then|just|really|actually)\b")

ChatMessage = dict[str, str]  # {"role": "system" | "user" | "assistant", "content": …}


class PersonaError(UserError):
    """A persona file that cannot be used."""


@dataclass(frozen=True)
class Phrases:
    """What the avatar says when something fails. Spoken as they are."""

    not_heard: str = "I did not catch that. Could you say it again?"
    unreachable: str = "I am sorry, I cannot reach my thoughts right now. Please try again in a moment."
    slow: str = "I am sorry, I am thinking too slowly right now. Please ask me again."
    empty: str = "I am sorry, I have no answer to that. Please ask me something else."
    broken_off: str = "I am sorry, I lost the thread there."

    @property
    def apologies(self) -> tuple[str, ...]:
        """What is said in place of an answer."""
        return self.unreachable, self.slow, self.empty, self.broken_off


@dataclass(frozen=True)
class Example:
    """A question and its answer that show the language model how to speak."""

    question: str
    answer: str


@dataclass(frozen=True)
class WrittenAnswer:
    """An answer spoken exactly as written when the question is like one of ``questions``."""

    questions: tuple[str, ...]
    answer: str
    mood: Mood | None = None  # in which it is said; None: what its words tell


@dataclass(frozen=True)
class Persona:
    """One character. ``manner`` and ``facts`` are full sentences, as the language model reads them."""

    name: str
    greeting: str
    manner: str
    facts: tuple[str, ...] = ()
    examples: tuple[Example, ...] = ()
    answers: tuple[WrittenAnswer, ...] = ()
    avatar: str | None = None  # the face it has, unless --avatar names another
    mood: Mood | None = None  # in which its face rests and says what tells no mood
    longest_answer: int = 3  # sentences; what a language model says beyond them is not spoken
    phrases: Phrases = field(default_factory=Phrases)

    def phrase(self, name: str) -> str:
        """One of the set phrases: the greeting, or one of ``phrases``. Raises PersonaError where there is none."""
        if name == "greeting":
            return self.greeting
        if name not in {item.name for item in dataclasses.fields(Phrases)}:
            raise PersonaError(f"The persona has no phrase {name!r}; ask for greeting or one of [phrases].")
        return getattr(self.phrases, name)

    def opening(self) -> list[ChatMessage]:
        """The messages every prompt begins with: the system prompt, then the examples as if already asked."""
        messages = [{"role": "system", "content": " ".join((self.manner, *self.facts))}]
        for example in self.examples:
            messages.append({"role": "user", "content": example.question})
            messages.append({"role": "assistant", "content": example.answer})
        return messages

    def written_answer(self, question: str, likeness: float = WRITTEN_LIKENESS) -> WrittenAnswer | None:
        """The written answer to ``question``, or None where no question of the file is like it.

        ``likeness`` 1 wants the same words, 0 takes anything.
        """
        asked = _letter_groups(question)
        best = max(
            ((_cosine(asked, _letter_groups(text)), item) for item in self.answers for text in item.questions),
            key=lambda found: found[0],
            default=(0.0, None),
        )
        return best[1] if best[0] >= likeness else None


def _letter_groups(text: str) -> Counter[str]:
    """How often each group of three letters occurs: forgives a misheard or inflected word, needs no dictionary."""
    words = _FILLER.sub(" ", re.sub(r"[’']s\b", " is", text.lower()))
    return Counter(
        padded[i : i + 3]
        for word in re.findall(r"\w+", words) or re.findall(r"\w+", text.lower())
        for padded in [f" {word} "]
        for i in range(len(padded) - 2)
    )


def _cosine(a: Counter[str], b: Counter[str]) -> float:
    norm = math.sqrt(sum(n * n for n in a.values()) * sum(n * n for n in b.values()))
    return sum(n * b[group] for group, n in a.items()) / norm if norm else 0.0


def load_persona(path: Path) -> Persona:
    """The persona in a TOML file. Raises PersonaError naming the file and the first thing wrong in it."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PersonaError(f"The persona file {path} cannot be read ({error.strerror}); check --persona.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PersonaError(f"The persona file {path} is not TOML ({error}); mend it or leave out --persona.") from error
    return _build(Persona, values, str(path), "")


def _build(kind: type, values: object, source: str, place: str) -> Any:  # noqa: ANN401 - an instance of ``kind``
    """A dataclass from a TOML table: unknown, missing and ill-typed keys are each one clear error."""
    if not isinstance(values, dict):
        raise PersonaError(f"{source}: {place or 'the file'} needs to be a table.")
    fields = {item.name: item for item in dataclasses.fields(kind)}
    where = f"{source}: [{place}]" if place else source
    for key in values:
        if key not in fields:
            raise PersonaError(f"{where} has the unknown key {key!r}; known are {', '.join(fields)}.")
    for name, item in fields.items():
        required = item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
        if required and name not in values:
            raise PersonaError(f"{where} lacks the key {name!r}; add it.")
    hints = get_type_hints(kind)
    return kind(**{key: _value(hints[key], value, source, key) for key, value in values.items()})


def _value(hint: Any, value: object, source: str, key: str) -> Any:  # noqa: ANN401
    if get_origin(hint) is tuple:
        if not isinstance(value, list) or not value:
            raise PersonaError(f"{source}: {key!r} needs to be a list with at least one item.")
        return tuple(_value(get_args(hint)[0], item, source, key) for item in value)
    if type(None) in get_args(hint):
        hint = next(kind for kind in get_args(hint) if kind is not type(None))
    if hint is Mood:
        return _mood(value, source, key)
    if dataclasses.is_dataclass(hint):
        return _build(hint, value, source, key)  # type: ignore[arg-type]
    if hint is int:
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise PersonaError(f"{source}: {key!r} needs to be a whole number above 0.")
        return value
    if not isinstance(value, str) or not value.strip():
        raise PersonaError(f"{source}: {key!r} needs to be text.")
    return " ".join(value.split())


def _mood(value: object, source: str, key: str) -> Mood:
    try:
        return Mood.parse(value if isinstance(value, str) else repr(value))
    except MoodError as error:
        raise PersonaError(f"{source}: {key!r} is wrong. {error}") from error
