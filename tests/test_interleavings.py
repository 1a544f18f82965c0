"""Client and server together in virtual time, while everything happens in a random order.

Whatever comes when: no sample and no frame of a turn that is over or secret, at most one turn audible, the server
remembers what left the speaker, and whoever asks is answered.
"""

import asyncio
import random
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from demo.client import Client
from demo.conversation import Conversation
from demo.engines import Engines
from demo.frame_queue import FrameQueue
from demo.hearing import (
    Draft,
    DraftWithdrawn,
    FinalText,
    Hearing,
    NotUnderstood,
    UserSpeaking,
    Utterance,
)
from demo.llm import BROKEN_OFF
from demo.messages import PROTOCOL, FaceFrame, Message, PcmChunk, ReplyText, TurnEnd, Welcome, decode, encode
from demo.openings import Opening, Phrase, Question
from demo.persona import ChatMessage
from demo.playback import Playback
from demo.trace import TurnTrace
from demo.turn_taking import Asked, Muted, Pushed, Renewed
from tests.server_fakes import FPS, TALKATIVE, VERTICES, make_engines
from tests.virtual_time import Inline, run

RATE = 1000  # Hz of the voice and of the loudspeaker
BLOCK = 50  # samples the loudspeaker asks for at once
LATENCY = 0.05
FADE = 0.008
WORD = 0.05  # seconds
LOUDEST = 0.9  # what is no answer; answers have their own loudness


def loudness(question: str) -> float:
    """Of the answer to a question of ours, to be told from all others."""
    return (1 + int.from_bytes(question[1:3].encode()) % 800) / 1000


@dataclass
class EchoModel:
    """Answers with the question's first word and some more, 5 letters each, after a while."""

    chance: random.Random
    name: str = "echo"
    history_characters: int = 100_000

    async def stream(self, messages: Sequence[ChatMessage]) -> AsyncGenerator[str]:
        await asyncio.sleep(self.chance.choice((0.01, 0.05, 0.2)))
        yield messages[-1]["content"].split()[0] + " word" * self.chance.choice((2, 7, 25)) + "."

    async def warm_up(self, messages: Sequence[ChatMessage]) -> None:
        pass

    async def foresee(self, messages: Sequence[ChatMessage]) -> None:
        await asyncio.sleep(0.1)

    async def close(self) -> None:
        pass


class FlatVoice:
    """Says each word in a twentieth of a second, as loud as its answer is."""

    name, sample_rate = "flat", RATE

    def speak(self, text: str) -> Iterator[np.ndarray]:
        words = text.split()
        level = loudness(words[0]) if re.fullmatch("q[a-z]{3}", words[0]) else LOUDEST
        yield np.full(round(len(words) * WORD * RATE), level, np.float32)


class Loudspeaker:
    """Asks for samples in virtual time and has them looked at."""

    rate = RATE

    def open(self, fill):
        self.fill = fill

    def close(self):
        pass


@dataclass
class Stand:
    """A visitor, a client and a server, and what is to be true of them."""

    chance: random.Random
    half_duplex: bool
    traces: list[TurnTrace] = field(default_factory=list)
    modes: list[Hearing] = field(default_factory=lambda: [Hearing.OPEN])
    asked: int = 0
    forgotten: int = 0  # traces before the last new conversation
    stopped_at: float = -1.0

    def __post_init__(self) -> None:
        now = asyncio.get_running_loop().time
        self.speaker = Loudspeaker()
        self.playback = Playback(self.speaker, monotonic=now)
        self.playback.open()
        self.frames = FrameQueue(10_000)
        self.client = Client(
            self.playback,
            self.frames,
            on_trace=self._over,
            on_hearing=self.modes.append,
            monotonic=now,
        )
        self.client.half_duplex = self.half_duplex
        base = make_engines(persona=TALKATIVE)
        engines = Engines(EchoModel(self.chance), FlatVoice(), base.face, base.persona)
        self.to_client: asyncio.Queue[Message] = asyncio.Queue()
        self.to_server: asyncio.Queue[bytes] = asyncio.Queue()
        self.server = Conversation(engines, self.to_client.put)
        self.server._thread = Inline(1)

    def _over(self, trace: TurnTrace) -> None:
        self.traces.append(trace)
        if trace.interrupted:
            self.stopped_at = asyncio.get_running_loop().time()

    async def hold(self) -> None:
        """The whole of it."""
        welcome = Welcome(PROTOCOL, "tiny", VERTICES, FPS, RATE, {})
        others = [asyncio.create_task(self._play()), asyncio.create_task(self._serve())]
        talk = self.client.converse(welcome, self.to_server.put, self._receive, self._visit())
        await asyncio.wait([asyncio.create_task(talk), *others], return_when=asyncio.FIRST_COMPLETED)
        for other in others:
            if other.done():
                other.result()
            other.cancel()
        await self.server.close()
        self._check_memory()

    async def _receive(self) -> bytes:
        message = await self.to_client.get()
        if self.chance.random() < 0.05:
            await asyncio.sleep(0.03)
        return encode(message)

    async def _serve(self) -> None:
        while True:
            data = await self.to_server.get()
            await asyncio.sleep(self.chance.choice((0.0, 0.002, 0.03)))
            await self.server.handle(decode(data))

    async def _play(self) -> None:
        while True:
            await asyncio.sleep(BLOCK / RATE)
            out = np.zeros(BLOCK, np.float32)
            self.speaker.fill(out, asyncio.get_running_loop().time() + LATENCY)
            self._check_sound(out)
            self._check_picture()

    # What must hold

    def _check_sound(self, out: np.ndarray) -> None:
        turn, now = self.client._turn, asyncio.get_running_loop().time()
        fading = round(FADE * RATE) if now - self.stopped_at < 1.01 * BLOCK / RATE else 0
        heard = set(np.rint(1000 * out[fading:][out[fading:] != 0]).astype(int).tolist())
        if turn is None or turn.secret:
            assert not heard, "a turn that nobody has is heard"
        else:
            opening = turn.opening
            level = loudness(opening.text) if isinstance(opening, Question) else LOUDEST
            assert heard <= {round(1000 * level)}, "another turn is heard"

    def _check_picture(self) -> None:
        now, turn = self.playback.clock.now(), self.client._turn
        shown = None if now.seconds is None else self.frames.at(now.turn, now.seconds, FPS)
        if shown is None:
            return
        if turn is None:
            assert (now.turn, False) == (self.traces[-1].turn, self.traces[-1].interrupted), "it was stopped"
            assert shown.max() < 1e-3, "what was spoken to its end leaves a closed mouth"
        else:
            assert now.turn == turn.number and not turn.secret, "of an older turn, or one that is not to be seen"

    def _check_memory(self) -> None:
        contents = [message["content"] for message in self.server._memory.messages()]
        remembered = dict(zip(contents[::2], contents[1::2], strict=True))
        questions = [trace for trace in self.traces[self.forgotten :] if trace.transcript]
        expected = [trace for trace in questions if trace.heard_seconds >= WORD]
        for trace in expected[-4:]:
            answer = remembered.get(trace.transcript)
            if trace.interrupted and trace.heard_seconds < 2 * WORD and answer is None:
                continue  # a word just begun
            assert answer is not None, f"{trace.transcript} is forgotten"
            left = len(trace.reply.split()) * WORD - trace.heard_seconds
            assert answer.endswith(BROKEN_OFF) == (left > 1e-6), f"{left:.3f} s were not heard of {answer}"
            words = len(answer.removesuffix(BROKEN_OFF).split())
            assert abs(words - min(trace.heard_seconds / WORD, len(trace.reply.split()))) <= 1.01
        assert remembered.keys() <= {trace.transcript for trace in questions}

    # What happens

    async def _visit(self) -> AsyncIterator[Opening]:
        yield Phrase("greeting")
        for _ in range(6):
            await asyncio.sleep(self.chance.choice((0.0, 0.01, 0.1, 0.4)))
            await self._something()
        await self._last_question()

    async def _something(self) -> None:
        take, number = self.client.take, self.asked
        match self.chance.randrange(9):
            case 0 | 1 | 2 | 3:
                await self._utterance()
            case 4:
                take(Muted(self.chance.random() < 0.3))
            case 5:
                take(Pushed(self.chance.random() < 0.5))
            case 6:
                take(Renewed())
                self.forgotten = len(self.traces)
            case 7:
                events = DraftWithdrawn(number), NotUnderstood(self._uttered()), Asked(Phrase("not_heard"))
                take(self.chance.choice(events))
            case 8:
                for message in self._late():
                    await self.to_client.put(message)

    def _late(self) -> list[Message]:
        """What the server sent of an older turn."""
        turn = self.client._turn.number - 1 if self.client._turn else 0
        samples = np.full(100, 32767, "<i2").tobytes()
        frame = FaceFrame(turn, 0, bytes(VERTICES * 6))
        return [ReplyText(turn, "Late.", 0), PcmChunk(turn, 0, samples), frame, TurnEnd(turn, "Late.", 100, 1, {})]

    def _uttered(self) -> Utterance:
        now = asyncio.get_running_loop().time()
        return Utterance(self.asked, 0, now - 0.5, True, now, now)

    async def _utterance(self) -> None:
        """Somebody asks, perhaps with a pause in between; whether it is heard is the listener's business."""
        self.asked += 1
        letters = "q" + "".join(chr(97 + self.asked // 26**place % 26) for place in (1, 0)) + "a"
        mode = self.client.hearing
        self.client.take(UserSpeaking(self.asked, asyncio.get_running_loop().time(), mode is Hearing.GUARDED))
        for words in (f"{letters}", f"{letters} is it?")[self.chance.randrange(2) :]:
            await asyncio.sleep(self.chance.choice((0.05, 0.3)))
            self.client.take(Draft(self.asked, words))
            await asyncio.sleep(self.chance.choice((0.0, 0.02, 0.3)))
            if self.chance.random() < 0.3:
                self.client.take(DraftWithdrawn(self.asked))
        self.client.take(FinalText(f"{letters} is it?", self._uttered()))

    async def _last_question(self) -> None:
        for switch in (Muted(False), Pushed(False)):
            self.client.take(switch)
        await asyncio.wait_for(self.client.quiet(), 20)
        await self._utterance()
        await asyncio.wait_for(self.client.quiet(), 20)
        assert not self.traces[-1].interrupted and self.traces[-1].transcript
        assert self.modes[-1] is Hearing.OPEN
        await asyncio.sleep(0.2)  # the server remembers it, too


async def visit(seed: int) -> Stand:
    stand = Stand(random.Random(seed), half_duplex=seed % 4 == 0)
    await stand.hold()
    return stand


@pytest.mark.parametrize("part", range(4))
def test_a_thousand_random_conversations_keep_their_promises(part):
    interrupted = speculative = 0
    for seed in range(250 * part, 250 * (part + 1)):
        stand = run(visit(seed))
        interrupted += sum(trace.interrupted for trace in stand.traces)
        speculative += sum(trace.speculative for trace in stand.traces)
    assert interrupted > 100 and speculative > 200, "it is tested what is meant to be"
