"""``python -m streamingtalker.bench sessions``: how many faces a processor or a graphics card keeps in real time."""

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch

from streamingtalker.audio.encoder import SpeechEncoder
from streamingtalker.audio.posteriors import RecogniserError, open_recogniser
from streamingtalker.benchmark.load import ALLOWANCE, Clock, OneByOne, Outcome, Server, Together, babble, simulate
from streamingtalker.benchmark.models import Subject, model_arguments
from streamingtalker.errors import UserError
from streamingtalker.sessions.rows import TalkerRows
from streamingtalker.streamer import FaceModel, FaceStreamer
from streamingtalker.talker import Talker

ENOUGH = 0.999  # of the frames are on time: then all sessions count as in real time


@dataclass(frozen=True)
class Contender:
    """A way to serve so many listeners."""

    name: str
    serve: Callable[[int], Server]


@dataclass(frozen=True)
class Load:
    """How one number of listeners was served."""

    sessions: int
    on_time: float  # share of the frames
    busy: float  # share of the time the processor worked, until the last frame
    frames: int


def main(argv: list[str] | None = None) -> int:
    """The command line. Gives the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m streamingtalker.bench sessions",
        parents=[model_arguments()],
        description="How many faces stay in real time: listeners come in virtual time, the work is done and timed.",
    )
    parser.add_argument("--seconds", type=float, default=6, help="of speech for each listener (default: 6)")
    parser.add_argument("--most", type=int, default=4096, help="listeners to try (default: 4096)", metavar="N")
    parser.set_defaults(threads=1)
    arguments = parser.parse_args(argv)
    try:
        subject = Subject.of(arguments)
        document = measure(subject, arguments)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    if arguments.json:
        arguments.json.write_text(json.dumps(document, indent=1) + "\n")
    print(table(document))
    return 0


def measure(subject: Subject, arguments: argparse.Namespace) -> dict[str, Any]:
    """The report. The clock is the processor's own time where one thread of it works, or else the wall's."""
    alone = arguments.device == "cpu" and torch.get_num_threads() == 1
    clock = time.thread_time if alone else time.perf_counter
    rows: dict[str, Any] = {}
    for contender in contenders(subject.model, arguments.recogniser):
        loads = climb(contender, subject.model.dims.fps, arguments.seconds, arguments.most, clock)
        rows[contender.name] = {"most": most(loads), "loads": [vars(load) for load in loads]}
        print(f"{contender.name}: {most(loads)}", file=sys.stderr)
    return subject.about | {
        "seconds": arguments.seconds,
        "allowance_s": ALLOWANCE,
        "enough": ENOUGH,
        "clock": "processor time" if alone else "wall",
        "contenders": rows,
    }


def contenders(model: FaceModel, recogniser: str | None) -> list[Contender]:
    """Batched and one by one, with each recogniser there is, or the one that is named. Raises RecogniserError."""
    if not isinstance(model, Talker):
        raise UserError("Frames of this network are not computed together; leave out --preset.")
    found = []
    for name in [recogniser] if recogniser else ["none", "student", "hama"]:
        try:
            found += _hearing_by(model, name)
        except RecogniserError:
            if recogniser:
                raise
    return found


def _hearing_by(model: Talker, name: str) -> list[Contender]:
    ears = open_recogniser(name)

    def together(count: int) -> Server:
        return Together(TalkerRows(model, count), ears)

    def alone(count: int) -> Server:
        cast(SpeechEncoder, model.audio).recogniser = lambda: ears
        return OneByOne([FaceStreamer(model, seed=seed) for seed in range(count)])

    said = "without a recogniser" if name == "none" else f"with {name}"
    return [Contender(f"together, {said}", together), Contender(f"one by one, {said}", alone)]


def climb(contender: Contender, fps: float, seconds: float, most: int, clock: Clock) -> list[Load]:
    """More and more listeners until frames come late; then numbers between, to a twentieth."""
    lag = least_lag(contender, fps, seconds) + ALLOWANCE
    loads: dict[int, Load] = {}

    def holds(count: int) -> bool:
        outcome = simulate(contender.serve(count), [babble(seconds, who) for who in range(count)], fps, clock)
        loads[count] = _load(count, outcome, lag)
        return loads[count].on_time >= ENOUGH

    good, bad = 0, 1
    while good < most and holds(bad):
        good, bad = bad, min(2 * bad, most)
    while bad - good > max(1, good // 20):
        middle = (good + bad) // 2
        good, bad = (middle, bad) if holds(middle) else (good, middle)
    return [loads[count] for count in sorted(loads)]


def least_lag(contender: Contender, fps: float, seconds: float) -> float:
    """How long after its sound a frame comes at the latest where computing takes no time at all, seconds."""
    outcome = simulate(contender.serve(1), [babble(seconds, 0)], fps, lambda: 0.0)
    return max(max(lags) for lags in outcome.lags)


def most(loads: Sequence[Load]) -> int:
    """The largest number of listeners below which all was on time."""
    late = min((load.sessions for load in loads if load.on_time < ENOUGH), default=sys.maxsize)
    return max((load.sessions for load in loads if load.sessions < late), default=0)


def table(document: Mapping[str, Any]) -> str:
    """A Markdown table."""
    lines = ["| frames computed | sessions in real time | of the time at work |", "|---|---:|---:|"]
    for name, row in document["contenders"].items():
        busy = next((load["busy"] for load in row["loads"] if load["sessions"] == row["most"]), 0.0)
        lines.append(f"| {name} | {row['most']} | {100 * busy:.0f} % |")
    return "\n".join(lines)


def _load(count: int, outcome: Outcome, lag: float) -> Load:
    frames = sum(map(len, outcome.lags))
    return Load(count, outcome.on_time(lag), outcome.busy / outcome.until, frames)
