"""Listener events become turns; recordings are played one after the other."""

import asyncio
from pathlib import Path

import numpy as np
import pytest
import soundfile

from demo.hearing import ListenerFailed, RecordingEnded
from demo.openings import (
    Line,
    ListeningError,
    Question,
    load_speech,
    overheard,
    performed,
    recorded,
    said,
    typed,
)
from streamingtalker.audio import AudioError


async def _all(openings):
    return [opening async for opening in openings]


def _queue(*events):
    queue = asyncio.Queue()
    for event in events:
        queue.put_nowait(event)
    return queue


def test_typed_and_said():
    assert [type(o) for o in asyncio.run(_all(typed(["a", "b"])))] == [Question, Question]
    (line,) = asyncio.run(_all(said("Welcome.")))
    assert isinstance(line, Line) and line.text == "Welcome."


def test_a_session_of_listening_begins_with_a_greeting_and_ends_when_the_microphone_is_lost():
    async def listen():
        openings = overheard(_queue(ListenerFailed("The microphone is gone.")))
        return [await anext(openings), await anext(openings)]

    async def greeting():
        return await anext(overheard(_queue()))

    assert asyncio.run(greeting()).phrase == "greeting"
    with pytest.raises(ListeningError, match="microphone is gone"):
        asyncio.run(listen())


def test_recordings_play_one_after_the_other_when_all_is_quiet():
    happened = []

    async def listen(*news):
        events = _queue()

        def play(path):
            happened.append(path.name)
            events.put_nowait(news[0] if news else RecordingEnded(path, 0))

        async def quiet():
            happened.append("quiet")

        return await _all(recorded([Path("noise.wav"), Path("question.wav")], play, events, quiet))

    assert asyncio.run(listen()) == [], "turns begin with what is said in them"
    assert happened == ["noise.wav", "quiet", "question.wav", "quiet"]
    with pytest.raises(ListeningError, match="microphone is gone"):
        asyncio.run(listen(ListenerFailed("The microphone is gone.")))


def test_a_performance_keeps_the_recordings_own_rate(tmp_path):
    path = tmp_path / "speech.wav"
    soundfile.write(path, np.zeros((4410, 2), np.float32), 44_100)
    (speech,) = asyncio.run(_all(performed(path)))
    assert (speech.transcript, speech.sample_rate, speech.pcm.shape) == ("speech.wav", 44_100, (4410,))


def test_a_missing_recording_is_one_sentence(tmp_path):
    with pytest.raises(AudioError, match=r"gone\.wav"):
        load_speech(tmp_path / "gone.wav")
