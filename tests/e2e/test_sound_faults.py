"""Sound servers and devices that really freeze, fall silent, die and come back, under the program's own sound."""

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile

from demo.measure.rig import MICROPHONE, SPEAKER, sound_server
from demo.measure.sync import onsets
from tests.e2e.conftest import REPOSITORY, or_skip
from tests.e2e.sound_probe import EVERY

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(200)]

SILENT, BACK = "The loudspeaker is silent; it is awaited.", "The loudspeaker is back."
DEAF, HEARS = "The microphone delivers nothing; it is awaited.", "The microphone is back."
NOTICED, RETURNED = 0.5, 3.0  # seconds: the limits
SLACK = 0.5  # of a machine that does other things as well


@dataclass(frozen=True)
class Moment:
    at: float  # monotonic
    seconds: float | None  # of the turn
    told: list[str]
    level: float  # of the microphone


class Probe:
    """The program under test."""

    def __init__(self, env: dict[str, str]) -> None:
        self.moments: list[Moment] = []
        self._grown = threading.Condition()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.sound_probe"],
            cwd=REPOSITORY,
            env=os.environ | env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # ALSA writes pages
            text=True,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def wait_for(self, reached, seconds: float, what: str) -> Moment:
        """The first moment from now on of which that is true."""
        first, deadline = len(self.moments), time.monotonic() + seconds
        while time.monotonic() < deadline:
            with self._grown:
                self._grown.wait(0.1)
                for moment in self.moments[first:]:
                    if reached(moment):
                        return moment
        pytest.fail(f"not within {seconds} s: {what}; {self.moments[-1] if self.moments else 'it said nothing'}")

    def told(self, text: str, seconds: float, before: int = 0) -> float:
        """Monotonic time at which that was said for the ``before`` + 1st time."""
        return self.wait_for(lambda moment: moment.told.count(text) > before, seconds, text).at

    def counted(self, text: str) -> int:
        """How often that was said so far."""
        return self.moments[-1].told.count(text)

    def goes_on(self, seconds: float) -> None:
        """The turn's clock, which the picture follows, runs for that long without a stop."""
        first = len(self.moments)
        time.sleep(seconds)
        seen = [moment for moment in self.moments[first:] if moment.seconds is not None]
        passed = np.diff([moment.at for moment in seen]).sum()
        assert passed > 0.5 * seconds
        assert seen[-1].seconds - seen[0].seconds == pytest.approx(passed, abs=0.2 + 0.1 * passed)

    def standstill(self, since: float, until: float) -> float:
        """Longest time between these moments that the turn's clock did not move, in seconds."""
        seen = [moment for moment in self.moments if since - 0.2 <= moment.at <= until and moment.seconds is not None]
        moved = [b.at for a, b in itertools.pairwise(seen) if b.seconds > a.seconds]
        return float(np.diff(moved).max())

    def turn_at(self, at: np.ndarray) -> np.ndarray:
        """Where the clock was at those monotonic times."""
        known = [moment for moment in self.moments if moment.seconds is not None]
        return np.interp(at, [moment.at for moment in known], [moment.seconds for moment in known])

    def end(self) -> int:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            return self._process.wait(15)
        finally:
            self._process.kill()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._grown:
                self.moments.append(Moment(**json.loads(line)))
                self._grown.notify_all()


@pytest.fixture
def own_sound(tmp_path: Path):
    """A sound server that may be broken."""
    with or_skip(sound_server(tmp_path)) as server:
        yield server


@pytest.fixture
def probe(own_sound):
    probe = Probe(own_sound.env)
    probe.wait_for(lambda moment: (moment.seconds or 0) > 4, 40, "the turn runs")
    probe.wait_for(lambda moment: moment.told.count(SILENT) == moment.told.count(BACK), 20, "the loudspeaker plays")
    probe.goes_on(1)
    yield probe
    assert probe.end() == 0, "it ends in good order"


def offset_ms(probe: Probe, sound) -> float:
    """Median distance of the beeps that the monitor hears from where the clock says they are."""
    with sound.recording() as recording:
        time.sleep(3.5)
    time.sleep(0.2)
    heard = probe.turn_at(onsets(recording))
    assert len(heard) >= 3
    return float(np.median((heard + EVERY / 2) % EVERY - EVERY / 2)) * 1000


@contextlib.contextmanager
def frozen(sound):
    sound.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        sound.process.send_signal(signal.SIGCONT)


@contextlib.contextmanager
def suspended(sound):
    sound.pactl("suspend-sink", "speaker", "1")
    try:
        yield
    finally:
        sound.pactl("suspend-sink", "speaker", "0")


@contextlib.contextmanager
def killed(sound):
    sound.kill()
    yield
    sound.restart()


@contextlib.contextmanager
def unplugged(sound):
    """Sound goes to the other loudspeaker then, so that one goes as well."""
    modules = sound.pactl("list", "short", "modules").splitlines()
    for name in ("remap-source", "sink_name=hall", "sink_name=speaker"):
        sound.pactl("unload-module", next(line for line in modules if name in line).split()[0])
    yield
    for module in (SPEAKER, *MICROPHONE):
        sound.pactl(*module.split(" "))


@pytest.mark.parametrize("fault", [frozen, suspended, killed, unplugged])
def test_a_loudspeaker_that_stops_is_stood_in_for_and_taken_back(own_sound, probe, fault, measured):
    began, already = time.monotonic(), probe.counted(SILENT)
    with fault(own_sound):
        probe.told(SILENT, 5, already)
        probe.goes_on(2)
        returned = time.monotonic()
    returned = returned if fault in (frozen, suspended) else time.monotonic()  # to start takes time
    back = probe.told(BACK, 15, already)
    stood = probe.standstill(began, back)
    time.sleep(1)
    offset = offset_ms(probe, own_sound)
    measured("sound late a second later", -offset / 1000)
    assert measured("picture stood", stood) <= NOTICED + SLACK
    assert measured("sound back", back - returned) <= RETURNED + SLACK
    assert abs(offset) <= 60


@contextlib.contextmanager
def microphone_suspended(sound):
    sound.pactl("suspend-source", "microphone", "1")
    yield
    sound.pactl("suspend-source", "microphone", "0")


@pytest.mark.parametrize("fault", [microphone_suspended, unplugged, killed])
def test_a_microphone_that_stops_hears_silence_and_then_hears_again(own_sound, probe, fault, tmp_path, measured):
    already = probe.counted(DEAF)
    with fault(own_sound):
        probe.told(DEAF, 5, already)
        probe.goes_on(2)
    returned = time.monotonic()
    back = probe.told(HEARS, 10, already)
    voice = tmp_path / "voice.wav"
    soundfile.write(voice, 0.3 * np.sin(np.arange(96000) * 0.05), 48000)
    playing = own_sound.start_playing(voice)
    probe.wait_for(lambda moment: moment.level > 0.1, 8, "the microphone hears")
    playing.wait(20)
    assert measured("hears again", back - returned) <= RETURNED + SLACK
