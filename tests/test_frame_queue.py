"""Frames in order, due by the clock, bounded, of one turn."""

import threading

import numpy as np
import pytest

from demo.clock import PlaybackTime
from demo.frame_queue import FrameCounts, FrameQueue

FPS = 30.0


def frame(value: float) -> np.ndarray:
    return np.full((4, 3), value, np.float16)


def filled(*values: float, turn: int = 1) -> FrameQueue:
    queue = FrameQueue(64)
    queue.begin(turn)
    for index, value in enumerate(values):
        assert queue.put(turn, index, frame(value))
    return queue


def test_a_frame_is_shown_at_its_time():
    queue = filled(0, 1, 2, 3)
    for index in range(4):
        shown = queue.at(1, index / FPS, FPS)
        assert shown.dtype == np.float32
        np.testing.assert_allclose(shown, index, atol=1e-5)


def test_between_two_frames_both_count():
    queue = filled(0, 1, 2)
    np.testing.assert_allclose(queue.at(1, 0.25 / FPS, FPS), 0.25, atol=1e-5)
    np.testing.assert_allclose(queue.at(1, 1.75 / FPS, FPS), 1.75, atol=1e-5)


def test_passed_frames_are_dropped_and_counted():
    queue = filled(*range(10))
    queue.at(1, 0.0, FPS)
    np.testing.assert_allclose(queue.at(1, 6 / FPS, FPS), 6)
    assert queue.waiting() == 4
    assert queue.counts() == FrameCounts(received=10, drawn=2, skipped=5, late=0)


def test_a_late_frame_is_dropped_and_counted():
    queue = filled(0)
    queue.at(1, 5 / FPS, FPS)
    assert not queue.put(1, 3, frame(3))
    assert queue.put(1, 5, frame(5))
    assert queue.counts().late == 1


def test_where_nobody_draws_the_sound_makes_room():
    queue = FrameQueue(4)
    queue.begin(1)
    for index in range(4):
        queue.put(1, index, frame(index))
    for heard in (PlaybackTime(1, None), PlaybackTime(2, 1.0), PlaybackTime(1, 0.5 / FPS)):
        queue.pass_over(1, heard, FPS)
        assert queue.full(), "not yet heard, or not this turn"
    queue.pass_over(1, PlaybackTime(1, 2.5 / FPS), FPS)
    queue.wait_for_room(0)
    assert queue.waiting() == 2 and queue.put(1, 4, frame(4))
    np.testing.assert_allclose(queue.at(1, 2.5 / FPS, FPS), 2.5)


def test_time_never_runs_backwards():
    queue = filled(*range(10))
    queue.at(1, 6 / FPS, FPS)
    np.testing.assert_allclose(queue.at(1, 2 / FPS, FPS), 6)


def test_a_starved_face_holds_for_a_moment_and_then_has_nothing():
    queue = filled(0, 7)
    np.testing.assert_allclose(queue.at(1, 3 / FPS, FPS), 7)
    assert queue.at(1, 8 / FPS, FPS) is None
    assert queue.put(1, 9, frame(9))
    np.testing.assert_allclose(queue.at(1, 9 / FPS, FPS), 9)


def test_nothing_is_shown_of_another_turn_or_of_none():
    queue = filled(0, 1)
    assert queue.at(2, 0.0, FPS) is None
    assert FrameQueue().at(1, 0.0, FPS) is None


def test_nothing_is_shown_long_before_the_first_sample():
    queue = filled(5)
    assert queue.at(1, -0.5, FPS) is None
    np.testing.assert_allclose(queue.at(1, -0.05, FPS), 5)


def test_frames_of_an_older_turn_or_out_of_order_are_refused():
    queue = filled(0, 1, turn=2)
    assert not queue.put(1, 2, frame(2))
    assert not queue.put(2, 1, frame(1))
    queue.begin(3)
    assert queue.waiting() == 0


def test_a_full_queue_waits_until_the_renderer_has_passed_a_frame():
    queue = FrameQueue(3)
    queue.begin(1)
    for index in range(3):
        queue.put(1, index, frame(index))
    assert queue.full()
    assert not queue.put(1, 3, frame(3), timeout=0.01)
    added = []
    waiting = threading.Thread(target=lambda: added.append(queue.put(1, 3, frame(3), timeout=10)))
    waiting.start()
    queue.at(1, 2 / FPS, FPS)
    waiting.join(10)
    assert added == [True]


@pytest.mark.parametrize("send_away", [lambda queue: queue.begin(2), lambda queue: queue.close()])
def test_a_new_turn_or_the_end_sends_waiting_frames_away(send_away):
    queue = FrameQueue(1)
    queue.begin(1)
    queue.put(1, 0, frame(0))
    added = []
    waiting = threading.Thread(target=lambda: added.append(queue.put(1, 1, frame(1), timeout=10)))
    waiting.start()
    send_away(queue)
    waiting.join(10)
    assert added == [False]


def test_when_the_turn_is_over_the_queue_is_empty():
    queue = filled(0, 1, 2)
    queue.end(1, 3)
    assert queue.at(1, 8 / FPS, FPS) is None
    assert queue.waiting() == 0


def test_rounding_of_the_clock_never_skips_a_frame():
    """k / fps * fps is not always k; every frame must still be drawn."""
    queue = filled(*range(60))
    for index in range(60):
        np.testing.assert_allclose(queue.at(1, index / FPS, FPS), index, atol=0.04)
    assert queue.counts().drawn == 60 and queue.counts().skipped == 0
