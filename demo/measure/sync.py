"""Whether picture and sound keep in step: flashes seen and beeps heard, and an hour with a sound clock that is off.

Flash and beep go through the real window and the real sound server, on a virtual screen and loudspeaker of their own;
the beeps are recorded from the loudspeaker's monitor. An offset is how much later than its beep a flash was shown:
positive is sound early. ``--drift-ppm`` is a loudspeaker that plays that much too fast, for hours in virtual time.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from demo.clock import PlaybackClock
from demo.measure.rig import MONITOR_RATE, Recording, busy_cores, sound_server, virtual_screen
from streamingtalker.errors import UserError

MEDIAN_MS = 10.0
MOST_MS = (-45.0, 15.0)  # 5 to 95 % of the claps
ALL_MS = (-60.0, 40.0)
WANDER_MS = 5.0  # of the median within an hour

_SETTLE = 12  # seconds until the sound server knows its own latency
_NEAR = 0.25  # seconds: a flash and a beep farther apart are not the same clap
_RATE, _BLOCK = 48000, 480  # of the loudspeaker in virtual time
_LATENCY = 0.06  # seconds, of that loudspeaker
_JITTER = 0.004  # seconds, standard deviation of when its callbacks come


@dataclass(frozen=True)
class Sync:
    """What a run of claps showed."""

    offsets_ms: tuple[float, ...]  # of the claps both seen and heard; positive: sound early
    claps: int
    underruns: int  # times there was no sound: it came too late, or the loudspeaker ran dry
    dropped: int  # pictures that came too late and were not shown

    @property
    def kept(self) -> bool:
        """Whether every limit was kept."""
        if not self.offsets_ms:
            return False
        low, middle, high = np.percentile(self.offsets_ms, (5, 50, 95))
        most = MOST_MS[0] <= low and high <= MOST_MS[1]
        every = ALL_MS[0] <= min(self.offsets_ms) and max(self.offsets_ms) <= ALL_MS[1]
        return abs(middle) <= MEDIAN_MS and most and every and self.underruns == 0

    def sentence(self) -> str:
        """For people."""
        if not self.offsets_ms:
            return f"None of {self.claps} claps was both seen and heard."
        low, middle, high = np.percentile(self.offsets_ms, (5, 50, 95))
        return (
            f"{len(self.offsets_ms)} of {self.claps} claps seen and heard: median {middle:+.1f} ms, 5 to 95 % "
            f"{low:+.1f} to {high:+.1f} ms, all {min(self.offsets_ms):+.1f} to {max(self.offsets_ms):+.1f} ms; "
            f"{self.underruns} times no sound, {self.dropped} pictures left out: "
            f"{'within the limits' if self.kept else 'NOT within the limits'}."
        )


def main(argv: list[str] | None = None) -> int:
    """The command line: 0 where every limit was kept, 1 where not, 2 where it could not be measured."""
    parser = argparse.ArgumentParser(prog="python -m demo.measure sync", description=__doc__.splitlines()[0])
    parser.add_argument("--claps", type=int, default=200, help="how many (default: 200; 0: none)")
    parser.add_argument("--busy", action="store_true", help="keep every core busy with another program meanwhile")
    parser.add_argument("--drift-ppm", type=float, nargs="*", default=(200.0, -200.0), help="default: 200 -200")
    parser.add_argument("--minutes", type=float, default=60.0, help="of virtual time with that drift (default: 60)")
    options = parser.parse_args(argv)
    kept = True
    for ppm in options.drift_ppm:
        wander = wander_ms(ppm, options.minutes)
        kept &= wander <= WANDER_MS
        print(f"A loudspeaker {ppm:+.0f} ppm off: the median moves {wander:.2f} ms in {options.minutes:g} minutes.")
    try:
        if options.claps:
            sync = clap(options.claps, busy=options.busy)
            kept &= sync.kept
            print(sync.sentence())
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0 if kept else 1


def clap(claps: int, *, busy: bool = False) -> Sync:
    """So many claps on a rig of their own; ``busy``: while other programs keep every core busy. Raises RigError."""
    with tempfile.TemporaryDirectory() as folder, virtual_screen() as screen, sound_server(Path(folder)) as sound:
        command = [sys.executable, "-m", "demo.measure.clapping", "--claps", str(claps), "--settle", str(_SETTLE)]
        with sound.recording() as recording, busy_cores(busy):
            done = subprocess.run(
                command, env=os.environ | screen.env | sound.env, capture_output=True, text=True, timeout=60 + 3 * claps
            )
    if done.returncode:
        raise ClappingError(f"The program that claps failed: {done.stderr.strip().splitlines()[-1]}")
    return judged(json.loads(done.stdout.splitlines()[-1]), onsets(recording))


class ClappingError(UserError):
    """No claps."""


def judged(measured: dict, heard: np.ndarray) -> Sync:
    """Flashes of ``demo.measure.clapping`` with beeps ``heard``, monotonic seconds [n]."""
    seen = np.array([at for _, at in measured["seen"]])
    apart = [at - heard[np.abs(heard - at).argmin()] for at in seen] if len(heard) else []
    offsets = tuple(float(offset) * 1000 for offset in apart if abs(offset) < _NEAR)
    return Sync(offsets, len(measured["claps"]), measured["underruns"] + measured["dry"], measured["dropped"])


def onsets(recording: Recording) -> np.ndarray:
    """When each beep reached the monitor, monotonic seconds [n]."""
    pcm = recording.pcm
    loud = np.flatnonzero(np.abs(pcm) > 0.05)
    first = loud[np.diff(loud, prepend=-MONITOR_RATE) > 0.2 * MONITOR_RATE]
    arrived = np.array([time for time, _ in recording.pieces])
    ends = np.cumsum([len(piece) for _, piece in recording.pieces])
    pace = arrived - ends / MONITOR_RATE  # constant but for jitter
    near = np.searchsorted(ends, first)
    return np.array([np.median(pace[max(0, k - 20) : k + 21]) for k in near]) + first / MONITOR_RATE


def wander_ms(ppm: float, minutes: float, seed: int = 0) -> float:
    """How far the median offset of a minute lies from that of the first, at most, by the clock of the program.

    The loudspeaker plays ``ppm`` millionths too fast and its callbacks jitter; every second it is asked where it is.
    """
    rng = np.random.default_rng(seed)
    now = 0.0
    clock = PlaybackClock(_RATE, lambda: now)
    clock.begin(1)
    pace = _RATE * (1 + ppm * 1e-6)  # samples it really plays in a second
    medians, asked, handed, next_question = [], [], 0, 1.0
    while now < 60 * minutes:
        began = handed / pace
        while next_question < began:
            now, next_question = next_question, next_question + 1.0
            true = (now - _LATENCY) * pace / _RATE  # seconds of its sound that have been heard
            asked.append((clock.now().seconds or 0.0) - true)
            if len(asked) == 60:
                medians.append(float(np.median(asked)) * 1000)
                asked = []
        now = began
        reported = began + _LATENCY + float(rng.normal(0, _JITTER))
        clock.advance(1, handed, _BLOCK, reported)
        handed += _BLOCK
    return float(np.ptp(medians)) if medians else 0.0


if __name__ == "__main__":
    sys.exit(main())
