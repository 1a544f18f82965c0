"""Small movements of a face at rest: natural in number and size, the same for the same seed."""

import itertools
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from demo.idle import IdleMotion
from streamingtalker.topology import load_rig


@pytest.fixture(scope="module")
def rig():
    return load_rig()


@pytest.fixture
def idle(rig):
    return IdleMotion(rig, seed=3)


def lid_gap(rig, offsets):
    """How far the left upper lid has come down, in metres, at the vertex that a blink moves most."""
    blink = rig.shapes[rig.shape_names.index("eyeBlinkLeft")]
    most = np.abs(blink[:, 1]).argmax()
    return -offsets[most, 1], -blink[most, 1]


def test_the_same_seed_moves_the_same(rig, idle):
    again, other = IdleMotion(rig, seed=3), IdleMotion(rig, seed=4)
    times = np.linspace(50, 80, 40)
    mine = [idle.offsets(t) for t in times]
    np.testing.assert_array_equal(mine, [again.offsets(t) for t in times])
    assert not np.array_equal(mine, [other.offsets(t) for t in times])


def test_the_past_can_be_asked_again(idle):
    before = idle.offsets(10.0)
    idle.offsets(60.0)
    np.testing.assert_array_equal(before, idle.offsets(10.0))


def test_a_long_evening_takes_no_memory(rig):
    idle = IdleMotion(rig, seed=3)
    idle.offsets(0.0)
    tracemalloc.start()
    for hour in range(1, 9):
        idle.blink(3600.0 * hour), idle.gaze(3600.0 * hour)
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert taken < 100_000


def test_a_time_long_forgotten_is_answered_with_the_oldest_known(idle):
    idle.offsets(0.0)
    idle.offsets(1000.0)
    assert np.isfinite(idle.offsets(1.0)).all()


def test_a_face_is_never_frozen_and_never_jumps(idle):
    steps = [idle.offsets(t) for t in 100 + np.arange(300) / 30]
    moved = [np.abs(after - before).max() for before, after in itertools.pairwise(steps)]
    assert min(moved) > 1e-6
    assert max(moved) < 0.012
    assert np.abs(steps).max() < 0.03


def test_blinks_come_every_few_seconds_and_close_the_eyes(idle):
    times = np.arange(0, 120, 1 / 60)
    closed = np.array([idle.blink(t) for t in times])
    starts = times[1:][(closed[1:] > 0.5) & (closed[:-1] <= 0.5)]
    assert 18 <= len(starts) <= 55
    pauses = np.diff(starts)
    assert pauses.min() > 0.25 and pauses.max() < 6.5
    assert closed.max() == pytest.approx(1.0, abs=0.02) and closed.min() == 0
    assert (closed > 0.1).mean() < 0.2


@pytest.mark.parametrize("speaking", [0.0, 1.0])
def test_open_eyes_do_not_stare_and_blinks_still_close_them_once(rig, idle, speaking):
    """The lid's own part of the motion: against a rig that cannot blink, everything else is the same."""
    kept = [index for index, name in enumerate(rig.shape_names) if not name.startswith("eyeBlink")]
    lidless = IdleMotion(replace(rig, shapes=rig.shapes[kept], shape_names=tuple(rig.shape_names[i] for i in kept)), 3)
    times = np.arange(0, 20, 0.05)
    blinks = np.array([idle.blink(t) for t in times])
    gaps = [lid_gap(rig, idle.offsets(t, speaking) - lidless.offsets(t, speaking)) for t in times]
    lowered = np.array([down / whole for down, whole in gaps])
    np.testing.assert_allclose(lowered, 0.07 + 0.93 * blinks, atol=0.03)


def test_the_gaze_stays_near_and_is_calmer_while_speaking(idle):
    gaze = np.degrees([idle.gaze(t) for t in np.arange(0, 60, 0.1)])
    assert np.abs(gaze).max() <= 7.01
    assert np.abs(gaze).max() > 2
    speaking = np.degrees([idle.gaze(t, speaking=1.0) for t in np.arange(0, 60, 0.1)])
    assert np.abs(speaking).max() < 0.5 * np.abs(gaze).max()


def test_eyes_turn_about_their_pivots(rig, idle):
    """Eyeballs keep their shape and place in the head: distances to the pivot do not change."""
    moment = max(np.arange(0, 30, 0.25), key=lambda t: np.abs(idle.gaze(t)).max())
    vertices = rig.topology.template + idle.offsets(moment)
    head = idle.head(moment)
    for members, pivot in zip(rig.eyes, rig.pivots, strict=True):
        moved = head[:3, :3] @ pivot + head[:3, 3]
        before = np.linalg.norm(rig.topology.template[members] - pivot, axis=1)
        np.testing.assert_allclose(np.linalg.norm(vertices[members] - moved, axis=1), before, atol=2e-4)


def test_the_shoulders_stay_while_the_head_turns(rig, idle):
    template = rig.topology.template
    low = template[:, 1] < np.quantile(template[:, 1], 0.05)
    high = template[:, 1] > np.quantile(template[:, 1], 0.95)
    moved = np.mean([np.linalg.norm(idle.offsets(t), axis=1) for t in np.arange(0, 20, 0.5)], axis=0)
    assert moved[low].max() < 0.002, "only the breath"
    assert 0.001 < moved[high].mean() < 0.01


def test_speech_is_joined_and_its_own_blinks_are_not_doubled(rig, idle):
    blink = rig.shapes[rig.shape_names.index("eyeBlinkLeft")] + rig.shapes[rig.shape_names.index("eyeBlinkRight")]
    moment = next(t for t in np.arange(0, 30, 0.01) if idle.blink(t) > 0.99)
    alone, whole = lid_gap(rig, idle.offsets(moment, 1.0))
    both, _ = lid_gap(rig, idle.offsets(moment, 1.0, blink))
    assert alone == pytest.approx(both, abs=0.1 * float(whole))
    jaw = rig.shapes[rig.shape_names.index("jawOpen")]
    difference = idle.offsets(5.0, 1.0, jaw) - idle.offsets(5.0, 1.0)
    assert np.abs(difference - jaw).max() < 0.004


def test_the_input_is_left_alone(rig, idle):
    speech = np.zeros_like(rig.topology.template)
    idle.offsets(1.0, 1.0, speech)
    assert not speech.any()
