"""Flash and beep through the real window and the real sound server.

A machine that stops the program for a moment shows a picture late, and the loudspeaker runs dry: where that happened
the measurement is repeated once, and what is asserted is asserted of the better of both runs. The figures of both are
printed.
"""

import json

import av
import numpy as np
import pytest

from demo.doctor.flash_and_beep import brightness
from demo.measure.sync import onsets
from tests.e2e.conftest import run_module

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]
CLAPS = 52
WORST_MS = 60
BRIGHT = 110  # of a face


@pytest.fixture(scope="module")
def clapped(display, sound):
    """What the program saw, and when the loudspeaker's monitor heard a beep, in monotonic seconds; the better run."""
    runs = [measure(display, sound)]
    if not undisturbed(runs[0]):
        runs.append(measure(display, sound))
    return min(runs, key=lambda run: (not undisturbed(run), run[0]["underruns"], run[0]["av_offset_ms"]["max_abs"]))


def measure(display, sound):
    """One run of the flash and beep program."""
    with sound.recording() as recording:
        done = run_module("demo.measure.clapping", "--claps", str(CLAPS), env=display.env | sound.env)
    measured, heard = json.loads(done.stdout.splitlines()[-1]), onsets(recording)
    figures = {key: value for key, value in measured.items() if key not in ("claps", "seen")}
    print(f"seen {len(measured['seen'])}, heard {len(heard)}, late up to {worst_lateness(measured):.1f} ms, {figures}")
    return measured, heard


def undisturbed(run) -> bool:
    """Whether the machine let the program run."""
    measured, _ = run
    worst = max(measured["av_offset_ms"]["max_abs"], worst_lateness(measured))
    return measured["underruns"] == 0 and worst <= WORST_MS


def lateness(measured) -> np.ndarray:
    """How long after it was due by the clock each flash was seen, in milliseconds."""
    due = np.array(measured["claps"])
    return np.array([moment - due[np.abs(due - moment).argmin()] for moment, _ in measured["seen"]]) * 1000


def worst_lateness(measured) -> float:
    """The largest distance of a flash from its moment, in milliseconds."""
    return float(np.abs(lateness(measured)).max(initial=0.0))


def test_in_the_film_flash_and_beep_fall_together(tmp_path):
    film = tmp_path / "film.mp4"
    run_module("demo.measure.clapping", "--headless", "--claps", "16", "--film", str(film), env={})
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
    return np.array([brightness(picture) > BRIGHT for picture in pictures]), np.concatenate(pieces), rate


def test_every_clap_is_seen_and_heard(clapped):
    measured, heard = clapped
    assert len(heard) == CLAPS
    assert measured["underruns"] == 0
    assert len(measured["seen"]) >= CLAPS - 1  # under load one flash may fall to dropped pictures


def test_pictures_are_shown_at_their_moment(clapped):
    offsets = clapped[0]["av_offset_ms"]
    assert abs(offsets["p50"]) <= 20
    assert offsets["max_abs"] <= WORST_MS


def test_flashes_are_seen_when_the_clock_says_so(clapped):
    late = lateness(clapped[0])
    assert abs(np.median(late)) <= 20
    assert worst_lateness(clapped[0]) <= WORST_MS
