"""How the joined model draws: guidance and what cannot be drawn with."""

import dataclasses

import numpy as np
import pytest

from streamingtalker.config import Sampling
from streamingtalker.diffusion import SamplingError
from streamingtalker.streamer import FaceStreamer


def test_guidance_mixes_what_knows_the_history_with_what_does_not(talker):
    state = {guidance: talker.state(sampling=Sampling(guidance=guidance)) for guidance in (0.5, 1, 2)}
    assert {guidance: each.weights.tolist() for guidance, each in state.items()} == {
        0.5: [0.5, 0.5],
        1: [1],
        2: [2, -1],
    }
    pcm = np.random.default_rng(0).normal(size=8000).astype(np.float32) * 0.1
    plain, strong = (
        np.concatenate(list(FaceStreamer(talker, sampling=state[guidance].sampling).stream([pcm])))
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
