"""Listener events become turns; recordings are played one after the other."""

import asyncio
from pathlib import Path

import numpy as np
import pytest
import soundfile

from demo.listener import FinalText, ListenerFailed, NotUnderstood, RecordingEnded, Utterance
from demo.openings import (
    Line,
    ListeningError,
    Phrase,
    Question,
    load_speech,
    overheard,
    performed,
    recorded,
    said,
    typed,
)
from streamingtalker.audio import AudioError

SPOKEN = Utterance(1, 16_000, last_speech_time=10.0, exact=True, decided_time=10.5, text_time=10.9)


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


def test_a_spoken_question_carries_its_times():
    async def first_after_greeting():
        openings = overheard(_queue(FinalText("Who are you?", SPOKEN)))
        return [await anext(openings), await anext(openings)]

    greeting, question = asyncio.run(first_after_greeting())
    assert isinstance(greeting, Phrase) and greeting.phrase == "greeting"
    assert (question.text, question.asked_at) == ("Who are you?", 10.0)
    assert question.spans_ms == pytest.approx({"endpoint": 500.0, "stt": 400.0})


def test_a_lost_microphone_ends_the_session_with_its_sentence():
    async def listen():
        openings = overheard(_queue(ListenerFailed("The microphone is gone.")))
        return [await anext(openings), await anext(openings)]

    with pytest.raises(ListeningError, match="microphone is gone"):
        asyncio.run(listen())


def test_recordings_play_one_after_the_other_and_noise_makes_no_turn():
    played = []

    async def listen():
        events = _queue()

        def play(path):
            played.append(path.name)
            if path.name == "question.wav":
                events.put_nowait(FinalText("Hm?", SPOKEN))
            if path.name == "mumble.wav":
                events.put_nowait(NotUnderstood(SPOKEN))
            events.put_nowait(RecordingEnded(path, 0))

        return await _all(recorded([Path(n) for n in ("noise.wav", "question.wav", "mumble.wav")], play, events))

    question, apology = asyncio.run(listen())
    assert played == ["noise.wav", "question.wav", "mumble.wav"]
    assert isinstance(question, Question) and isinstance(apology, Phrase) and apology.phrase == "not_heard"


def test_a_performance_keeps_the_recordings_own_rate(tmp_path):
    path = tmp_path / "speech.wav"
    soundfile.write(path, np.zeros((4410, 2), np.float32), 44_100)
    (speech,) = asyncio.run(_all(performed(path)))
    assert (speech.transcript, speech.sample_rate, speech.pcm.shape) == ("speech.wav", 44_100, (4410,))


def test_a_missing_recording_is_one_sentence(tmp_path):
    with pytest.raises(AudioError, match=r"gone\.wav"):
        load_speech(tmp_path / "gone.wav")
