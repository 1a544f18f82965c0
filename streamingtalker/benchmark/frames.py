"""``python -m streamingtalker.bench frames``: what a frame costs along a clip, beside the published live path."""

import argparse
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from streamingtalker.benchmark.models import Subject, keep, model_arguments
from streamingtalker.benchmark.passage import EAR, PARTS, Block, median_cost, passage
from streamingtalker.benchmark.published_live import PublishedLive
from streamingtalker.benchmark.timing import cut
from streamingtalker.config import RATE
from streamingtalker.errors import UserError, command_line
from streamingtalker.generate import generate
from streamingtalker.released import ReleasedTalker
from streamingtalker.running import Running
from streamingtalker.streamer import FEED_SAMPLES, FaceStreamer

NETWORK = tuple(part for part in PARTS if part != EAR)
ROWS = {"without its audio encoder": NETWORK, "everything": PARTS}
PLACES = (0, 29, 89, 179, 269)  # frames at which the published path is timed
CLIPS = (3, 27)  # seconds, for the first frame
REFERENCE_CLIP = 9
ENOUGH = 0.5  # seconds of sound that a first frame is asked for


@dataclass(frozen=True)
class First:
    """The first frames of a clip."""

    sound: float  # seconds that were there
    frames: int
    seconds: float  # from the moment that sound was there
    work: float  # of them processor time


@command_line
def main(argv: list[str] | None = None) -> int:
    """The command line. Gives the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m streamingtalker.bench frames", parents=[model_arguments()], description=__doc__
    )
    parser.add_argument("--seconds", type=float, default=30, help="of the clip (default: 30)", metavar="S")
    parser.add_argument("--runs", type=int, default=5, help="over the clip, after one to warm up (default: 5)")
    parser.add_argument("--no-reference", action="store_true", help="do not time the published live path")
    arguments = parser.parse_args(argv)
    subject = Subject.of(arguments)
    document = measure(subject, arguments.seconds, arguments.runs, not arguments.no_reference)
    keep(arguments.json, document)
    print(table(document))
    return 0


def measure(subject: Subject, seconds: float, runs: int, reference: bool) -> dict[str, Any]:
    """The report. All runs alternate with those of the published path, so that a busy machine disturbs both."""
    model, pcm = subject.model, cut(subject.speech, seconds)
    passage(model, cut(subject.speech, min(seconds, 3)))
    published = _Published(model, subject.speech) if reference and isinstance(model, ReleasedTalker) else None
    passages, work = [], []
    firsts: dict[int, list[First]] = {clip: [] for clip in CLIPS}
    for run in range(runs):
        passages.append(passage(model, pcm))
        work.append(passage(model, pcm, time.process_time))
        for clip in CLIPS if run % 2 else reversed(CLIPS):
            firsts[clip].append(_first_frame(subject, clip))
        if published:
            published.run()
    document = subject.about | {
        "fps": model.dims.fps,
        "seconds": seconds,
        "runs": runs,
        "frames": {name: _along(passages, work, parts) for name, parts in ROWS.items()},
        "first_frame": {str(clip): _first_summary(found) for clip, found in firsts.items()},
        "first_frame_needs_s": firsts[CLIPS[0]][0].sound,
        "first_frame_gives": firsts[CLIPS[0]][0].frames,
    }
    document |= {"reference": published.report(passages, document)} if published else {}
    if isinstance(model, ReleasedTalker) and model.running.precision != Running().precision:
        document |= {"rounding_mm": _rounding(model, cut(subject.speech, CLIPS[0]))}
    return document


def table(document: Mapping[str, Any]) -> str:
    """Markdown."""
    lines = [
        f"{document['model']}, {document['machine']['torch_threads']} threads, {document['seconds']:g} s of speech",
        "",
        "| | ms a frame | p95 of a block | processor time | frames/s | first tenth | last tenth | change, work |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, row in document["frames"].items():
        cells = (f"{row[key]:.2f}" for key in ("median", "p95", "work"))
        tenths = (f"{row[key]:.2f}" for key in ("first_tenth", "last_tenth"))
        rate, change = f"{row['frames_per_second']:.0f}", f"{100 * row['change_work']:+.1f} %"
        lines.append(f"| {name} | {' | '.join(cells)} | {rate} | {' | '.join(tenths)} | {change} |")
    lines += ["", "| first frame | ms | p95 | processor time |", "|---|---:|---:|---:|"]
    for clip, row in document["first_frame"].items():
        lines.append(f"| of {clip} s | {row['median']:.1f} | {row['p95']:.1f} | {row['work']:.1f} |")
    reference = document.get("reference")
    if reference:
        row = reference["first_frame"]
        lines.append(f"| published path, of {REFERENCE_CLIP} s | {row['median']:.0f} | {row['p95']:.0f} | |")
        lines += ["", "| frame | published path (ms) | here (ms) | ratio |", "|---:|---:|---:|---:|"]
        for frame, row in reference["frames"].items():
            lines.append(f"| {frame} | {row['median']:.0f} | {row['ours']:.2f} | {row['ratio']:.0f} |")
    needs = document["first_frame_needs_s"]
    lines += ["", f"The first {document['first_frame_gives']} frames need {needs:.1f} s of sound."]
    if "rounding_mm" in document:
        row = document["rounding_mm"]
        moved = f"{row['largest']:.3f} mm at most, {row['median']:.4f} mm in the median"
        lines.append(f"Rounding moves a vertex by {moved}; the motion reaches {row['largest_motion']:.1f} mm.")
    return "\n".join(lines)


def _rounding(model: ReleasedTalker, pcm: np.ndarray) -> dict[str, float]:
    """How far vertices are from where float32 has them, with the same noise, in millimetres; how far they move."""
    chosen = model.running
    rounded = generate(model, pcm)
    model.run_as(Running())
    exact = generate(model, pcm)
    model.run_as(chosen)
    errors, moves = (1000 * np.linalg.norm(each, axis=-1) for each in (rounded - exact, exact - exact.mean(0)))
    return {"largest": float(errors.max()), "median": float(np.median(errors)), "largest_motion": float(moves.max())}


class _Published:
    """Times of the published live path."""

    def __init__(self, model: ReleasedTalker, speech: np.ndarray) -> None:
        self._path = PublishedLive(model)
        self._pcm = cut(speech, REFERENCE_CLIP)
        self._features = self._path.hear(self._pcm)
        self._frames: dict[int, list[float]] = {place: [] for place in PLACES}
        self._firsts: list[float] = []
        self._path.next_frame(self._features)

    def run(self) -> None:
        """Time it once: every place, and the first frame of an utterance."""
        for place, times in self._frames.items():
            self._path.skip_to(place)
            times.append(_seconds(lambda: self._path.next_frame(self._features)))
        self._path.skip_to(0)
        self._firsts.append(_seconds(lambda: self._path.next_frame(self._path.hear(self._pcm))))

    def report(self, passages: Sequence[Sequence[Block]], document: Mapping[str, Any]) -> dict[str, Any]:
        """Its times, and how often ours fit in."""
        rows = {}
        for place, times in self._frames.items():
            ours = float(np.median([_block_at(blocks, place).cost(NETWORK) for blocks in passages]))
            rows[str(place)] = _summary(times) | {"ours": ours, "ratio": 1000 * float(np.median(times)) / ours}
        first = _summary(self._firsts)
        mine = np.mean([row["median"] for row in document["first_frame"].values()])
        return {"frames": rows, "first_frame": first, "first_frame_ratio": first["median"] / float(mine)}


def _along(
    passages: Sequence[Sequence[Block]], work: Sequence[Sequence[Block]], parts: tuple[str, ...]
) -> dict[str, float]:
    """Figures along the clip; the change from its first to its last tenth is one of processor time."""
    median = median_cost(passages, parts)
    begin, end = ((median_cost(work, parts, *place)) for place in ((0, 0.1), (0.9, 1)))
    return {
        "median": median,
        "p95": float(np.quantile([block.cost(parts) for blocks in passages for block in blocks], 0.95)),
        "frames_per_second": 1000 / median,
        "work": median_cost(work, parts),
        "first_tenth": median_cost(passages, parts, 0, 0.1),
        "last_tenth": median_cost(passages, parts, 0.9, 1),
        "change_work": end / begin - 1,
    }


def _first_frame(subject: Subject, clip: float) -> First:
    """Of a clip that is fed half a second, and then tenths of a second until there are frames."""
    pcm, streamer = cut(subject.speech, clip), FaceStreamer(subject.model)
    edges = [0, *range(round(ENOUGH * RATE), len(pcm), FEED_SAMPLES), len(pcm)]
    for start, end in itertools.pairwise(edges):
        began, work = time.perf_counter(), time.process_time()
        frames = len(streamer.feed(pcm[start:end]))
        if frames:
            return First(end / RATE, frames, time.perf_counter() - began, time.process_time() - work)
    raise UserError(f"{clip:g} seconds of sound give no frame; take a model that hears less far ahead.")


def _block_at(blocks: Sequence[Block], frame: int) -> Block:
    return next((block for block in blocks if block.first + block.frames > frame), blocks[-1])


def _seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _first_summary(found: Sequence[First]) -> dict[str, float]:
    """Milliseconds."""
    work = 1000 * float(np.median([each.work for each in found]))
    return _summary([each.seconds for each in found]) | {"work": work}


def _summary(seconds: Sequence[float]) -> dict[str, float]:
    """Milliseconds."""
    return {"median": 1000 * float(np.median(seconds)), "p95": 1000 * float(np.quantile(seconds, 0.95))}
