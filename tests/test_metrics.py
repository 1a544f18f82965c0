"""Metrics equal values worked out by hand."""

import numpy as np
import pytest

from streamingtalker import metrics

# 2 frames, 4 vertices; in frame 0 vertex 1 is 3 mm and 4 mm off, vertex 0 1 mm; in frame 1 vertex 0 is 2 mm off
TRUE = np.zeros((2, 4, 3))
GUESS = np.zeros((2, 4, 3))
GUESS[0, 1] = 0.003, 0.004, 0
GUESS[0, 0] = 0, 0, 0.001
GUESS[1, 0] = 0.002, 0, 0
GUESS[1, 3] = 9, 9, 9  # no lip
LIPS = np.array([0, 1, 2])


def test_the_lip_vertex_error_is_the_worst_lip_vertex_of_each_frame_squared():
    np.testing.assert_allclose(metrics.lip_vertex_errors(GUESS, TRUE, LIPS), [25e-6, 4e-6])
    assert metrics.lip_vertex_error(GUESS, TRUE, LIPS) == pytest.approx(14.5e-6)
    assert metrics.lip_distance_mm(GUESS, TRUE, LIPS) == pytest.approx(3.5)
    assert metrics.lip_vertex_error(TRUE, TRUE, LIPS) == 0


def test_the_face_dynamics_distance_is_signed_truth_minus_prediction():
    moving = np.zeros((2, 2, 3))
    moving[1, 0] = 0.002, 0, 0  # squared norms 0 and 4e-6: standard deviation 2e-6
    moving[1, 1] = 0, 0.004, 0  # 0 and 16e-6: 8e-6
    still = np.zeros((2, 2, 3))
    both = np.array([0, 1])
    assert metrics.face_dynamics_distance(still, moving, both) == pytest.approx(5e-6)
    assert metrics.face_dynamics_distance(moving, still, both) == pytest.approx(-5e-6)
    assert metrics.face_dynamics_distance(moving, still, np.array([1])) == pytest.approx(-8e-6)


def test_a_face_displaced_but_at_rest_has_no_dynamics():
    aside = np.full((5, 2, 3), 0.01)
    assert metrics.face_dynamics_distance(aside, np.zeros((5, 2, 3)), np.array([0, 1])) == pytest.approx(0, abs=1e-18)


def test_the_mouth_open_difference_is_over_frames_and_pairs():
    pairs = np.array([[0, 1], [2, 3]])
    true, guess = np.zeros((2, 4, 3)), np.zeros((2, 4, 3))
    true[:, 0, 1] = 0.010, 0.004  # first pair opens 10 and 4 mm
    guess[:, 0, 1] = 0.007, 0.008  # 3 mm too little, 4 mm too much
    guess[1, 3, 2] = 0.001  # second pair 1 mm too much
    np.testing.assert_allclose(metrics.mouth_opening(true, pairs), [[0.010, 0], [0.004, 0]])
    np.testing.assert_allclose(metrics.mouth_open_differences(guess, true, pairs), [0.0015, 0.0025])
    assert metrics.mouth_open_difference(guess, true, pairs) == pytest.approx(0.002)


def test_vertex_errors_are_mean_distances():
    np.testing.assert_allclose(metrics.vertex_errors(GUESS, TRUE), [0.0015, 0.0025, 0, 9 * np.sqrt(3) / 2])


def test_diversity_is_the_mean_over_pairs_of_draws():
    draws = np.zeros((3, 2, 1, 3))
    draws[1, :, 0, 0] = 0.003  # 3 mm from the first
    draws[2, :, 0, 1] = 0.004  # 4 mm from the first, 5 mm from the second
    assert metrics.diversity(draws) == pytest.approx(0.004)
    assert metrics.diversity(draws[:2, :1]) == pytest.approx(0.003)
    assert np.isnan(metrics.diversity(draws[:1]))


@pytest.mark.parametrize(("count", "student"), [(2, 12.706), (10, 2.262), (11, 2.228), (31, 2.042)])
def test_the_interval_of_a_mean_is_students(count, student):
    values = np.arange(count, dtype=float)
    mean, half = metrics.mean_and_interval(values)
    assert mean == values.mean()
    assert half == pytest.approx(student * values.std(ddof=1) / np.sqrt(count), rel=1e-3)
    assert metrics.mean_and_interval(values[:1]) == (0.0, 0.0)


def test_metrics_do_not_touch_their_arguments():
    before = GUESS.copy(), TRUE.copy()
    metrics.lip_vertex_error(GUESS, TRUE, LIPS)
    metrics.face_dynamics_distance(GUESS, TRUE, LIPS)
    metrics.mouth_open_difference(GUESS, TRUE, np.array([[0, 1]]))
    metrics.vertex_errors(GUESS, TRUE)
    np.testing.assert_array_equal(GUESS, before[0])
    np.testing.assert_array_equal(TRUE, before[1])
