"""What to say to a question: the persona's written answer, or the language model's, or an apology."""

import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence

from demo.llm import LanguageModel, LlmBrokenOffError, LlmError, LlmSlowError, ReplyTooLongError
from demo.persona import ChatMessage, Persona
from demo.sentences import SentenceCutter, ends_in_mid_sentence
from demo.speech_text import speakable

log = logging.getLogger(__name__)

QUESTION_CHARACTERS = 600  # of what the user said, as the language model reads it
REPLY_CHARACTERS = 1200  # the answer ends with the sentence that reaches it: about 80 s of speech

Mark = Callable[[str], None]  # takes the name of a step that is reached now, see turn.Stopwatch
Report = Callable[[str], Awaitable[None]]  # takes a sentence for the operator


class Answerer:
    """Makes the sentences of an answer, fit to be spoken."""

    def __init__(self, llm: LanguageModel, persona: Persona, lang: str) -> None:
        self._llm = llm
        self._persona = persona
        self._lang = lang

    def speakable_sentences(self, text: str) -> list[str]:
        """The sentences of a whole ``text``."""
        cutter = SentenceCutter()
        return self._spoken([*cutter.feed(text), *cutter.finish()])

    async def foresee(self, history: Sequence[ChatMessage]) -> None:
        """Use the time until a question after ``history`` comes."""
        await self._llm.foresee([*self._persona.opening(), *history])

    async def answer(
        self, question: str, history: Sequence[ChatMessage], mark: Mark, report: Report
    ) -> AsyncGenerator[str]:
        """The sentences of the answer to ``question``, none twice, until the answer is long enough.

        Never raises for a failing language model: it reports the failure and says an apology.
        """
        question = " ".join(question[: 2 * QUESTION_CHARACTERS].split())[:QUESTION_CHARACTERS]
        said: set[str] = set()
        length = whole = 0
        async with contextlib.aclosing(self._with_apology(question, history, mark, report)) as sentences:
            async for sentence in sentences:
                if sentence.casefold() not in said:
                    mark("llm_first_sentence")
                    yield sentence
                said.add(sentence.casefold())
                length += len(sentence)
                whole += not ends_in_mid_sentence(sentence)
                if length >= REPLY_CHARACTERS or whole >= self._persona.longest_answer:
                    return

    async def _with_apology(
        self, question: str, history: Sequence[ChatMessage], mark: Mark, report: Report
    ) -> AsyncGenerator[str]:
        phrases, begun = self._persona.phrases, False
        try:
            async with contextlib.aclosing(self._think(question, history, mark)) as sentences:
                async for sentence in sentences:
                    yield sentence
                    begun = True
            if not begun:
                yield phrases.empty
        except LlmError as error:
            log.info("%s", error)  # no louder: the operator of the client hears it from there
            await report(str(error))
            if begun:
                yield phrases.broken_off
            else:
                yield phrases.slow if isinstance(error, LlmSlowError) else phrases.unreachable

    async def _think(self, question: str, history: Sequence[ChatMessage], mark: Mark) -> AsyncGenerator[str]:
        written = self._persona.written_answer(question)
        if written is None:
            messages = [*self._persona.opening(), *history, {"role": "user", "content": question}]
            deltas = self._llm.stream(messages)
        else:
            deltas = _once(written)
        async with contextlib.aclosing(deltas):
            async for sentence in self._cut(deltas, mark):
                yield sentence

    async def _cut(self, deltas: AsyncIterator[str], mark: Mark) -> AsyncIterator[str]:
        """The sentences in ``deltas``, also when they break off; of an answer cut for its length only whole ones."""
        cutter, begun, broken = SentenceCutter(), False, None
        try:
            async for delta in deltas:
                mark("llm_first_token")
                for sentence in self._spoken(cutter.feed(delta)):
                    yield sentence
                    begun = True
        except ReplyTooLongError:
            if begun:
                return
        except LlmBrokenOffError as error:
            broken = error
        for sentence in self._spoken(cutter.finish()):
            yield sentence
        if broken:
            raise broken

    def _spoken(self, sentences: list[str]) -> list[str]:
        return [spoken for sentence in sentences if (spoken := speakable(sentence, self._lang))]


async def _once(text: str) -> AsyncGenerator[str]:
    yield text
