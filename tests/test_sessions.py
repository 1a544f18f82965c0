"""Many streams side by side: each gives what a stream of its own would, whoever else comes and goes."""

import dataclasses
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamingtalker.audio.hubert import ContextWindow
from streamingtalker.config import ConfigError, HeadDims, Sampling
from streamingtalker.mood import Mood, MoodBlend
from streamingtalker.sessions.farm import FrameFarm, LeftError, side_by_side
from streamingtalker.sessions.recognition import RecognitionRequest, WindowQueue, recognise
from streamingtalker.sessions.rows import TalkerRows
from streamingtalker.sessions.scheduler import Scheduler, Session
from streamingtalker.streamer import FaceStreamer
from streamingtalker.talker import IdentityError, Talker
from tests.conftest import fake_recogniser, tiny_talker
from tests.test_released import HUBERT, released

TALKER = tiny_talker()
LINEAR = tiny_talker(head=HeadDims(kind="linear", time_features=8), sampling=Sampling(guidance=1.0, noise_memory=0.0))
PUBLISHED = released()
PUBLISHED.audio.hear_live(ContextWindow(past=10, step=5, future=3))
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
        self._bring(self.ear.hear(pcm), now, last=False)
        self.expected.append(self.own.feed(pcm))

    def finish(self) -> None:
        self._bring(self.ear.hear_rest(), 0.0, last=True)
        self.expected.append(self.own.finish())

    def _bring(self, windows: list[np.ndarray], now: float, last: bool) -> None:
        inputs = self.ear.give([RECOGNISE(window) for window in windows])
        self.scheduler.bring(self.session, inputs, now, last)

    def take(self) -> None:
        self.got += self.session.taken()

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


@pytest.mark.parametrize("talker", [TALKER, LINEAR, PUBLISHED], ids=["mlp", "linear", "published"])
def test_streams_side_by_side_are_streams_of_their_own(talker):
    scheduler = Scheduler(side_by_side(talker, 4))
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


@pytest.mark.parametrize("talker", [TALKER, PUBLISHED], ids=["default", "published"])
@settings(max_examples=8, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9000), st.booleans()), max_size=30), st.integers(1, 5))
def test_whoever_comes_and_goes_changes_nobody_elses_frames(talker, steps, together):
    """Streams begin, speak pieces of any length, end, and others get their rows, longer than the rings."""
    scheduler = Scheduler(side_by_side(talker, 3), together, frames=2)
    voices: dict[int, Voice] = {}
    for number, (who, samples, ends) in enumerate(steps):
        if who not in voices and len(voices) < 3:
            voices[who] = Voice(scheduler, talker, seed=number)
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


def with_company(rows: int, together: int = 64, frames: int = 3) -> Scheduler:
    """A scheduler for so many more streams than the one that has spoken already: nobody is alone."""
    scheduler = Scheduler(TalkerRows(TALKER, rows + 1), together, frames)
    Voice(scheduler, TALKER, seed=99).feed(speech(12000))
    run(scheduler)
    return scheduler


def frames_of(stream, pcm: np.ndarray, piece: int) -> np.ndarray:
    pieces = [stream.feed(pcm[start : start + piece]) for start in range(0, len(pcm), piece)]
    return np.concatenate([*pieces, stream.finish()])


def test_the_most_urgent_go_first_and_one_who_is_ahead_waits():
    scheduler = with_company(3, together=1, frames=2)
    early, late, new = (Voice(scheduler, TALKER, seed) for seed in range(3))
    early.feed(speech(12000), now=0.0)
    run(scheduler, rounds=4)  # it has a lead of several frames
    late.feed(speech(12000), now=0.1)
    new.feed(speech(12000), now=0.15)
    order = []
    while (round := scheduler.next_round()) is not None:
        order += round.sessions
        scheduler.deliver(round, scheduler.compute(round), now=0.2)
    firsts = [order.index(voice.session) for voice in (late, new, early)]
    assert firsts == sorted(firsts)
    for voice in (early, late, new):
        voice.check()


def test_what_comes_during_a_round_joins_the_next():
    scheduler = with_company(2, frames=1)
    first, second = (Voice(scheduler, TALKER, seed) for seed in range(2))
    first.feed(speech(12000))
    under_way = scheduler.next_round()
    second.feed(speech(12000, 1))
    scheduler.deliver(under_way, scheduler.compute(under_way), 0.0)
    assert set(scheduler.next_round().sessions) == {first.session, second.session}


def test_who_is_alone_is_computed_at_once():
    scheduler = Scheduler(TalkerRows(TALKER, 2), frames=1)
    voice = Voice(scheduler, TALKER, seed=0)
    voice.feed(speech(12000))
    assert run(scheduler) == 2, "what lies before the first frame, and all frames"
    voice.check()


def test_one_who_leaves_in_mid_round_takes_nobody_along_and_frees_the_row():
    scheduler = with_company(2, frames=1)
    stays, goes = (Voice(scheduler, TALKER, seed) for seed in range(2))
    for voice in (stays, goes):
        voice.feed(speech(12000))
    under_way = scheduler.next_round()
    scheduler.leave(goes.session)
    comes = Voice(scheduler, TALKER, seed=5)
    comes.feed(speech(11000, 5))
    scheduler.deliver(under_way, scheduler.compute(under_way), 0.0)
    drain(scheduler, stays, comes)
    stays.check()
    comes.check()
    assert not goes.session.made


@pytest.fixture
def farm() -> Iterator[FrameFarm]:
    farm = FrameFarm(TalkerRows(TALKER, 6), [RECOGNISE, RECOGNISE])
    yield farm
    farm.close()


def test_streams_of_a_farm_in_threads_are_streams_of_their_own(farm):
    def speak(number: int) -> None:
        pcm = speech(14000 + 900 * number, number)
        stream = farm.stream(seed=number, mood=Mood("sad"))
        for clip in range(2):
            own = FaceStreamer(TALKER, seed=number + clip, mood=Mood("sad"))
            stream.reset(number + clip)
            np.testing.assert_allclose(frames_of(stream, pcm, 1300), frames_of(own, pcm, 3100), atol=1e-5)
        stream.close()

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(speak, range(12), timeout=60))


def test_the_first_frames_come_alone_and_the_others_without_more_sound(farm):
    pcm, nothing = speech(14000), np.zeros(0, np.float32)
    stream, own = farm.stream(), FaceStreamer(TALKER)
    for _ in range(2):
        stream.reset()
        own.reset()
        expected = own.feed(pcm)
        first, others = stream.feed(pcm), stream.feed(nothing)
        assert len(first) == 3 and len(others) == len(expected) - 3 > 0
        assert len(stream.feed(nothing)) == 0
        np.testing.assert_allclose(np.concatenate([first, others]), expected, atol=1e-5)
        np.testing.assert_allclose(stream.finish(), own.finish(), atol=1e-5)


def test_what_hubert_hears_for_a_farm_keeps_no_gradients():
    """Else the activations of every window would be held until the clip ends."""
    ear = side_by_side(PUBLISHED, 1).ear(recognises=False)
    for windows in (ear.hear(speech(16000)), ear.hear(speech(16000)), ear.hear_rest()):
        inputs = ear.give(windows)
        assert len(inputs) > 0 and not inputs.requires_grad
    assert not ear._stream._features.requires_grad


def test_a_stream_without_sound_has_no_frames(farm):
    assert farm.stream().finish().shape == (0, 12, 3)


def test_no_recogniser_is_heard_in_silence():
    talker = tiny_talker()
    talker.audio.recogniser = lambda: None
    farm = FrameFarm(TalkerRows(talker, 1), [])
    pcm = speech(9000)
    np.testing.assert_allclose(
        frames_of(farm.stream(), pcm, 777), frames_of(FaceStreamer(talker), pcm, 9000), atol=1e-5
    )
    farm.close()


def test_a_stream_that_is_closed_lets_go_of_whoever_waits_and_of_its_row():
    asked, gate = threading.Event(), threading.Event()

    def slow(pcm: np.ndarray) -> np.ndarray:
        asked.set()
        assert gate.wait(10)
        return RECOGNISE(pcm)

    farm = FrameFarm(TalkerRows(TALKER, 1), [slow])
    stream = farm.stream()
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(stream.feed, speech(16000))
        assert asked.wait(10)
        stream.close()
        with pytest.raises(LeftError):
            waiting.result(10)
        with pytest.raises(LeftError):
            stream.feed(speech(16000))
        gate.set()
        again = farm.stream()
        assert len(again.feed(speech(16000))) > 0
    farm.close()


@pytest.mark.parametrize("where", ["recogniser", "network"])
def test_a_fault_reaches_who_waits_and_the_farm_goes_on(where):
    broken = [True]

    def failing(pcm: np.ndarray) -> np.ndarray:
        if broken and where == "recogniser":
            raise RuntimeError("ears")
        return RECOGNISE(pcm)

    rows = TalkerRows(TALKER, 1)
    draw = rows.draw

    def fails(*arguments):
        if broken and where == "network":
            raise RuntimeError("no memory")
        return draw(*arguments)

    rows.draw = fails
    farm, pcm = FrameFarm(rows, [failing]), speech(16000)
    stream = farm.stream()
    with pytest.raises(RuntimeError):
        stream.feed(pcm)
    broken.clear()
    stream.reset()
    np.testing.assert_allclose(frames_of(stream, pcm, 5000), frames_of(FaceStreamer(TALKER), pcm, 5000), atol=1e-5)
    farm.close()


def test_an_identity_that_does_not_exist_is_refused_at_once_and_takes_no_place():
    farm = FrameFarm(TalkerRows(TALKER, 1), [RECOGNISE])
    with pytest.raises(IdentityError, match="0 to 1"):
        farm.stream(identity=9)
    assert len(frames_of(farm.stream(), speech(9000), 5000)) > 0
    farm.close()


def test_a_row_that_cannot_begin_is_a_fault_like_any_other():
    rows = TalkerRows(TALKER, 1)
    reset, broken = rows.reset, [True]

    def fails(*arguments):
        if broken:
            raise RuntimeError("no memory")
        reset(*arguments)

    rows.reset = fails
    farm, pcm = FrameFarm(rows, [RECOGNISE]), speech(16000)
    stream = farm.stream()
    with ThreadPoolExecutor(1) as thread:
        fed = thread.submit(stream.feed, pcm)
        try:
            with pytest.raises(RuntimeError, match="no memory"):
                fed.result(10)
        finally:
            stream.close()  # lets go of whoever still waits
    broken.clear()
    again = farm.stream()
    np.testing.assert_allclose(frames_of(again, pcm, 5000), frames_of(FaceStreamer(TALKER), pcm, 5000), atol=1e-5)
    farm.close()


def test_a_talker_that_hears_with_hubert_of_our_own_is_not_served():
    audio = dataclasses.replace(TALKER.dims.audio, kind="hubert", width=12, hubert=HUBERT)
    talker = Talker(dataclasses.replace(TALKER.dims, audio=audio), TALKER.topology)
    with pytest.raises(ConfigError, match="HuBERT"):
        side_by_side(talker, 2)


def test_joining_and_leaving_take_no_memory():
    scheduler = Scheduler(TalkerRows(TALKER, 2))
    buffers = [ring.keys.data_ptr() for ring in scheduler.rows._rings._caches]
    for seed in range(50):
        voice = Voice(scheduler, TALKER, seed)
        voice.feed(speech(3000, seed))
        run(scheduler, rounds=1)
        scheduler.leave(voice.session)
    run(scheduler)
    assert buffers == [ring.keys.data_ptr() for ring in scheduler.rows._rings._caches]
    assert sorted(scheduler._free) == [0, 1]
    assert not (scheduler._ready or scheduler._gone or scheduler._computing)


class Pair:
    """Hears windows alone and together; counts."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(self, pcm: np.ndarray) -> np.ndarray:
        return RECOGNISE(pcm)

    def together(self, windows: np.ndarray) -> np.ndarray:
        self.batches.append(len(windows))
        return np.stack([RECOGNISE(window) for window in windows])


def test_windows_of_the_same_length_are_heard_together_the_most_urgent_first():
    queue, recogniser = WindowQueue(together=2), Pair()
    owners = [Session(MoodBlend(30), 0, number) for number in range(4)]
    sounds = [speech(length, length) for length in (6400, 9600, 6400, 6400)]
    requests = [
        RecognitionRequest(owner, [sound], due) for owner, sound, due in zip(owners, sounds, (3, 2, 1, 4), strict=True)
    ]
    for request in requests:
        queue.add(request)
    heard = []
    while batch := queue.next_batch():
        heard.append([requests.index(request) for request, _ in batch])
        scores = recognise(recogniser, [request.windows[number] for request, number in batch])
        assert queue.deliver(batch, scores) == [request for request, _ in batch]
    assert heard == [[2, 0], [1], [3]]
    assert recogniser.batches == [2]
    for request, sound in zip(requests, sounds, strict=True):
        np.testing.assert_array_equal(request.scores[0], RECOGNISE(sound))
