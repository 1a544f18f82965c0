"""A conversation: one per connection. It remembers the last turns and has at most one turn running."""

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from demo.animator import Animator
from demo.answering import Answerer
from demo.engines import Engines
from demo.garbage import give_back_freed_memory
from demo.llm import BROKEN_OFF
from demo.logs import in_turn
from demo.messages import (
    Commit,
    Interrupt,
    Message,
    NewConversation,
    Notice,
    Performance,
    SayPhrase,
    SayText,
    UserText,
)
from demo.moods import Utterance
from demo.persona import ChatMessage
from demo.turn import Send, Turn
from streamingtalker.audio import Resampler
from streamingtalker.errors import UserError
from streamingtalker.mood import Mood

log = logging.getLogger(__name__)

SAID_CHARACTERS = 20_000  # of a text to be said as it is: about 20 minutes
RECORDING_SECONDS = 900.0
RECORDING_RATES = range(8_000, 192_001)  # Hz

_SENTENCE_END = re.compile(r"[.!?…]+(?=\s)|[。！？]+")

RunTurn = Callable[[Turn], Coroutine[None, None, None]]


class RecordingError(UserError):
    """A recording that the face cannot perform."""


@dataclass
class Memory:
    """The last turns, as many as the budget takes; of the newest one at least its beginning."""

    characters: int
    turns: int = 6
    _kept: list[tuple[int, str, str]] = field(default_factory=list)  # number, question, answer

    def put(self, turn: int, question: str, answer: str) -> None:
        """Remember ``turn``; the oldest ones make room for it. What was remembered of it before is replaced.

        Without an answer there was no turn.
        """
        self._kept = [kept for kept in self._kept if kept[0] != turn]
        if not answer:
            return
        question = _beginning(question, max(self.characters // 2, self.characters - len(answer)))
        self._kept.append((turn, question, _beginning(answer, self.characters - len(question))))
        while len(self._kept) > self.turns or sum(len(q) + len(a) for _, q, a in self._kept) > self.characters:
            self._kept.pop(0)

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()

    def messages(self) -> list[ChatMessage]:
        """The turns as the language model reads them."""
        return [
            message
            for _, question, answer in self._kept
            for message in ({"role": "user", "content": question}, {"role": "assistant", "content": answer})
        ]


def _beginning(text: str, characters: int) -> str:
    """As much of ``text`` as fits: up to the end of a sentence, or else of a word."""
    if len(text) <= characters:
        return text
    ends = [match.end() for match in _SENTENCE_END.finditer(text, 0, characters + 1) if match.end() <= characters]
    word_end = max(text.rfind(" ", 0, characters + 1), 0)
    return text[: ends[-1] if ends else word_end or characters]


class Recording:
    """The pieces of a recording that a client sends, on their way to the face. Bounded by its length in seconds."""

    def __init__(self) -> None:
        self._pieces: asyncio.Queue[Performance] = asyncio.Queue()
        self._rate = 0  # of the first piece, whatever the others say
        self._seconds = 0.0
        self._closed = False

    def add(self, piece: Performance) -> None:
        """Take the next piece; beyond the limit pieces are dropped, so that no client can fill the memory."""
        self._rate = self._rate or min(max(1, piece.sample_rate), RECORDING_RATES[-1])
        self._seconds += len(piece.pcm) / 2 / self._rate
        if self._seconds - RECORDING_SECONDS < 60.0 and not self._closed:  # the first piece too many tells ``sound`` so
            self._pieces.put_nowait(piece)

    def close(self) -> None:
        """Nobody performs it any more: what waits is dropped, and so is what still comes."""
        self._closed = True
        self._pieces = asyncio.Queue()

    async def sound(self, rate: int) -> AsyncIterator[np.ndarray]:
        """The recording as float32 at ``rate``. Raises RecordingError where it is too long or not what it says."""
        piece = await self._pieces.get()
        from_rate, seconds = piece.sample_rate, 0.0
        if from_rate not in RECORDING_RATES:
            raise RecordingError(f"The recording has {from_rate} samples a second; give one with 8000 to 192000.")
        resampler = Resampler(from_rate, rate)
        while True:
            if piece.sample_rate != from_rate or len(piece.pcm) % 2:
                raise RecordingError("The recording changed its sample rate or broke a sample; send it anew.")
            seconds += len(piece.pcm) / 2 / from_rate
            if seconds > RECORDING_SECONDS:
                raise RecordingError(f"The recording is longer than {RECORDING_SECONDS:.0f} s; cut it.")
            yield resampler.feed(np.frombuffer(piece.pcm, "<i2").astype(np.float32) / 32768.0)
            if piece.last:
                break
            piece = await self._pieces.get()
        yield resampler.finish()


@dataclass
class Exchange:
    """A question and the turn that answers it."""

    question: str
    turn: Turn


class Conversation:
    """Takes a client's messages, sends the answers. ``handle`` does not wait for them; a turn runs beside it."""

    def __init__(self, engines: Engines, send: Send, mood: Mood | None = None) -> None:
        """``send`` raises ConnectionError where nobody is left to hear it. With ``mood`` everything is said in it."""
        self._voice = engines.voice
        self._persona = engines.persona
        self._answerer = Answerer(
            engines.llm, engines.persona, engines.lang, mood or engines.mood, engines.decency, engines.reply_characters
        )
        self._send = send
        self._animator = Animator(engines.face.new_streamer(), engines.voice.sample_rate)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="animator")
        self._memory = Memory(engines.llm.history_characters)
        self._number = -1  # the newest turn that has begun
        self._turn: Turn | None = None  # it
        self._oldest = 0  # turns below this are over
        self._task: asyncio.Task[None] | None = None
        self._exchange: Exchange | None = None  # the newest question with its answer
        self._recording = Recording()

    @property
    def resting_mood(self) -> Mood:
        """In which the face rests."""
        return self._answerer.resting_mood

    async def handle(self, message: Message) -> None:
        """Do what ``message`` asks. When this returns, nothing more is sent of a turn that it ended."""
        match message:
            case UserText(number, text, tentative):
                await self._begin(number, lambda turn: self._reply(turn, text), tentative)
            case Commit(number) if number == self._number and self._turn is not None:
                self._turn.committed.set()
            case SayText(number, text):
                await self._begin(number, lambda turn: self._say(turn, text))
            case SayPhrase(number, phrase):
                await self._begin(number, lambda turn: self._say(turn, self._persona.phrase(phrase)))
            case Performance(number):
                if number > self._number:
                    recording = Recording()
                    await self._begin(number, lambda turn: self._perform(turn, recording))
                    self._recording = recording  # the older one was closed with its turn
                if number == self._number:
                    self._recording.add(message)
            case Interrupt(number, heard) if number >= self._number:
                self._oldest = number + 1
                await self._stop()
                self._remember(heard if number == self._number else 0)
                self._exchange = None
                if self._turn is not None and self._turn.committed.is_set():
                    self._foresee()
            case NewConversation():
                await self._stop()
                self._exchange = None
                self._memory.clear()
                self._foresee()
            case _:
                log.debug("ignored: %s", type(message).__name__)

    async def close(self) -> None:
        """End the running turn and give back the thread and the face."""
        await self._stop()
        self._animator.close()
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _begin(self, number: int, run: RunTurn, tentative: bool = False) -> None:
        if number <= self._number or number < self._oldest:
            return
        await self._stop()
        self._remember()
        self._number, self._exchange = number, None
        turn = self._turn = Turn(
            number,
            self._voice,
            self._animator,
            self._thread,
            self._send,
            self.resting_mood,
            tentative=tentative,
            apology=Utterance(self._persona.phrases.broken_off, self.resting_mood),
        )
        self._task = asyncio.create_task(self._guarded(turn, run), name=f"turn {number}")

    async def _stop(self) -> None:
        task, self._task = self._task, None
        self._recording.close()
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    def _foresee(self) -> None:
        """Use the time until the next question: what was remembered has changed."""
        self._task = asyncio.create_task(self._answerer.foresee(self._memory.messages()), name="foresee")

    def _remember(self, heard: int | None = None) -> None:
        """Remember of the newest answer what was said: what ``heard`` samples of it hold, or all of it.

        A secret leaves no trace. An apology is no answer: it would be said again.
        """
        if self._exchange is None or not self._exchange.turn.committed.is_set():
            return
        turn, rate = self._exchange.turn, self._voice.sample_rate
        lines = [line for line in turn.spoken if line.text not in self._persona.phrases.apologies]
        whole = " ".join(line.text for line in lines)
        answer = " ".join(filter(None, (line.heard(heard, rate) for line in lines)))
        broken_off = BROKEN_OFF if answer and answer != whole else ""
        self._memory.put(turn.number, self._exchange.question, answer + broken_off)

    async def _guarded(self, turn: Turn, run: RunTurn) -> None:
        """Run a turn to its end. Whatever fails, the client hears of it and is not left waiting."""
        with contextlib.suppress(ConnectionError), in_turn(turn.number):
            try:
                await run(turn)
            except Exception as error:
                await turn.committed.wait()
                for text in _for_the_operator(turn.number, error):
                    await self._send(Notice("error", text))
            await turn.end()
            await turn.committed.wait()
            self._remember()
            await self._answerer.foresee(self._memory.messages())
            await asyncio.to_thread(give_back_freed_memory)  # the rest of the answer is still being played

    async def _say(self, turn: Turn, text: str) -> None:
        if len(text) > SAID_CHARACTERS:
            said = f"Only the first {SAID_CHARACTERS} of {len(text)} characters are spoken; say the rest separately."
            await self._send(Notice("warning", said))
        await turn.speak(_each(self._answerer.lines(text[:SAID_CHARACTERS])))

    async def _perform(self, turn: Turn, recording: Recording) -> None:
        try:
            await turn.perform(recording.sound(self._voice.sample_rate))
        finally:
            recording.close()

    async def _reply(self, turn: Turn, question: str) -> None:
        async def report(text: str) -> None:
            await turn.committed.wait()
            await self._send(Notice("error", text))

        self._exchange = Exchange(question, turn)
        answer = self._answerer.answer(question, self._memory.messages(), turn.watch.mark, report)
        async with contextlib.aclosing(answer):
            await turn.speak(answer)


async def _each(lines: Iterable[Utterance]) -> AsyncIterator[Utterance]:
    for line in lines:
        yield line


def _for_the_operator(number: int, error: Exception) -> Iterator[str]:
    """A sentence for each thing that went wrong; faults of ours go to the log, a vanished client goes nowhere."""
    for cause in _leaves(error):
        if isinstance(cause, ConnectionError):
            raise cause
        if isinstance(cause, UserError):
            yield str(cause)
        else:
            log.error("turn %d failed", number, exc_info=cause)
            yield "The answer was cut short by a fault of the program; its log says more."


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors inside a task group's error."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error
