"""What to say to a question: the persona's written answer, or the language model's, or an apology.

With a filter nothing indecent is answered, and of what the language model says nothing indecent is spoken. What the
persona was told is never repeated.
"""

import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence

from demo.decency import Decency
from demo.discretion import Discretion
from demo.llm import LanguageModel, LlmBrokenOffError, LlmError, LlmSlowError, ReplyTooLongError
from demo.moods import MoodReader, Utterance
from demo.persona import ChatMessage, Persona, WrittenAnswer
from demo.sentences import SentenceCutter, ends_in_mid_sentence
from demo.speech_text import speakable
from streamingtalker.mood import Mood

log = logging.getLogger(__name__)

QUESTION_CHARACTERS = 600  # of what the user said, as the language model reads it
REPLY_CHARACTERS = 1200  # the answer ends with the sentence that reaches it: about 80 s of speech

Mark = Callable[[str], None]  # takes the name of a step that is reached now, see turn.Stopwatch
Report = Callable[[str], Awaitable[None]]  # takes a sentence for the operator


class Answerer:
    """Makes the sentences of an answer, fit to be spoken, with the mood of each."""

    def __init__(
        self,
        llm: LanguageModel,
        persona: Persona,
        lang: str,
        fixed_mood: Mood | None = None,
        decency: Decency | None = None,
        reply_characters: int = REPLY_CHARACTERS,
    ) -> None:
        """With ``fixed_mood`` everything is said in it, and the face rests in it. None in ``decency``: no filter.

        An answer ends with the sentence that reaches ``reply_characters``.
        """
        self._llm = llm
        self._persona = persona
        self._lang = lang
        self._fixed_mood = fixed_mood
        self._decency = decency
        self._discretion = Discretion(persona.manner)
        self._reply_characters = reply_characters

    @property
    def resting_mood(self) -> Mood:
        """In which nothing in particular is said."""
        return self._fixed_mood or self._persona.mood or Mood()

    def lines(self, text: str) -> list[Utterance]:
        """The sentences of a whole ``text``."""
        cutter = SentenceCutter()
        return self._spoken([*cutter.feed(text), *cutter.finish()], self._reader())

    async def foresee(self, history: Sequence[ChatMessage]) -> None:
        """Use the time until a question after ``history`` comes."""
        await self._llm.foresee([*self._persona.opening(), *history])

    async def answer(
        self, question: str, history: Sequence[ChatMessage], mark: Mark, report: Report
    ) -> AsyncGenerator[Utterance]:
        """The sentences of the answer to ``question``, none twice, until the answer is long enough.

        Never raises for a failing language model: it reports the failure and says an apology.
        """
        question = " ".join(question[: 2 * QUESTION_CHARACTERS].split())[:QUESTION_CHARACTERS]
        said: set[str] = set()
        length = whole = 0
        async with contextlib.aclosing(self._with_apology(question, history, mark, report)) as lines:
            async for line in lines:
                if line.text.casefold() not in said:
                    mark("llm_first_sentence")
                    yield line
                said.add(line.text.casefold())
                length += len(line.text)
                whole += not ends_in_mid_sentence(line.text)
                if length >= self._reply_characters or whole >= self._persona.longest_answer:
                    return

    async def _with_apology(
        self, question: str, history: Sequence[ChatMessage], mark: Mark, report: Report
    ) -> AsyncGenerator[Utterance]:
        phrases, begun, reader = self._persona.phrases, False, self._reader()
        try:
            async with contextlib.aclosing(self._think(question, history, mark)) as lines:
                async for line in lines:
                    yield line
                    begun = True
            if not begun:
                yield reader.read(phrases.empty)
        except LlmError as error:
            log.info("%s", error)  # no louder: the operator of the client hears it from there
            await report(str(error))
            if begun:
                yield reader.read(phrases.broken_off)
            else:
                yield reader.read(phrases.slow if isinstance(error, LlmSlowError) else phrases.unreachable)

    async def _think(self, question: str, history: Sequence[ChatMessage], mark: Mark) -> AsyncGenerator[Utterance]:
        written = self._written(question)
        deltas = _once(written.answer) if written else self._llm.stream(self._persona.prompt(question, history))
        self._discretion.begin()
        before = ""  # an insult may be spread over two pieces of a sentence
        cut = self._cut(deltas, mark, written.mood if written else None)
        async with contextlib.aclosing(deltas), contextlib.aclosing(cut) as lines:
            async for line in lines:
                if written or self._may_be_said(before, line.text):  # what was written down is said as it is
                    yield line
                    before = line.text

    def _written(self, question: str) -> WrittenAnswer | None:
        """What is said to ``question`` without asking the language model."""
        if not self._is_clean(question):
            return WrittenAnswer((), self._persona.phrases.indecent)
        return self._persona.written_answer(question)

    def _may_be_said(self, before: str, text: str) -> bool:
        return self._discretion.is_discreet(text) and self._is_clean(f"{before} {text}")

    def _is_clean(self, text: str) -> bool:
        return self._decency is None or self._decency.is_clean(text)

    async def _cut(self, deltas: AsyncIterator[str], mark: Mark, named: Mood | None) -> AsyncGenerator[Utterance]:
        """The sentences in ``deltas``, also when they break off; of an answer cut for its length only whole ones."""
        cutter, reader, begun, broken = SentenceCutter(), self._reader(), False, None
        try:
            async for delta in deltas:
                mark("llm_first_token")
                for line in self._spoken(cutter.feed(delta), reader, named):
                    yield line
                    begun = True
        except ReplyTooLongError:
            if begun:
                return
        except LlmBrokenOffError as error:
            broken = error
        for line in self._spoken(cutter.finish(), reader, named):
            yield line
        if broken:
            raise broken

    def _spoken(self, sentences: list[str], reader: MoodReader, named: Mood | None = None) -> list[Utterance]:
        """Fit for the voice, which emoji are not, but they tell the mood."""
        lines = [reader.read(sentence, named) for sentence in sentences]
        return [Utterance(spoken, line.mood) for line in lines if (spoken := speakable(line.text, self._lang))]

    def _reader(self) -> MoodReader:
        return MoodReader(self.resting_mood, self._fixed_mood)


async def _once(text: str) -> AsyncGenerator[str]:
    yield text
