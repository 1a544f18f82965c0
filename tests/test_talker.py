"""How the joined model draws: guidance and what cannot be drawn with."""

import dataclasses

import numpy as np
import pytest
import torch

from streamingtalker.config import Sampling
from streamingtalker.diffusion import SamplingError
from streamingtalker.streamer import FaceStreamer


def test_guidance_mixes_what_knows_the_history_with_what_does_not(talker):
    state = {guidance: talker.state(sampling=Sampling(guidance=guidance)) for guidance in (0.5, 1, 2)}
    assert {guidance: each.weights.tolist() for guidance, each in state.items()} == {
        0.5: [[0.5] * 6 + [1] * 3, [0.5] * 6 + [0] * 3],
        1: [[1] * 9],
        2: [[2] * 6 + [1] * 3, [-1] * 6 + [0] * 3],
    }
    pcm = np.random.default_rng(0).normal(size=8000).astype(np.float32) * 0.1
    plain, strong = (
        np.concatenate(list(FaceStreamer(talker, sampling=Sampling(guidance=guidance)).stream([pcm])))
        for guidance in (1, 2)
    )
    assert np.abs(plain - strong).max() > 1e-5


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": 0},
        {"temperature": -0.1},
        {"temperature": float("nan")},
        {"noise_memory": 1.0},
        {"noise_memory": -0.5},
        {"guidance": -1.0},
        {"rule": "new"},
        {"spacing": "wide"},
    ],
    ids=str,
)
def test_sampling_that_draws_nothing_is_refused(talker, wrong):
    with pytest.raises(SamplingError):
        talker.state(sampling=dataclasses.replace(Sampling(), **wrong))


def test_brows_and_lids_may_vary_while_the_mouth_does_not(talker):
    calm = Sampling(temperature=0, upper_temperature=1, guidance=1, noise_memory=0)
    state = talker.state(sampling=calm)
    noise = state.noise.draw(200)[0]
    assert (noise[:, :6] == 0).all() and noise[:, 6:].std() == pytest.approx(1, abs=0.1)


def test_a_mood_moves_the_face_and_only_from_then_on(talker):
    audio = torch.randn(40, talker.dims.audio.width)
    moods = torch.zeros(40, 2)
    moods[20:, 0] = 1
    with torch.inference_mode():
        plain = talker.next_latents(audio, talker.state())
        happy = talker.next_latents(audio, talker.state(), moods)
    torch.testing.assert_close(plain[:20], happy[:20])
    assert (plain[20:] - happy[20:]).abs().max() > 1e-4
