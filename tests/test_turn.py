"""One turn: what is spoken keeps its face when the voice fails, and nothing delays its beginning."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from demo.animator import Animator
from demo.messages import FaceFrame, Message, Notice, PcmChunk
from demo.moods import Utterance
from demo.turn import AUDIBLE, KEPT_LEAD_SECONDS, Turn
from demo.voices import VoiceError
from tests.server_fakes import RATE, SineVoice, TinyStreamer, check_turn, of


class FailingVoice(SineVoice):
    """Fails at its second sentence."""

    def speak(self, text: str) -> Iterator[np.ndarray]:
        if self.spoken:
            raise VoiceError("No voice left; choose another.")
        yield from super().speak(text)


class SlowStreamer(TinyStreamer):
    def feed(self, pcm: np.ndarray) -> np.ndarray:
        time.sleep(0.1)
        return super().feed(pcm)


async def lines() -> AsyncIterator[Utterance]:
    yield Utterance("This was heard by everybody.")
    yield Utterance("This was not.")


async def fail_in_mid_turn() -> list[Message]:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    with ThreadPoolExecutor(1) as thread:
        turn = Turn(1, FailingVoice(), Animator(SlowStreamer(), RATE), thread, send)
        await turn.speak(lines())
        await turn.end()
    assert [notice.text for notice in of(sent, Notice)] == ["No voice left; choose another."]
    return sent


def test_the_face_finishes_what_was_spoken_before_the_voice_failed():
    sent = asyncio.run(fail_in_mid_turn())
    end = check_turn(sent, 1)
    assert end.samples / RATE > 0.9 and end.frames > 27
    last = np.frombuffer(of(sent, FaceFrame)[-1].offsets, "<f2")
    assert last.max() < 1e-3, "the mouth is closed"


class HesitantVoice(SineVoice):
    """Is silent for 80 ms before each of two pieces; tells what had been sent when it was asked for the second."""

    def __init__(self, sent: list[Message]) -> None:
        super().__init__()
        self._sent = sent

    def speak(self, text: str) -> Iterator[np.ndarray]:
        (pcm,) = super().speak(text)
        piece = np.concatenate([np.zeros(int(0.08 * RATE), np.float32), pcm])
        yield piece
        self.sent_before_second = list(self._sent)
        yield piece


def begin(text: str) -> tuple[list[Message], list[Message]]:
    """What is sent in all, and what was when the voice went on to its second piece."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def main() -> list[Message]:
        voice = HesitantVoice(sent)
        with ThreadPoolExecutor(1) as thread:
            turn = Turn(1, voice, Animator(SlowStreamer(), RATE), thread, send)
            await turn.speak(_each(Utterance(text)))
            await turn.end()
        return voice.sent_before_second

    return sent, asyncio.run(main())


async def _each(*lines: Utterance) -> AsyncIterator[Utterance]:
    for line in lines:
        yield line


def test_the_voice_goes_on_when_the_face_has_begun():
    sent, before = begin("It is a long first sentence.")
    assert of(before, FaceFrame), "until then the processor is the face's"
    assert len(of(before, FaceFrame)) < len(of(sent, FaceFrame))


def test_the_voice_goes_on_when_the_face_needs_more_to_begin():
    sent, before = begin("I")  # 20 ms
    assert not of(before, FaceFrame)
    check_turn(sent, 1)


def test_nobody_waits_for_the_silence_before_the_first_sound():
    sent, _ = begin("Hello.")
    pcm = np.concatenate([np.frombuffer(chunk.pcm, "<i2") for chunk in of(sent, PcmChunk)]) / 32767
    loud = np.abs(pcm) > AUDIBLE
    assert np.flatnonzero(loud)[0] == pytest.approx(KEPT_LEAD_SECONDS * RATE, abs=1)
    second = int((KEPT_LEAD_SECONDS + 0.12) * RATE)
    assert not loud[second + 5 : second + int(0.08 * RATE) - 5].any(), "later silences stay"
