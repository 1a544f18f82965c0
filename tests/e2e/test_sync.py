"""Flash and beep through the real window and the real sound server."""

import json

import numpy as np
import pytest

from tests.e2e.conftest import MONITOR_RATE, run_module

pytestmark = pytest.mark.e2e
CLAPS = 52


@pytest.fixture(scope="module")
def clapped(display, sound):
    """What the program saw, and when the loudspeaker's monitor heard a beep, in monotonic seconds."""
    with sound.recording() as recording:
        done = run_module("tests.e2e.flash_and_beep", "--claps", str(CLAPS), env=display.env | sound.env)
    return json.loads(done.stdout.splitlines()[-1]), onsets(recording)


def onsets(recording) -> np.ndarray:
    """When each beep reached the monitor."""
    pcm = recording.pcm
    loud = np.flatnonzero(np.abs(pcm) > 0.05)
    first = loud[np.diff(loud, prepend=-MONITOR_RATE) > 0.2 * MONITOR_RATE]
    arrived = np.array([time for time, _ in recording.pieces])
    ends = np.cumsum([len(piece) for _, piece in recording.pieces])
    pace = arrived - ends / MONITOR_RATE
    return np.array([np.median(pace[max(0, piece - 20) : piece + 21]) for piece in np.searchsorted(ends, first)]) + (
        first / MONITOR_RATE
    )


def test_every_clap_is_seen_and_heard(clapped):
    measured, heard = clapped
    assert len(heard) == CLAPS
    assert measured["underruns"] == 0
    assert len(measured["seen"]) >= CLAPS - 1  # under load one flash may fall to dropped pictures


def test_pictures_are_shown_at_their_moment(clapped):
    offsets = clapped[0]["av_offset_ms"]
    assert abs(offsets["p50"]) <= 20
    assert offsets["max_abs"] <= 60


def test_flashes_are_seen_when_the_clock_says_so(clapped):
    measured, _ = clapped
    seen = np.array(measured["seen"])[:, 0]
    due = np.array(measured["claps"])
    late = np.array([moment - due[np.abs(due - moment).argmin()] for moment in seen]) * 1000
    assert abs(np.median(late)) <= 20
    assert np.abs(late).max() <= 60
