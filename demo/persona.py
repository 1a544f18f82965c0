"""Who the avatar is: a TOML file that becomes the language model's first messages and the avatar's set phrases."""

import dataclasses
import difflib
import functools
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np

from demo.languages import LANGUAGES, language_of
from demo.retrieval import Retriever
from streamingtalker.errors import UserError
from streamingtalker.mood import Mood, MoodError
from streamingtalker.topology import DEFAULT_AVATAR

VOICES = ("hibari", "gtts")
BY_THE_MODEL = "llm"  # what a test question expects where no written answer is to match
LIKENESS = 0.67  # a question this much like a written one gets its answer
FACT_COVERAGE = 0.25  # share of what is asked that a fact speaks of, if the language model is to be told it
USUAL_PHRASES = Path(__file__).resolve().parent.parent / "assets" / "personas" / "phrases.toml"
_PLACEHOLDER = re.compile(r"\{(\w*)\}")

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
    indecent: str = "I would rather talk about something nicer. What else would you like to know?"
    breather: str = "You ask faster than I can think. Give me a moment to catch my breath, please."
    invitations: tuple[str, ...] = (
        "Hello there! I can hear you, if you like to talk.",
        "Is anybody curious? Ask me who I am.",
        "You look as if you had a question. Just say it, I am listening.",
        "Come a little closer. I do not bite, I only talk.",
    )

    @property
    def apologies(self) -> tuple[str, ...]:
        """What is said in place of an answer."""
        return self.unreachable, self.slow, self.empty, self.broken_off, self.indecent


@dataclass(frozen=True)
class Example:
    """A question and its answer that show the language model how to speak, and what to make of a fact."""

    question: str
    answer: str
    fact: str | None = None  # that is given with the question


@dataclass(frozen=True)
class WrittenAnswer:
    """An answer spoken exactly as written when the question is like one of ``questions``."""

    questions: tuple[str, ...]
    answer: str
    mood: Mood | None = None  # in which it is said; None: what its words tell


@dataclass(frozen=True)
class Translation:
    """What is said in another language than the one the persona is written in."""

    greeting: str | None = None
    manner: str | None = None  # None: the persona's, and the wish for answers in that language
    phrases: Phrases = field(default_factory=Phrases)
    answers: tuple[WrittenAnswer, ...] = ()


@dataclass(frozen=True)
class CheckQuestion:
    """A question for ``--persona-check``."""

    question: str
    expect: str  # words of the written answer, or BY_THE_MODEL
    fact: str | None = None  # words of a fact that the language model is to be given


@dataclass(frozen=True)
class Persona:
    """One character. ``manner`` and ``facts`` are full sentences, as the language model reads them."""

    name: str  # in a file that leaves it out: the face's
    greeting: str
    manner: str
    facts: tuple[str, ...] = ()
    nearest_facts: int = 1  # that the language model is given with a question
    examples: tuple[Example, ...] = ()
    answers: tuple[WrittenAnswer, ...] = ()
    open_questions: tuple[str, ...] = ()  # like written ones, but for the language model
    likeness: float = LIKENESS  # of a question to a written one that gets its answer: 1 the same words, 0 anything
    avatar: str | None = None  # the face it has, unless --avatar names another
    voice: str | None = None  # the voice it has, unless --tts names another
    lang: str = "en"  # in which all this is written
    mood: Mood | None = None  # in which its face rests and says what tells no mood
    longest_answer: int = 3  # sentences; what a language model says beyond them is not spoken
    phrases: Phrases = field(default_factory=Phrases)
    translations: dict[str, Translation] = field(default_factory=dict)
    tests: tuple[CheckQuestion, ...] = ()

    def phrase(self, name: str) -> str:
        """One of the set phrases: the greeting, or one of ``phrases``; of several the one whose number follows.

        Raises PersonaError where there is none.
        """
        if name == "greeting":
            return self.greeting
        kind, _, number = name.partition(" ")
        if kind not in {item.name for item in dataclasses.fields(Phrases)}:
            raise PersonaError(f"The persona has no phrase {name!r}; ask for greeting or one of [phrases].")
        words: str | tuple[str, ...] = getattr(self.phrases, kind)
        return words if isinstance(words, str) else words[int(number) % len(words) if number.isdecimal() else 0]

    def opening(self) -> list[ChatMessage]:
        """The messages every prompt begins with: the system prompt, then the examples as if already asked."""
        facts = () if self._has_many_facts else self.facts
        messages = [{"role": "system", "content": " ".join((self.manner, *facts))}]
        for example in self.examples:
            facts = () if example.fact is None else (example.fact,)
            messages.append({"role": "user", "content": _told(facts, example.question)})
            messages.append({"role": "assistant", "content": example.answer})
        return messages

    def prompt(self, question: str, history: Sequence[ChatMessage] = ()) -> list[ChatMessage]:
        """The messages for ``question`` after ``history``.

        The facts come last: what precedes them is the same for every question, and has been read when it comes.
        """
        facts = self.facts_for(question) if self._has_many_facts else ()
        return [*self.opening(), *history, {"role": "user", "content": _told(facts, question)}]

    def facts_for(self, question: str) -> tuple[str, ...]:
        """The facts that speak most of what ``question`` asks for, the best last; all where there are few."""
        if not self._has_many_facts:
            return self.facts
        coverage = self._retrievers[1].coverage(question)
        best = np.argsort(-coverage, kind="stable")[: self.nearest_facts]
        return tuple(self.facts[index] for index in best[::-1] if coverage[index] >= FACT_COVERAGE)

    def written_answer(self, question: str) -> WrittenAnswer | None:
        """The written answer to ``question``, or None where no question of the file is like it."""
        answer, likeness = self.nearest_answer(question)
        return answer if likeness >= self.likeness else None

    def nearest_answer(self, question: str) -> tuple[WrittenAnswer | None, float]:
        """The written answer whose question is most like ``question``, and how like it is.

        None where an open question is most like it, or nothing at all.
        """
        likeness = self._retrievers[0].likeness(question)
        if not len(likeness):
            return None, 0.0
        best = int(likeness.argmax())
        asked = [item for item in self.answers for _ in item.questions]
        return asked[best] if best < len(asked) else None, float(likeness[best])

    def in_language(self, lang: str) -> "Persona":
        """The same for a conversation in ``lang``: what is not translated is not said, but for greeting and phrases."""
        language = language_of(lang)
        if language == language_of(self.lang):
            return self
        translation = self.translations.get(language, Translation())
        wish = f"Always answer in {LANGUAGES[language].english if language in LANGUAGES else language}."
        return dataclasses.replace(
            self,
            lang=lang,
            greeting=translation.greeting or self.greeting,
            manner=translation.manner or f"{self.manner} {wish}",
            phrases=translation.phrases,
            answers=translation.answers,
            open_questions=(),
            examples=(),
            tests=(),
        )

    def untranslated(self, lang: str) -> str | None:
        """What the operator is told where the persona says its set phrases in another language than ``lang``."""
        language, written = language_of(lang), language_of(self.lang)
        if language == written or language in self.translations:
            return None
        return f"The persona greets and apologises in {written!r}; write [translations.{language}] for phrases in it."

    @property
    def _has_many_facts(self) -> bool:
        return len(self.facts) > self.nearest_facts

    @functools.cached_property
    def _retrievers(self) -> tuple[Retriever, Retriever]:
        """For the questions of the written answers, and for the facts."""
        language, names = language_of(self.lang), (self.name,)
        written = [question for item in self.answers for question in item.questions]
        return Retriever([*written, *self.open_questions], language, names), Retriever(self.facts, language, names)


def _told(facts: Sequence[str], question: str) -> str:
    """A question as the language model reads it. The smallest one makes something of a fact that stands before it."""
    return "\n".join(("Fact: " + " ".join(facts), question)) if facts else question


def load_persona(path: Path, avatar: str | None = None) -> Persona:
    """The persona in a TOML file, named as ``avatar`` (or its own one) where the file gives no name.

    Raises PersonaError naming the file and the first thing wrong in it.
    """
    values = _read(path)
    face = avatar or str(values.get("avatar") or DEFAULT_AVATAR.stem)
    values = {"name": name_of_face(face)} | _with_usual_phrases(values, _read(USUAL_PHRASES))
    persona: Persona = _build(Persona, values, str(path), "")
    return _with_name(persona, persona.name)


def name_of_face(avatar: str) -> str:
    """What somebody with that face is called: Kwame of ``kwame`` and of ``faces/kwame.glb``."""
    return " ".join(Path(avatar).stem.replace("_", " ").split()).title()


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PersonaError(f"The persona file {path} cannot be read ({error.strerror}); check --persona.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PersonaError(f"The persona file {path} is not TOML ({error}); mend it or leave out --persona.") from error


def _with_usual_phrases(values: dict[str, Any], usual: dict[str, Any]) -> dict[str, Any]:
    """The persona's own words over the usual ones, in its language and in others."""
    own, language = values.get("translations", {}), values.get("lang", "en")
    if not isinstance(own, dict) or not isinstance(language, str):
        return values  # told by who builds it
    spoken = usual.get(language_of(language), {}).get("phrases", {})
    return values | {
        "translations": {name: _over(usual.get(name, {}), own.get(name, {})) for name in usual.keys() | own.keys()},
        **({"phrases": _over(spoken, values.get("phrases", {}))} if spoken else {}),
    }


def _over(usual: dict[str, Any], own: Any) -> Any:  # noqa: ANN401 - whatever TOML gave
    if not isinstance(own, dict):
        return own
    return usual | {
        key: _over(usual[key], value) if isinstance(usual.get(key), dict) else value for key, value in own.items()
    }


def _with_name(value: Any, name: str) -> Any:  # noqa: ANN401 - any part of a persona
    if isinstance(value, str):
        return value.replace("{name}", name)
    if isinstance(value, tuple):
        return tuple(_with_name(item, name) for item in value)
    if isinstance(value, dict):
        return {key: _with_name(item, name) for key, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts = {item.name: _with_name(getattr(value, item.name), name) for item in dataclasses.fields(value)}
        return dataclasses.replace(value, **parts)
    return value


def _build(kind: type, values: object, source: str, place: str) -> Any:  # noqa: ANN401 - an instance of ``kind``
    """A dataclass from a TOML table: unknown, missing and ill-typed keys are each one clear error."""
    if not isinstance(values, dict):
        raise PersonaError(f"{source}: {place or 'the file'} needs to be a table; write [{place}] above its keys.")
    fields = {item.name: item for item in dataclasses.fields(kind)}
    where = f"{source}: [{place}]" if place else source
    for key in values:
        if key not in fields:
            meant = difflib.get_close_matches(key, fields, 1)
            remedy = f"write {meant[0]!r}" if meant else f"known are {', '.join(fields)}"
            raise PersonaError(f"{where} has the unknown key {key!r}; {remedy}.")
    for name, item in fields.items():
        required = item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
        if required and name not in values:
            raise PersonaError(f"{where} lacks the key {name!r}; add it.")
    hints = get_type_hints(kind)
    return kind(**{key: _value(hints[key], value, source, key) for key, value in values.items()})


def _value(hint: Any, value: object, source: str, key: str) -> Any:  # noqa: ANN401
    if get_origin(hint) is tuple:
        if not isinstance(value, list) or not value:
            raise PersonaError(f"{source}: {key!r} needs to be a list with at least one item; add one or leave it out.")
        return tuple(_value(get_args(hint)[0], item, source, key) for item in value)
    if get_origin(hint) is dict:
        if not isinstance(value, dict):
            raise PersonaError(f"{source}: {key!r} needs to be a table for each language; write [{key}.de].")
        return {name: _value(get_args(hint)[1], item, source, f"{key}.{name}") for name, item in value.items()}
    if type(None) in get_args(hint):
        hint = next(kind for kind in get_args(hint) if kind is not type(None))
    if hint is Mood:
        return _mood(value, source, key)
    if dataclasses.is_dataclass(hint):
        return _build(hint, value, source, key)  # type: ignore[arg-type]
    if hint in (int, float):
        return _number(hint, value, source, key)
    return _text(value, source, key)


def _number(kind: type, value: object, source: str, key: str) -> int | float:
    if kind is float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise PersonaError(f"{source}: {key!r} needs to be a number from 0 to 1; {LIKENESS} is usual.")
        return float(value)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise PersonaError(f"{source}: {key!r} needs to be a whole number above 0; write one or leave it out.")
    return value


def _text(value: object, source: str, key: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise PersonaError(f'{source}: {key!r} needs to be text; write it in quotation marks, as in {key} = "…".')
    unknown = [name for name in _PLACEHOLDER.findall(value) if name != "name"]
    if unknown:
        raise PersonaError(f"{source}: {key!r} has the unknown placeholder {{{unknown[0]}}}; write {{name}} or words.")
    if key == "voice" and value not in VOICES:
        raise PersonaError(f"{source}: {key!r} is {value!r}; choose one of {', '.join(VOICES)}.")
    return " ".join(value.split())


def _mood(value: object, source: str, key: str) -> Mood:
    try:
        return Mood.parse(value if isinstance(value, str) else repr(value))
    except MoodError as error:
        raise PersonaError(f"{source}: {key!r} is wrong. {error}") from error
