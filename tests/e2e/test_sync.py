"""Flash and beep through the real window and the real sound server."""

import json

import av
import numpy as np
import pytest

from tests.e2e.conftest import MONITOR_RATE, run_module
from tests.e2e.flash_and_beep import in_the_middle

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


def test_in_the_film_flash_and_beep_fall_together(tmp_path):
    film = tmp_path / "film.mp4"
    run_module("tests.e2e.flash_and_beep", "--headless", "--claps", "16", "--film", str(film), env={})
    bright, sound, rate = read_film(film)
    flashes = np.flatnonzero(bright[1:] & ~bright[:-1]) / 30 + 1 / 30
    loud = np.flatnonzero(np.abs(sound) > 0.05)
    beeps = loud[np.diff(loud, prepend=-rate) > 0.2 * rate] / rate
    flashes = flashes[flashes > beeps[0] - 0.3]  # before, the face waits in the middle
    apart = np.array([beeps[np.abs(beeps - flash).argmin()] - flash for flash in flashes]) * 1000
    assert len(beeps) == 16 and len(flashes) >= 15
    assert abs(np.median(apart)) <= 25  # the film's pictures stand on a grid of their own
    assert np.percentile(np.abs(apart), 80) <= 60 and np.abs(apart).max() <= 150  # a busy machine skips pictures


def read_film(path) -> tuple[np.ndarray, np.ndarray, int]:
    """Whether the face is in the middle of each picture; the sound and its rate."""
    with av.open(str(path)) as film:
        pictures = [frame.to_ndarray(format="gray") for frame in film.decode(video=0)]
    with av.open(str(path)) as film:
        pieces = [frame.to_ndarray()[0] for frame in film.decode(audio=0)]
        rate = film.streams.audio[0].rate
    return np.array([in_the_middle(picture) for picture in pictures]), np.concatenate(pieces), rate


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
