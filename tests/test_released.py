"""The published network in a stream: the live path at constant cost, and HuBERT through a window."""

import copy
import dataclasses
import itertools
import time

import numpy as np
import pytest
import torch

from streamingtalker.audio.hubert import ContextWindow, HubertEncoder
from streamingtalker.checkpoint import load_own_talker, load_talker, save_talker
from streamingtalker.config import Sampling, frame_count
from streamingtalker.diffusion import SamplingError
from streamingtalker.generate import generate
from streamingtalker.mood import Mood
from streamingtalker.released import ReleasedDims, ReleasedMotion, ReleasedPredictor, ReleasedTalker
from streamingtalker.released.talker import SpeechlessError
from streamingtalker.streamer import FaceStreamer
from streamingtalker.talker import IdentityError
from streamingtalker.tensor_file import CheckpointError
from tests.conftest import tiny_face

HUBERT = {
    "hidden_size": 12,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "conv_dim": [8] * 7,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
}
DIMS = ReleasedDims(
    motion=ReleasedMotion(vertices=12, width=16, layers=2, heads=2, feedforward=20, components=4, code_dim=4, codes=8),
    predictor=ReleasedPredictor(width=16, layers=2, heads=2, feedforward=24, period=5, audio=12, history=10),
    styles=3,
    hubert=HUBERT,
    window=6,
)
TEXTBOOK = dataclasses.replace(DIMS.sampling, rule="textbook")  # by the other rule random weights forget their noise


def released(**changes) -> ReleasedTalker:
    """A published network with random weights."""
    torch.manual_seed(0)
    talker = ReleasedTalker(dataclasses.replace(DIMS, **changes), tiny_face())
    talker.start.copy_(talker.vqvae.still().detach())
    return talker.eval()


@pytest.fixture(scope="module")
def talker():
    return released()


def speech(seconds: float, seed: int = 0) -> np.ndarray:
    """Noise that swells and fades."""
    samples = int(seconds * 16000)
    noise = np.random.default_rng(seed).normal(size=samples) * 0.1
    return (noise * np.sin(np.arange(samples) / 1500) ** 2).astype(np.float32)


def in_pieces(streamer: FaceStreamer, pcm: np.ndarray, cuts: list[int]) -> list[np.ndarray]:
    edges = [0, *cuts, len(pcm)]
    return [*(streamer.feed(pcm[a:b]) for a, b in itertools.pairwise(edges)), streamer.finish()]


def stream(talker: ReleasedTalker, audio: torch.Tensor, seed: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """Latents and offsets of a stream that hears the features ``audio`` [T, D]."""
    state = talker.state(identity=1, seed=seed, sampling=TEXTBOOK)
    with torch.inference_mode():
        latents = talker.next_latents(audio, state)
        return latents, torch.cat([talker.next_offsets(latents, state), talker.last_offsets(state)])


def live(talker: ReleasedTalker, audio: torch.Tensor, seed: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """The same by the published live path, with the stream's noise for the newest frame of each step."""
    random = torch.Generator().manual_seed(seed)
    size = talker.dims.motion.latent
    draws = [torch.cat([torch.zeros(i * size), torch.randn(size, generator=random)]) for i in range(len(audio))]
    latents = talker.sample_live(
        talker.start[None, None], audio[None], talker.identity(1), torch.cat(draws), "textbook"
    )
    return latents[0, 1:], talker.decode_live(latents)[0].unflatten(1, (-1, 3))


class TestStream:
    """``next_latents`` and ``next_offsets``."""

    def test_is_the_live_path_as_long_as_it_forgets_nothing(self):
        talker = released(window=11, block=0.0)
        audio = torch.randn(10, 12)
        for found, expected in zip(stream(talker, audio), live(talker, audio), strict=True):
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)

    def test_later_only_what_is_older_is_missing(self):
        talker = released(block=0.0)
        audio = torch.randn(14, 12)
        latents, offsets = stream(talker, audio)
        expected_latents, expected_offsets = live(talker, audio)
        torch.testing.assert_close(latents[:10], expected_latents[:10], rtol=0, atol=1e-5)
        torch.testing.assert_close(offsets[:5], expected_offsets[:5], rtol=0, atol=1e-5)
        assert (latents[12:] - expected_latents[12:]).abs().max() > 1e-5
        assert (offsets[5:] - expected_offsets[5:]).abs().max() > 1e-5

    @pytest.mark.parametrize(("seconds", "ends"), [(0.0, range(1, 31)), (0.1, [2, 3, *range(6, 31, 3)]), (0.2, [2, 6])])
    def test_a_block_is_the_newest_of_its_window_decoded(self, seconds, ends):
        talker = released(window=9, block=seconds)
        latents, offsets = stream(talker, torch.randn(30, 12))
        known = torch.cat([talker.start[None], latents])
        for start, end in itertools.pairwise([0, *ends]):
            with torch.no_grad():
                together = talker.vqvae.decode(known[None, max(end + 1 - 9, 0) : end + 1])[0, start - end :]
            torch.testing.assert_close(offsets[start:end].flatten(1), together, rtol=0, atol=1e-5)

    def test_blocks_end_where_the_ear_gives_frames(self):
        dims = dataclasses.replace(DIMS, window=30)
        for fps in (30, 25):
            blocks = dataclasses.replace(dims, fps=fps)
            ends, features, context = [0], 0, ContextWindow()
            for _ in range(4):
                features = context.after(features)
                ends.append(-(-(features - 1) * fps // 50))  # frames whose feature before and after are there
            assert [blocks.block_at(start) for start in ends[:-1]] == [b - a for a, b in itertools.pairwise(ends)]

    def test_pieces_equal_the_whole(self, talker):
        pcm = speech(2.3)
        whole = np.concatenate(in_pieces(FaceStreamer(talker, seed=1), pcm, []))
        pieces = np.concatenate(in_pieces(FaceStreamer(talker, seed=1), pcm, [1, 700, 9000, 9001, 30000]))
        assert whole.shape == (frame_count(len(pcm), 30), 12, 3)
        np.testing.assert_allclose(pieces, whole, atol=1e-6)
        np.testing.assert_array_equal(generate(talker, pcm, seed=1), pieces)

    def test_seeds_and_identities_differ_and_a_reset_repeats(self, talker):
        pcm = speech(1)
        streamer = FaceStreamer(talker, identity=0, seed=1, sampling=TEXTBOOK)
        first = np.concatenate(in_pieces(streamer, pcm, []))
        streamer.set_mood(Mood("happy", 1.0))  # it knows none
        streamer.reset()
        np.testing.assert_array_equal(np.concatenate(in_pieces(streamer, pcm, [])), first)
        for options in ({"seed": 2}, {"seed": 1, "identity": 2}):
            other = np.concatenate(in_pieces(FaceStreamer(talker, sampling=TEXTBOOK, **options), pcm, []))
            assert np.abs(other - first).max() > 1e-4

    def test_changed_weights_are_noticed(self):
        talker = released()
        audio = torch.randn(6, 12)
        before = stream(talker, audio)[1]
        with torch.no_grad():
            talker.vqvae.out.bias += 1
            talker.head.out.bias += 1
        after, expected = stream(talker, audio)[1], stream(copy.deepcopy(talker), audio)[1]
        assert (after - before).abs().min() > 0.1
        torch.testing.assert_close(after, expected, rtol=0, atol=1e-6)

    def test_what_it_cannot_do_is_said(self, talker):
        with pytest.raises(IdentityError, match="0 to 2"):
            FaceStreamer(talker, identity=3)
        with pytest.raises(SamplingError, match="guidance"):
            FaceStreamer(talker, sampling=Sampling(guidance=0.5))
        with pytest.raises(SpeechlessError, match="HuBERT"):
            FaceStreamer(released(hubert={}))

    def test_cost_does_not_grow(self, talker):
        audio = torch.randn(1200, 12)
        state = talker.state()
        seconds = []
        with torch.inference_mode():
            for part in audio.split(200):
                start = time.process_time()
                talker.next_offsets(talker.next_latents(part, state), state)
                seconds.append(time.process_time() - start)
        assert min(seconds[3:]) < 2 * min(seconds[:3])
        assert (
            len(state.blocks.recent) == 6
            and len(state.blocks.waiting) < 6
            and state.predictor.caches[0].keys.shape[2] == 10
        )


class TestVqVae:
    """Whole sequences."""

    def test_a_sequence_does_not_depend_on_its_batch(self, talker):
        offsets = torch.randn(3, 9, 12, 3)
        with torch.no_grad():
            together = talker.vqvae.encode(offsets)
            alone = talker.vqvae.encode(offsets[2:].flatten(2))
            torch.testing.assert_close(together[2:], alone)
            assert talker.vqvae.decode(together).shape == (3, 9, 36)

    def test_losses_reach_encoder_and_codebook(self, talker):
        quantised = talker.vqvae.quantise(torch.randn(1, 5, 36))
        (quantised.codebook_loss + quantised.commitment_loss).backward()
        assert talker.vqvae.quantiser.codebook.grad.abs().sum() > 0 and talker.vqvae.into.weight.grad.abs().sum() > 0


class TestHubert:
    """The sliding window."""

    @pytest.fixture(scope="class")
    def encoder(self):
        torch.manual_seed(0)
        return HubertEncoder(HUBERT, fps=30).eval()

    @staticmethod
    def heard(encoder, pcm, cuts=()):
        stream = encoder.stream()
        edges = [0, *cuts, len(pcm)]
        with torch.inference_mode():
            return [*(stream.feed(pcm[a:b]) for a, b in itertools.pairwise(edges)), stream.finish()]

    @pytest.mark.parametrize("samples", [1, 399, 400, 720, 3000, 16000, 20001, 48000])
    def test_gives_every_frame_in_any_pieces(self, encoder, samples):
        pcm = speech(samples / 16000)
        encoder.hear_live(ContextWindow(past=20, step=5, future=5))
        whole = torch.cat(self.heard(encoder, pcm))
        pieces = torch.cat(self.heard(encoder, pcm, range(777, samples, 777)))
        assert len(whole) == frame_count(samples, 30)
        torch.testing.assert_close(pieces, whole, rtol=0, atol=1e-5)

    def test_gives_early_and_never_corrects(self, encoder):
        pcm, other = speech(2), speech(2)
        other[24000:] = speech(0.5, seed=9)
        encoder.hear_live(ContextWindow(past=20, step=5, future=5))
        first, second = (self.heard(encoder, each, [24000]) for each in (pcm, other))
        assert len(first[0]) >= 36  # of 45 until there: 10 features, 0.2 s, are awaited
        torch.testing.assert_close(first[0], second[0], rtol=0, atol=0)

    def test_is_near_the_whole_utterance(self, encoder):
        pcm = speech(3)
        encoder.hear_live()
        near = torch.cat(self.heard(encoder, pcm))
        encoder.context = None
        whole = torch.cat(self.heard(encoder, pcm))
        near, whole = near - whole.mean(0), whole - whole.mean(0)
        assert (near - whole).square().mean() < 0.2 * whole.square().mean()

    def test_memory_stays_small(self, encoder):
        encoder.hear_live(ContextWindow(past=20, step=5, future=5))
        stream = encoder.stream()
        with torch.inference_mode():
            for _ in range(20):
                stream.feed(speech(0.5))
        assert len(stream._sound.items) < 16000 and len(stream._features) < 10


def test_a_file_and_a_folder_are_loaded(tmp_path, talker):
    save_talker(tmp_path / "talker.safetensors", talker, card={"source": "random"})
    for path in (tmp_path, tmp_path / "talker.safetensors"):
        loaded = load_talker(path)
        assert isinstance(loaded, ReleasedTalker) and loaded.dims == talker.dims
        np.testing.assert_array_equal(generate(loaded, speech(1)), generate(talker, speech(1)))
    with pytest.raises(CheckpointError, match="published network"):
        load_own_talker(tmp_path)
