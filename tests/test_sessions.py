"""Many streams side by side: each gives what a stream of its own would, whoever else comes and goes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamingtalker.config import HeadDims, Sampling
from streamingtalker.mood import Mood, MoodBlend
from streamingtalker.sessions.rows import TalkerRows
from streamingtalker.sessions.scheduler import Scheduler, Session
from streamingtalker.streamer import FaceStreamer
from tests.conftest import fake_recogniser, tiny_talker

TALKER = tiny_talker()
LINEAR = tiny_talker(head=HeadDims(kind="linear", time_features=8), sampling=Sampling(guidance=1.0, noise_memory=0.0))
RECOGNISE = fake_recogniser()


def speech(samples: int, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=samples) * 0.1
    return (noise * np.sin(np.arange(samples) / 1500) ** 2).astype(np.float32)


class Voice:
    """One stream by hand, and beside it the FaceStreamer that says what is right."""

    def __init__(self, scheduler: Scheduler, talker, seed: int, identity: int = 0, mood: Mood = Mood()) -> None:
        self.scheduler = scheduler
        self.session = Session(MoodBlend(30, talker.dims.moods, mood), identity, seed)
        self.ear = scheduler.rows.ear(recognises=True)
        self.own = FaceStreamer(talker, seed=seed, identity=identity, mood=mood)
        self.expected: list[np.ndarray] = []
        self.got: list[np.ndarray] = []
        scheduler.begin(self.session)

    def feed(self, pcm: np.ndarray, now: float = 0.0) -> None:
        self._bring(self.ear.hear(pcm), now)
        self.expected.append(self.own.feed(pcm))

    def finish(self) -> None:
        self._bring(self.ear.hear_rest(), 0.0)
        self.expected.append(self.own.finish())

    def _bring(self, windows: list[np.ndarray], now: float) -> None:
        self.scheduler.bring(self.session, self.ear.give([RECOGNISE(window) for window in windows]), now)

    def take(self) -> None:
        self.got += self.session.made
        self.session.made.clear()

    def check(self) -> None:
        self.take()
        expected = np.concatenate(self.expected)
        got = np.concatenate([expected[:0], *self.got])
        np.testing.assert_allclose(got, expected, atol=1e-5)


def run(scheduler: Scheduler, rounds: int = 10_000) -> int:
    """Compute until nothing waits; the number of rounds."""
    for done in range(rounds):
        round = scheduler.next_round()
        if round is None:
            return done
        scheduler.deliver(round, scheduler.compute(round), now=float(done))
    return rounds


def drain(scheduler: Scheduler, *voices: Voice) -> None:
    run(scheduler)
    for voice in voices:
        voice.take()


@pytest.mark.parametrize("talker", [TALKER, LINEAR], ids=["mlp", "linear"])
def test_streams_side_by_side_are_streams_of_their_own(talker):
    scheduler = Scheduler(TalkerRows(talker, 4))
    voices = [Voice(scheduler, talker, seed, seed % 2, Mood("happy", seed / 4)) for seed in range(4)]
    sounds = [speech(9000 + 3000 * seed, seed) for seed in range(4)]
    for start in range(0, 18000, 1700):
        for voice, sound in zip(voices, sounds, strict=True):
            voice.feed(sound[start : start + 1700])
        drain(scheduler, *voices)
    for voice in voices:
        voice.finish()
    drain(scheduler, *voices)
    for voice in voices:
        voice.check()
        assert len(np.concatenate(voice.got)) > 15


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9000), st.booleans()), max_size=30), st.integers(1, 5))
def test_whoever_comes_and_goes_changes_nobody_elses_frames(steps, together):
    """Streams begin, speak pieces of any length, end, and others get their rows, longer than the rings."""
    scheduler = Scheduler(TalkerRows(TALKER, 3), together, frames=2)
    voices: dict[int, Voice] = {}
    for number, (who, samples, ends) in enumerate(steps):
        if who not in voices and len(voices) < 3:
            voices[who] = Voice(scheduler, TALKER, seed=number)
        if who in voices and not scheduler.waits(voices[who].session):
            voices[who].take()
            voices[who].feed(speech(samples, number))
        run(scheduler, rounds=number % 3)  # what is left joins what the next ones bring
        if ends and who in voices:
            run(scheduler)
            voices[who].finish()
            run(scheduler)
            voices[who].check()
            scheduler.leave(voices.pop(who).session)
    run(scheduler)
    for voice in voices.values():
        voice.check()
