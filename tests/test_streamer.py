"""Streaming is exact: pieces equal the whole, the future changes nothing, cost does not grow."""

import dataclasses
import itertools
import time
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from streamingtalker.config import HeadDims, Sampling, frame_count
from streamingtalker.streamer import FaceStreamer
from streamingtalker.talker import IdentityError
from tests.conftest import TINY, tiny_talker

PLAIN = Sampling(temperature=1.0, noise_memory=0.0)
TALKER = tiny_talker()
LINEAR = tiny_talker(head=HeadDims(kind="linear", time_features=8))


def speech(samples: int, seed: int = 0) -> np.ndarray:
    """Noise that swells and fades."""
    noise = np.random.default_rng(seed).normal(size=samples) * 0.1
    return (noise * np.sin(np.arange(samples) / 1500) ** 2).astype(np.float32)


def whole(pcm: np.ndarray, talker=TALKER, **options) -> np.ndarray:
    streamer = FaceStreamer(talker, **options)
    return np.concatenate([streamer.feed(pcm), streamer.finish()])


def in_pieces(pcm: np.ndarray, cuts: list[int], streamer: FaceStreamer) -> list[np.ndarray]:
    edges = [0, *sorted(min(cut, len(pcm)) for cut in cuts), len(pcm)]
    frames = [streamer.feed(pcm[a:b]) for a, b in itertools.pairwise(edges)]
    return [*frames, streamer.finish()]


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 30000), st.lists(st.integers(0, 30000), max_size=12))
def test_any_chopping_gives_the_same_vertices(samples, cuts):
    pcm = speech(samples)
    pieces = np.concatenate(in_pieces(pcm, cuts, FaceStreamer(TALKER)))
    np.testing.assert_allclose(pieces, whole(pcm), atol=1e-5)


@pytest.mark.parametrize("piece", [1, 37, 160, 533, 4000])
def test_tiny_and_uneven_pieces(piece):
    pcm = speech(3000 if piece == 1 else 20000)
    frames = np.concatenate(in_pieces(pcm, list(range(piece, len(pcm), piece)), FaceStreamer(TALKER)))
    np.testing.assert_allclose(frames, whole(pcm), atol=1e-5)


def test_the_linear_head_streams_alike():
    pcm = speech(20000)
    frames = np.concatenate(in_pieces(pcm, [700, 9000], FaceStreamer(LINEAR)))
    np.testing.assert_allclose(frames, whole(pcm, LINEAR), atol=1e-5)


def test_more_sound_never_changes_frames_already_given():
    pcm = speech(40000)
    other = pcm.copy()
    other[24000:] = speech(16000, seed=1)
    a, b = FaceStreamer(TALKER), FaceStreamer(TALKER)
    given_a, given_b = a.feed(pcm[:24000]), b.feed(other[:24000])
    assert len(given_a) > 20
    full = np.concatenate([given_b, b.feed(other[24000:]), b.finish()])
    np.testing.assert_array_equal(given_a, full[: len(given_a)])
    assert np.abs(full[len(given_a) + 15 :] - whole(pcm)[len(given_a) + 15 :]).max() > 1e-4


@pytest.mark.parametrize("samples", [1, 533, 534, 16000, 16001, 25000])
def test_number_of_frames(samples):
    assert len(whole(speech(samples))) == -(-samples * 30 // 16000) == frame_count(samples, 30)


def test_no_sound_gives_no_frames():
    assert whole(speech(0)).shape == (0, 12, 3)


def test_the_stream_equals_the_forward_over_the_whole_clip():
    """Ring cache, streamed convolutions and window grid against the training forward, longer than the history."""
    pcm = speech(48000)
    streamer = FaceStreamer(TALKER, sampling=PLAIN)
    frames = np.concatenate(list(streamer.stream([pcm])))
    with torch.no_grad():
        features = torch.from_numpy(TALKER.audio.features(pcm))[None]
        audio = TALKER.audio(features)
        assert audio.shape[1] == len(frames) == 90
        state = TALKER.state(sampling=PLAIN)
        latents = TALKER.next_latents(audio[0], state)[None]
        style = TALKER.identity(0)
        known = TALKER.conditions(latents, audio, style)
        unknown = TALKER.conditions(latents, audio, style, torch.zeros(1, 90, dtype=torch.bool))
        noise_generator = torch.Generator().manual_seed(0)
        noise = torch.cat([torch.randn(1, 9, generator=noise_generator) for _ in range(90)])
        redrawn = state.sampler(noise, torch.cat([known, unknown]), state.weights)
        expected = TALKER.vqvae.decode(redrawn[None])[0].numpy()
    np.testing.assert_allclose(frames, expected, atol=1e-5)


def test_reset_reproduces_and_the_seed_decides():
    pcm = speech(16000)
    streamer = FaceStreamer(TALKER, seed=3)
    first = np.concatenate([streamer.feed(pcm), streamer.finish()])
    streamer.reset()
    np.testing.assert_array_equal(first, np.concatenate([streamer.feed(pcm), streamer.finish()]))
    np.testing.assert_array_equal(first, whole(pcm, seed=3))
    streamer.reset(seed=4)
    assert np.abs(first - np.concatenate([streamer.feed(pcm), streamer.finish()])).max() > 1e-4


def test_styles_differ_and_unknown_ones_are_refused():
    pcm = speech(8000)
    assert np.abs(whole(pcm, identity=0) - whole(pcm, identity=1)).max() > 1e-4
    with pytest.raises(IdentityError, match="0 to 1"):
        FaceStreamer(TALKER, identity=2)


def test_full_guidance_needs_one_row_and_no_noise_makes_seeds_equal():
    pcm = speech(8000)
    calm = dataclasses.replace(Sampling(), temperature=0.0, upper_temperature=0.0, guidance=1.0)
    frames = [whole(pcm, seed=seed, sampling=calm) for seed in (0, 1)]
    np.testing.assert_array_equal(*frames)


def test_long_speech_takes_no_more_memory_nor_time_per_frame():
    streamer = FaceStreamer(TALKER)
    pcm = speech(16000)
    durations = []
    tracemalloc.start()
    for second in range(35):
        began = time.thread_time()  # what others do meanwhile does not count
        streamer.feed(pcm)
        durations.append(time.thread_time() - began)
        if second == 5:
            early = tracemalloc.get_traced_memory()[0]
    late = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert late - early < 50_000
    assert np.median(durations[-10:]) < 3 * np.median(durations[1:7])  # starting anew each time would cost eight times


def test_dimensions_survive_json():
    assert type(TINY).from_json(TINY.to_json()) == TINY


def test_noise_that_remembers_streams_alike_and_keeps_its_variance():
    pcm = speech(20000)
    sampling = Sampling(temperature=1.0, noise_memory=0.9)
    frames = np.concatenate(in_pieces(pcm, [700, 9000], FaceStreamer(TALKER, sampling=sampling)))
    np.testing.assert_allclose(frames, whole(pcm, sampling=sampling), atol=1e-5)
    state = TALKER.state(sampling=sampling)
    drawn = state.noise.draw(4000)[0]
    assert drawn.std() == pytest.approx(1, abs=0.1)
    together = (drawn[1:] * drawn[:-1]).mean(0)
    assert together[:6].mean() == pytest.approx(0.9, abs=0.1)
    assert together[6:].mean() == pytest.approx(0.0, abs=0.1)  # brows and lids are joined by their history
