"""The visemes on the default avatar's mesh."""

import numpy as np
import pytest

from streamingtalker.data.check import MouthGauge
from streamingtalker.data.phones import CONSONANTS, VOWELS
from streamingtalker.data.visemes import CHANNELS, VISEMES, LipSeal, to_shapes, visemes_of
from streamingtalker.topology import load_rig


@pytest.fixture(scope="module")
def rig():
    return load_rig()


@pytest.fixture(scope="module")
def gauge(rig):
    return MouthGauge.of(rig)


def held(viseme, rig):
    return to_shapes(VISEMES[viseme][None], rig.shape_names)


def test_every_phone_has_a_viseme():
    for phone in VOWELS | CONSONANTS | {"sil"}:
        assert all(key in VISEMES for key in visemes_of(phone))
    assert visemes_of("ay") == ("aa", "ih")


def test_channels_drive_shapes_that_the_rig_has(rig):
    assert {shape for shapes in CHANNELS.values() for shape in shapes} <= set(rig.shape_names)


def test_the_mouth_rests_shut(rig, gauge):
    assert gauge.gap(held("sil", rig))[0] < 1e-3


@pytest.mark.parametrize("viseme", ["aa", "ae", "ah", "ao", "eh"])
def test_open_vowels_open(viseme, rig, gauge):
    assert gauge.gap(held(viseme, rig))[0] > 10e-3


def test_round_sounds_are_narrow_and_spread_ones_wide(rig, gauge):
    rest = gauge.width(held("sil", rig))[0]
    for viseme in ("uw", "w", "ow"):
        assert gauge.width(held(viseme, rig))[0] < 0.90 * rest
    assert gauge.width(held("iy", rig))[0] > 1.03 * rest


def test_mouth_close_as_large_as_jaw_open_brings_the_lips_together(rig, gauge):
    weights = np.zeros((1, len(rig.shape_names)), np.float32)
    for name in ("jawOpen", "mouthClose"):
        weights[0, rig.shape_names.index(name)] = 0.5
    assert gauge.gap(weights)[0] < 1.5e-3


@pytest.mark.parametrize("viseme", sorted(VISEMES))
def test_the_seal_closes_any_viseme(viseme, rig):
    seal = LipSeal.of(rig)
    closed = seal.bring_to(held(viseme, rig), 0.0002, np.ones(1))
    assert abs(seal.opening(closed)[0] - 0.0002) < 1.5e-3
    assert closed.min() >= 0 and closed.max() <= 1


def test_the_seal_goes_only_as_far_as_its_strength(rig):
    seal = LipSeal.of(rig)
    open_mouth = held("aa", rig)
    half = seal.bring_to(open_mouth, 0.0, np.array([0.5]))
    assert seal.opening(half)[0] == pytest.approx(0.5 * seal.opening(open_mouth)[0], rel=0.02)
