"""One turn: sentences → voice → sound and face, sent as they come into being."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from demo.animator import Animator, Frame
from demo.messages import FaceFrame, Message, Notice, PcmChunk, ReplyText, TurnEnd
from demo.moods import Utterance
from demo.sentences import ends_in_mid_sentence
from demo.voices import Voice, VoiceError, checked
from streamingtalker.mood import Mood

Send = Callable[[Message], Awaitable[None]]
T = TypeVar("T")

PIECE_SECONDS = 0.2  # sound goes to the face in pieces this long: the first frames need not wait for a sentence
SOUND_AHEAD_PIECES = 50  # how far the voice may run ahead of the face, in pieces
SENTENCES_AHEAD = 32  # how far the language model may run ahead of the voice
SENTENCE_PAUSE_SECONDS = 0.18
CLAUSE_PAUSE_SECONDS = 0.06  # after a piece of a sentence that was too long to wait for
CLOSING_SECONDS = 0.3  # silence in which the mouth comes to rest
AUDIBLE = 0.004  # -48 dBFS: where a voice begins to be heard
KEPT_LEAD_SECONDS = 0.01  # of the silence before a turn's first sound: whoever asked waits for it
SECRET_SECONDS = 2.0  # of sound that are made before it is certain that they will be heard
BEHIND_SECONDS = 1.0  # that the face may be behind the voice before it leaves something out
AHEAD_SECONDS = 0.4  # that it is ahead again when it goes on
SECONDS_A_CHARACTER = 0.06  # roughly, of a voice


@dataclass
class Stopwatch:
    """When the steps of a turn were first reached, in seconds of the event loop's clock."""

    started: float
    reached: dict[str, float] = field(default_factory=dict)

    def mark(self, step: str) -> None:
        """``step`` is reached now, unless it was before."""
        self.reached.setdefault(step, asyncio.get_running_loop().time())

    def spans_ms(self) -> dict[str, float]:
        """Milliseconds from each step to the next, in the order they were reached."""
        spans, last = {}, self.started
        for step, at in self.reached.items():
            spans[step], last = (at - last) * 1000.0, at
        return spans


@dataclass
class SpokenLine:
    """Words and where in the turn's sound they are."""

    text: str
    start: int  # samples
    end: int | None = None  # None while the voice speaks them

    def heard(self, samples: int | None, rate: int) -> str:
        """The whole words of it that were heard when ``samples`` of the turn were; None is all of them."""
        if samples is None or (self.end is not None and samples >= self.end):
            return self.text
        length = (self.end or self.start + len(self.text) * SECONDS_A_CHARACTER * rate) - self.start
        position = max(0, int(len(self.text) * (samples - self.start) / length))
        return self.text if position >= len(self.text) else self.text[: max(self.text.rfind(" ", 0, position + 1), 0)]


class Turn:
    """Sends the messages of one turn. Cancelling the task that runs it ends it between two messages."""

    def __init__(
        self,
        number: int,
        voice: Voice,
        animator: Animator,
        thread: Executor,
        send: Send,
        mood: Mood = Mood(),
        *,
        tentative: bool = False,
        apology: Utterance | None = None,
    ) -> None:
        """``thread`` runs the animator; with one worker, so that a cancelled turn ends before the next begins.

        ``mood`` is that of sound without words. Of a ``tentative`` turn only the beginning is made until it is
        committed. ``apology`` is said once in place of sentences that the voice cannot speak.
        """
        self.number = number
        self.watch = Stopwatch(asyncio.get_running_loop().time())
        self.spoken: list[SpokenLine] = []
        self.committed = asyncio.Event()
        if not tentative:
            self.committed.set()
        self._voice = voice
        self._animator = animator
        self._thread = thread
        self._send = send
        self._mood = mood  # of what is being said
        self._samples = 0
        self._frames = 0
        self._sound: asyncio.Queue[tuple[Mood, np.ndarray] | None] = asyncio.Queue(SOUND_AHEAD_PIECES)
        self._face_begun = asyncio.Event()
        self._heard_from: float | None = None  # when the first sound was sent
        self._apology = apology
        self._told: set[str] = set()  # to the operator
        self._seen_from = 0.0  # when the first frame was sent, or as if the sound had not paused since
        self._resting = False  # the face, because it came too late

    async def speak(self, lines: AsyncIterator[Utterance]) -> None:
        """Say ``lines``, each in its mood, to the last frame."""
        queue: asyncio.Queue[Utterance | None] = asyncio.Queue(SENTENCES_AHEAD)
        await self._with_face(_pour(lines, queue), self._voice_all(queue))

    async def perform(self, sound: AsyncIterator[np.ndarray]) -> None:
        """Let the face perform ``sound``, float32 at the voice's rate, to the last frame."""
        await self._with_face(self._play_all(sound))

    async def end(self) -> None:
        """Tell the client that nothing more comes."""
        reply = " ".join(line.text for line in self.spoken)
        await self._send(TurnEnd(self.number, reply, self._samples, self._frames, self.watch.spans_ms()))

    async def _with_face(self, *sounding: Coroutine[None, None, None]) -> None:
        """Run ``sounding`` beside the face. Where they fail the face still finishes the sound that was sent."""
        failure: Exception | None = None
        async with asyncio.TaskGroup() as face:
            face.create_task(self._animate())
            try:
                async with asyncio.TaskGroup() as tasks:
                    for part in sounding:
                        tasks.create_task(part)
            except Exception as error:
                failure = error
                await self._rest(CLOSING_SECONDS)
            await self._sound.put(None)
        if failure is not None:
            raise failure

    async def _voice_all(self, lines: asyncio.Queue[Utterance | None]) -> None:
        while (line := await self._next_line(lines)) is not None:
            if not await self._voice_line(line) and self._apology is not None:
                apology, self._apology = self._apology, None
                await self._voice_line(apology)
        await self._rest(CLOSING_SECONDS - SENTENCE_PAUSE_SECONDS)

    async def _voice_line(self, line: Utterance) -> bool:
        """Say ``line``; whether all of it could be said."""
        await self._send(ReplyText(self.number, line.text, self._samples, str(line.mood)))
        spoken = SpokenLine(line.text, self._samples)
        self.spoken.append(spoken)
        self._mood = line.mood
        said = True
        try:
            async for pcm in in_thread(checked(self._voice, line.text)):
                await self._play(pcm if self._samples else self._without_lead(pcm))
                await self._let_the_face_begin()
        except VoiceError as error:
            said = False
            await self._tell(str(error))
        spoken.end = self._samples
        await self._rest(CLAUSE_PAUSE_SECONDS if ends_in_mid_sentence(line.text) else SENTENCE_PAUSE_SECONDS)
        return said

    async def _tell(self, text: str) -> None:
        """Tell the operator, once."""
        if text not in self._told:
            self._told.add(text)
            await self.committed.wait()
            await self._send(Notice("error", text))

    def _without_lead(self, pcm: np.ndarray) -> np.ndarray:
        loud = np.flatnonzero(np.abs(pcm) > AUDIBLE)
        lead = int(loud[0]) - round(KEPT_LEAD_SECONDS * self._voice.sample_rate) if len(loud) else 0
        return pcm[max(0, lead) :]

    async def _let_the_face_begin(self) -> None:
        """Until it shows something nobody hears anything: the voice must not take the processor from it."""
        await self._face_begun.wait()

    async def _next_line(self, lines: asyncio.Queue[Utterance | None]) -> Utterance | None:
        """The next sentence. If it is not there when the sound runs out, silence lets the face finish the last one."""
        if self._heard_from is not None:
            try:
                async with asyncio.timeout(self._seconds_ahead()):
                    return await lines.get()
            except TimeoutError:
                await self._rest(CLOSING_SECONDS)
        return await lines.get()

    def _seconds_ahead(self) -> float:
        """How much of the sound sent so far a client that began at once has still to play."""
        assert self._heard_from is not None
        played = asyncio.get_running_loop().time() - self._heard_from
        return max(0.0, self._samples / self._voice.sample_rate - played)

    async def _play_all(self, sound: AsyncIterator[np.ndarray]) -> None:
        async for pcm in sound:
            await self._play(pcm)

    async def _rest(self, seconds: float) -> None:
        if self._samples:
            await self._play(np.zeros(round(seconds * self._voice.sample_rate), np.float32))

    async def _play(self, pcm: np.ndarray) -> None:
        """Send sound and pass it on to the face; waits where the face is far behind."""
        length = round(PIECE_SECONDS * self._voice.sample_rate)
        for start in range(0, len(pcm), length):
            piece = pcm[start : start + length]
            if self._samples > SECRET_SECONDS * self._voice.sample_rate:
                await self.committed.wait()
            await self._send(PcmChunk(self.number, self._samples, to_int16(piece)))
            self.watch.mark("tts_first_audio")
            self._heard_from = self._heard_from or asyncio.get_running_loop().time()
            self._seconds_seen()  # before there is more of it
            self._samples += len(piece)
            if not self._frames:
                self._face_begun.clear()
            await self._sound.put((self._mood, piece))

    async def _animate(self) -> None:
        await self._in_animator(self._animator.begin, self._mood)
        while (heard := await self._sound.get()) is not None:
            mood, pcm = heard
            waited_for = self._frames == 0
            await self._show(await self._in_animator(self._feed(), mood, pcm))
            if waited_for and self._frames:  # the first come alone
                await self._show(await self._in_animator(self._feed(), mood, pcm[:0]))
            if self._frames or self._sound.empty():  # it shows something, or needs more sound to do so
                self._face_begun.set()
        await self._show(await self._in_animator(self._animator.finish))

    def _feed(self) -> Callable[..., list[Frame]]:
        """What is to be done with the next piece of sound: a face that is too far behind lets it pass."""
        behind = self._seconds_seen() - self._frames / self._animator.fps
        self._resting = behind > (-AHEAD_SECONDS if self._resting else BEHIND_SECONDS)
        return self._animator.skip if self._resting else self._animator.feed

    def _seconds_seen(self) -> float:
        """How much of the turn a client that began at the first frame has played."""
        now, sent = asyncio.get_running_loop().time(), self._samples / self._voice.sample_rate
        if not self._frames or not self.committed.is_set():
            self._seen_from = now
        self._seen_from = max(self._seen_from, now - sent)  # nothing was there to be played
        return now - self._seen_from

    async def _show(self, frames: list[Frame]) -> None:
        for frame in frames:
            await self._send(FaceFrame(self.number, frame.index, frame.offsets))
            self.watch.mark("first_frame")
            self._frames += 1
        for trouble in self._animator.troubles():
            await self._tell(trouble)

    async def _in_animator(self, call: Callable[..., T], *arguments: Mood | np.ndarray) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call, *arguments)


async def _pour(lines: AsyncIterator[Utterance], queue: asyncio.Queue[Utterance | None]) -> None:
    async for line in lines:
        await queue.put(line)
    await queue.put(None)


async def in_thread(pieces: Iterator[np.ndarray]) -> AsyncIterator[np.ndarray]:
    """Iterate over ``pieces`` in worker threads: making the next one blocks."""
    while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
        yield piece


def to_int16(pcm: np.ndarray) -> bytes:
    """float32 in [-1, 1] as the wire's int16 little-endian."""
    return (np.clip(pcm, -1.0, 1.0) * 32767.0).astype("<i2").tobytes()
