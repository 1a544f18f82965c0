"""Flashes and beeps put together, and an hour of a loudspeaker whose clock is off."""

import numpy as np
import pytest

from demo.measure.rig import MONITOR_RATE, Recording
from demo.measure.sync import judged, onsets, wander_ms


def measured(seen, underruns=0, dry=0):
    flashes = {"claps": [0.0] * len(seen), "seen": [(0.0, at) for at in seen]}
    return flashes | {"underruns": underruns, "dry": dry, "dropped": 2}


def test_a_flash_after_its_beep_counts_as_sound_early():
    beeps = np.arange(1.0, 21.0)
    sync = judged(measured(beeps + 0.008), beeps)
    assert np.median(sync.offsets_ms) == pytest.approx(8.0) and sync.kept
    assert "20 of 20 claps" in sync.sentence() and "within the limits" in sync.sentence()


@pytest.mark.parametrize("late", [0.012, -0.012], ids=["median late", "median early"])
def test_a_median_beyond_10_ms_is_not_in_step(late):
    beeps = np.arange(1.0, 21.0)
    assert not judged(measured(beeps + late), beeps).kept


def test_one_clap_far_off_underruns_and_no_claps_are_not_in_step():
    beeps = np.arange(1.0, 201.0)
    seen = beeps.copy()
    seen[7] += 0.05
    assert not judged(measured(seen), beeps).kept
    assert not judged(measured(beeps, underruns=1), beeps).kept
    assert not judged(measured(beeps, dry=1), beeps).kept
    assert not judged(measured([]), np.zeros(0)).kept


def test_onsets_are_found_in_a_recording_that_arrives_in_pieces():
    pcm = np.zeros(3 * MONITOR_RATE, np.int16)
    for at in (0.5, 1.7):
        pcm[int(at * MONITOR_RATE) :][:1440] = 8000
    rng = np.random.default_rng(0)
    ends = np.arange(480, len(pcm) + 1, 480)
    pieces = [(100 + end / MONITOR_RATE + float(rng.normal(0, 0.002)), pcm[end - 480 : end]) for end in ends]
    np.testing.assert_allclose(onsets(Recording(pieces=pieces)), [100.5, 101.7], atol=0.002)


@pytest.mark.parametrize("ppm", [200.0, -200.0])
def test_a_loudspeaker_that_is_off_by_200_ppm_moves_the_median_by_less_than_5_ms(ppm):
    assert wander_ms(ppm, minutes=20) < 2.0


def test_a_loudspeaker_far_too_fast_is_followed():
    """A clock that went by monotonic time alone would be a whole second off."""
    assert wander_ms(5000.0, minutes=4) < 5.0
