"""The clock of playback: latency, interpolation, silence in between, jitter."""

import numpy as np
import pytest

from demo.clock import PlaybackClock

RATE = 1000


class Manual:
    """Time that stands until told."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def time():
    return Manual()


@pytest.fixture
def clock(time):
    return PlaybackClock(RATE, time)


def test_nothing_is_heard_before_the_first_sample(clock):
    clock.begin(1)
    assert clock.now().seconds is None and clock.now().turn == 1
    assert not clock.now().running


def test_latency_counts_down_to_the_first_sample(clock, time):
    clock.begin(1)
    clock.advance(1, 0, 10, time() + 0.08)
    assert clock.now().seconds == pytest.approx(-0.08)
    time.seconds += 0.08
    assert clock.now().seconds == pytest.approx(0.0)
    time.seconds += 0.004
    assert clock.now().seconds == pytest.approx(0.004)


def test_positions_never_pass_what_was_handed_over(clock, time):
    clock.begin(1)
    clock.advance(1, 0, 10, time())
    time.seconds += 5
    now = clock.now()
    assert now.seconds == pytest.approx(0.010) and not now.running
    assert clock.session() == pytest.approx(0.010)


def test_positions_never_run_backwards(clock, time):
    clock.begin(1)
    rng = np.random.default_rng(0)
    last = -1.0
    for block in range(200):
        clock.advance(1, block * 10, 10, time() + 0.05 + rng.normal(0, 0.01))
        for _ in range(4):
            time.seconds += 0.0025
            now = clock.now().seconds
            assert now >= last
            last = now
    assert last == pytest.approx(2.0 - 0.05, abs=0.012)


def test_silence_in_the_middle_does_not_count(clock, time):
    clock.begin(1)
    clock.advance(1, 0, 10, time())
    clock.advance(None, 0, 30, time() + 0.01)
    clock.advance(1, 10, 10, time() + 0.04)
    positions = []
    for _ in range(5):
        time.seconds += 0.0099
        positions.append(clock.now().seconds)
    assert positions[:4] == pytest.approx([0.0099, 0.010, 0.010, 0.010], abs=1e-9)
    assert positions[4] == pytest.approx(0.0195)
    assert clock.session() == pytest.approx(0.0495)


def test_samples_of_an_older_turn_do_not_count(clock, time):
    clock.begin(1)
    clock.advance(1, 0, 100, time())
    time.seconds += 0.05
    clock.begin(2)
    assert clock.now().seconds is None
    clock.advance(1, 100, 100, time() + 0.05)
    assert clock.now().seconds is None
    clock.advance(2, 0, 100, time() + 0.15)
    assert clock.now().seconds == pytest.approx(-0.15, abs=1e-6)


def test_jitter_is_averaged_out(clock, time):
    """Callbacks that report their time with 8 ms of noise move the position by less than 2 ms."""
    clock.begin(1)
    rng = np.random.default_rng(1)
    errors = []
    for block in range(400):
        clock.advance(1, block * 10, 10, 100.05 + block * 0.01 + rng.normal(0, 0.008))
        time.seconds += 0.01
        errors.append(clock.now().seconds - (time() - 100.05))
    assert np.abs(errors[100:]).max() < 0.004
    assert abs(np.median(errors[100:])) < 0.002


@pytest.mark.parametrize("ppm", [-200, 200])
def test_a_sound_clock_that_drifts_is_followed(clock, time, ppm):
    clock.begin(1)
    pace = 0.01 * (1 + ppm * 1e-6)
    for block in range(6000):
        time.seconds = 100 + block * pace
        clock.advance(1, block * 10, 10, time() + 0.05)
    assert clock.now().seconds == pytest.approx(5999 * 0.01 - 0.05, abs=0.001)


def test_a_jump_of_the_device_is_followed(clock, time):
    clock.begin(1)
    for block in range(10):
        clock.advance(1, block * 10, 10, time() + block * 0.01)
    for block in range(10, 15):
        clock.advance(1, block * 10, 10, time() + 1 + block * 0.01)
    time.seconds += 1.1
    assert clock.now().seconds == pytest.approx(0.1)


def test_one_absurd_report_is_not_followed(clock, time):
    clock.begin(1)
    for block in range(100):
        clock.advance(1, block * 10, 10, 100 + block * 0.01 + (0.5 if block == 50 else 0))
    time.seconds += 0.6
    assert clock.now().seconds == pytest.approx(0.6, abs=1e-6)


def test_calibration_shows_the_face_later(time):
    clock = PlaybackClock(RATE, time, offset_seconds=0.02)
    clock.begin(1)
    clock.advance(1, 0, 100, time())
    time.seconds += 0.05
    assert clock.now().seconds == pytest.approx(0.03)


def test_a_long_session_keeps_few_blocks(clock, time):
    for _ in range(5000):
        time.seconds += 0.01
        clock.advance(None, 0, 10, time() + 0.05)
    assert len(clock._blocks) < 400
