"""The sampler: its coefficients, its two rules and the collapse of the linear head."""

import dataclasses

import numpy as np
import pytest
import torch

from streamingtalker.config import HeadDims, Sampling
from streamingtalker.diffusion import AffineSampler, LoopSampler, NoiseSchedule, SamplingError, build_head

RELEASED = Sampling(steps=50, rule="released", spacing="leading", guidance=1.0)


def test_the_schedule_is_scaled_linear():
    alphas = NoiseSchedule(HeadDims()).alphas
    assert alphas[0] == pytest.approx(1 - 0.00085) and alphas[-1] == pytest.approx(0.0047, abs=2e-4)


def test_the_released_steps_and_rule():
    schedule = NoiseSchedule(HeadDims())
    steps = schedule.steps(RELEASED)
    assert [step.t for step in steps] == list(range(981, 0, -20))
    last = schedule.alphas[0]
    assert steps[-1].clean == pytest.approx(last**0.5 + (1 - last) ** 0.5) and steps[-1].noisy == 0


def test_textbook_steps_keep_a_perfect_prediction_on_the_path():
    """With the true z₀ predicted, z stays √ᾱ·z₀ + √(1−ᾱ)·ε at every time, and ends clean when trailing."""
    schedule = NoiseSchedule(HeadDims())
    steps = schedule.steps(Sampling(steps=4))
    clean, noise = 0.7, -1.3
    z = np.sqrt(schedule.alphas[999]) * clean + np.sqrt(1 - schedule.alphas[999]) * noise
    for i, step in enumerate(steps):
        z = step.clean * clean + step.noisy * z
        alpha = schedule.alphas[steps[i + 1].t] if i < 3 else 1.0
        assert z == pytest.approx(np.sqrt(alpha) * clean + np.sqrt(1 - alpha) * noise, abs=1e-9)
    assert [step.t for step in steps] == [999, 749, 499, 249]


@pytest.mark.parametrize("rule", ["released", "textbook"])
def test_the_collapse_equals_fifty_steps(rule):
    head = build_head(HeadDims(kind="linear", time_features=16), latent=6, width=10)
    sampling = dataclasses.replace(RELEASED, rule=rule)
    collapsed = head.sampler(sampling)
    assert isinstance(collapsed, AffineSampler)
    noise, conditions = torch.randn(7, 6), torch.randn(2, 7, 10)
    weights = torch.tensor([[0.3, 0.7, 1.0, 0.0, 0.5, 2.0], [0.7, 0.3, 0.0, 1.0, 0.5, -1.0]])
    expected = LoopSampler(head, sampling)(noise, conditions, weights)
    torch.testing.assert_close(collapsed(noise, conditions, weights), expected, rtol=1e-5, atol=1e-5)


def test_training_guess_has_the_latents_shape_and_a_gradient():
    for kind in ("linear", "mlp"):
        head = build_head(HeadDims(kind=kind, width=12), latent=6, width=10)
        head(torch.randn(2, 5, 6), torch.randn(2, 5, 10)).sum().backward()
        assert head.latent.weight.grad is not None


@pytest.mark.parametrize("wrong", [{"rule": "new"}, {"spacing": "wide"}, {"steps": 0}])
def test_impossible_sampling_is_refused(wrong):
    with pytest.raises(SamplingError):
        build_head(HeadDims(), 6, 10).sampler(dataclasses.replace(Sampling(), **wrong))


def test_an_unknown_head_is_refused():
    with pytest.raises(SamplingError, match="unet"):
        build_head(HeadDims(kind="unet"), 6, 10)
