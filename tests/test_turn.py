"""A turn whose voice fails: what was spoken keeps its face."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from demo.animator import Animator
from demo.messages import FaceFrame, Message
from demo.moods import Utterance
from demo.turn import Turn
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
        with pytest.raises(ExceptionGroup) as failure:
            await turn.speak(lines())
        await turn.end()
    assert failure.group_contains(VoiceError, match="No voice left")
    return sent


def test_the_face_finishes_what_was_spoken_before_the_voice_failed():
    sent = asyncio.run(fail_in_mid_turn())
    end = check_turn(sent, 1)
    assert end.samples / RATE > 0.9 and end.frames > 27
    last = np.frombuffer(of(sent, FaceFrame)[-1].offsets, "<f2")
    assert last.max() < 1e-3, "the mouth is closed"
