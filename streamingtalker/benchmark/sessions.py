"""``python -m streamingtalker.bench sessions``: how many faces a processor or a graphics card keeps in real time."""

import argparse
import copy
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from streamingtalker.audio.encoder import SpeechEncoder
from streamingtalker.audio.hubert import HubertEncoder
from streamingtalker.audio.interface import AudioEncoder
from streamingtalker.audio.posteriors import Recogniser, RecogniserError, open_recogniser
from streamingtalker.benchmark.load import ALLOWANCE, Clock, OneByOne, Outcome, Server, Together, babble, simulate
from streamingtalker.benchmark.models import Subject, model_arguments
from streamingtalker.config import RATE, frame_count
from streamingtalker.errors import UserError
from streamingtalker.released import ReleasedTalker
from streamingtalker.sessions.farm import side_by_side
from streamingtalker.streamer import FaceModel, FaceStreamer
from streamingtalker.streaming import Stream
from streamingtalker.talker import Talker

ENOUGH = 0.999  # of the frames are on time: then all sessions count as in real time


@dataclass(frozen=True)
class ServingScheme:
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
    parser.add_argument(
        "--allowance",
        type=float,
        default=ALLOWANCE,
        help="seconds that a frame may come later than for a listener alone (default: 0.1, what a client has in hand)",
        metavar="S",
    )
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
    for scheme in serving_schemes(subject.model, arguments.recogniser):
        fps = subject.model.dims.fps
        lag = lag_alone(scheme, fps, arguments.seconds, clock) + arguments.allowance
        loads = climb(scheme, fps, arguments.seconds, arguments.most, clock, lag)
        rows[scheme.name] = {"most": most(loads), "lag_s": lag, "loads": [vars(load) for load in loads]}
        print(f"{scheme.name}: {most(loads)}", file=sys.stderr)
    return subject.about | {
        "seconds": arguments.seconds,
        "allowance_s": arguments.allowance,
        "enough": ENOUGH,
        "clock": "processor time" if alone else "wall",
        "contenders": rows,
    }


def serving_schemes(model: FaceModel, recogniser: str | None) -> list[ServingScheme]:
    """Batched and one by one, with all that can hear, or the recogniser that is named. Raises RecogniserError."""
    if isinstance(model, ReleasedTalker):
        return [*_side_by_side(_heard_already(model), "audio features given"), *_side_by_side(model, "HuBERT")]
    assert isinstance(model, Talker), "there are two networks"
    found = []
    for name in [recogniser] if recogniser else ["none", "student", "hama"]:
        try:
            found += _hearing_by(model, name)
        except RecogniserError:
            if recogniser:
                raise
    return found


def _hearing_by(model: Talker, name: str) -> list[ServingScheme]:
    ears = open_recogniser(name)

    def prepare() -> None:
        cast(SpeechEncoder, model.audio).recogniser = lambda: ears

    return _side_by_side(model, "no recogniser" if name == "none" else name, ears, prepare)


def _side_by_side(
    model: Talker | ReleasedTalker,
    hearing: str,
    ears: Recogniser | None = None,
    prepare: Callable[[], None] = lambda: None,
) -> list[ServingScheme]:
    def together(count: int) -> Server:
        return Together(side_by_side(model, count), ears)

    def alone(count: int) -> Server:
        prepare()
        return OneByOne([FaceStreamer(model, seed=seed) for seed in range(count)])

    return [ServingScheme(f"together, {hearing}", together), ServingScheme(f"one by one, {hearing}", alone)]


class GivenFeatures(AudioEncoder):
    """Audio features that cost nothing, in HuBERT's place: so much is the face alone."""

    def __init__(self, width: int, fps: int) -> None:
        super().__init__()
        self.width, self.fps = width, fps
        self.numbers = torch.randn(1000, width, generator=torch.Generator().manual_seed(0))

    def features(self, pcm: np.ndarray) -> np.ndarray:
        """The sound itself."""
        return pcm

    def forward(self, features: Tensor) -> Tensor:
        """[B, n] → [B, T, A]."""
        return self.numbers[: frame_count(features.shape[1], self.fps)].expand(len(features), -1, -1)

    def stream(self) -> Stream[Tensor]:
        """See the interface."""
        return _GivenStream(self)


class _GivenStream:
    def __init__(self, encoder: GivenFeatures) -> None:
        self._encoder = encoder
        self.reset()

    def reset(self) -> None:
        self._samples = self._given = 0

    def feed(self, pcm: np.ndarray) -> Tensor:
        self._samples += len(pcm)
        return self._next(self._samples * self._encoder.fps // RATE)

    def finish(self) -> Tensor:
        return self._next(frame_count(self._samples, self._encoder.fps))

    def _next(self, total: int) -> Tensor:
        given, self._given = self._given, total
        return self._encoder.numbers[torch.arange(given, total) % len(self._encoder.numbers)]


def _heard_already(model: ReleasedTalker) -> ReleasedTalker:
    """The same network, sharing its weights, with ``GivenFeatures`` in HuBERT's place."""
    deaf = copy.copy(model)
    deaf._modules = dict(model._modules)
    deaf.hearing = cast(HubertEncoder, GivenFeatures(model.dims.predictor.audio, model.dims.fps).to(model.start.device))
    return deaf


def climb(scheme: ServingScheme, fps: float, seconds: float, most: int, clock: Clock, lag: float) -> list[Load]:
    """More and more listeners until frames come more than ``lag`` after their sound; then between, to a twentieth."""
    loads: dict[int, Load] = {}

    def holds(count: int) -> bool:
        outcome = simulate(scheme.serve(count), [babble(seconds, who) for who in range(count)], fps, clock)
        loads[count] = _load(count, outcome, lag)
        return loads[count].on_time >= ENOUGH

    good, bad = 0, 1
    while good < most and holds(bad):
        good, bad = bad, min(2 * bad, most)
    while bad - good > max(1, good // 20):
        middle = (good + bad) // 2
        good, bad = (middle, bad) if holds(middle) else (good, middle)
    return [loads[count] for count in sorted(loads)]


def lag_alone(scheme: ServingScheme, fps: float, seconds: float, clock: Clock) -> float:
    """How long after its sound a frame comes at the latest to a listener who is alone, seconds; the better of two."""
    outcomes = [simulate(scheme.serve(1), [babble(seconds, 0)], fps, clock) for _ in range(2)]
    return min(max(outcome.lags[0]) for outcome in outcomes)


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
