"""``python -m streamingtalker.bench latency``: time to the first frame and per frame over 3 to 27 s of sound."""

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import Progress, TimeRemainingColumn

from streamingtalker.benchmark.models import Subject, keep, model_arguments
from streamingtalker.benchmark.passage import PARTS, median_cost, passage
from streamingtalker.benchmark.timing import Summary, cut, slope, sound_needed, streaming, sweep, whole_clip
from streamingtalker.errors import UserError, command_line
from streamingtalker.places import make_place
from streamingtalker.streamer import FaceModel

LENGTHS = (3, 6, 9, 12, 15, 18, 21, 24, 27)  # seconds, as in the paper


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m streamingtalker.bench latency",
        parents=[model_arguments()],
        description="Measure the time to the first frame and per frame for sounds of different lengths.",
    )
    parser.add_argument("--lengths", type=float, nargs="+", default=LENGTHS, help="seconds of sound", metavar="S")
    parser.add_argument("--runs", type=int, default=7, help="of each length (default: 7)")
    parser.add_argument("--figure", type=Path, help="where the drawing goes", metavar="OUT.png")
    return parser.parse_args(argv)


@command_line
def main(argv: list[str] | None = None) -> int:
    """The command line. Gives the exit status."""
    arguments = _arguments(argv)
    if arguments.figure:
        make_place(arguments.figure, "The figure")
    subject = Subject.of(arguments)
    document = _measure(subject, arguments.lengths, arguments.runs, arguments.device)
    keep(arguments.json, document)
    if arguments.figure:
        draw(arguments.figure, document)
    print(tables(document))
    return 0


def tables(document: Mapping[str, Any]) -> str:
    """Two Markdown tables: lengths, and components."""
    lines = [
        "| contender | sound (s) | first frame (ms) | p95 | per frame (ms) | p95 |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, result in document["contenders"].items():
        for row in result["lengths"]:
            cells = (row[key] for key in ("first_median", "first_p95", "per_frame_median", "per_frame_p95"))
            lines.append(f"| {name} | {row['seconds']:g} | {' | '.join(f'{cell:.2f}' for cell in cells)} |")
    lines += ["", "| contender | change of the first frame over these lengths, work | per frame |", "|---|---:|---:|"]
    for name, result in document["contenders"].items():
        change = result["change"]
        lines.append(f"| {name} | {100 * change['first']:+.1f} % | {100 * change['per_frame']:+.1f} % |")
    times, work = document["components_ms_per_frame"], document["components_work_ms_per_frame"]
    lines += ["", "| component | ms a frame | of them processor time |", "|---|---:|---:|"]
    lines += [f"| {name} | {value:.3f} | {work[name]:.3f} |" for name, value in times.items()]
    lines += [f"| all | {sum(times.values()):.3f} | {sum(work.values()):.3f} |", ""]
    lines += [f"The first frame needs {document['sound_needed_s']:.1f} s of sound."]
    return "\n".join(lines)


def draw(path: Path, document: Mapping[str, Any]) -> None:
    """The figure: both latencies against the length of the sound. Raises UserError without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError("matplotlib is not installed; run pip install 'streamingtalker[research]'.") from error

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    panels = figure.subplots(1, 2)
    for panel, key, title in zip(
        panels, ("first", "per_frame"), ("Time to the first frame", "Time per frame"), strict=True
    ):
        for name, result in document["contenders"].items():
            rows = result["lengths"]
            panel.plot([r["seconds"] for r in rows], [r[f"{key}_median"] for r in rows], marker="o", label=name)
            panel.fill_between(
                [r["seconds"] for r in rows],
                [r[f"{key}_median"] for r in rows],
                [r[f"{key}_p95"] for r in rows],
                alpha=0.15,
            )
        panel.set(
            title=title, xlabel="length of the sound (s)", ylabel="ms", yscale="log" if key == "first" else "linear"
        )
        panel.grid(alpha=0.3)
    panels[1].set_ylim(bottom=0)
    panels[0].legend(fontsize="small")
    figure.savefig(path, dpi=150)


def _measure(subject: Subject, lengths: Sequence[float], runs: int, device: str) -> dict[str, Any]:
    model, speech = subject.model, subject.speech
    contenders = [streaming(model), whole_clip(model)]
    with Progress(*Progress.get_default_columns()[:-1], TimeRemainingColumn()) as bar:
        task = bar.add_task("runs", total=len(contenders) * len(lengths) * runs)
        results = sweep(contenders, speech, lengths, runs, progress=lambda: bar.advance(task))
    return subject.about | {
        "fps": model.dims.fps,
        "piece_s": 0.1,
        "runs": runs,
        "warm_up_runs": 1,
        "sound_needed_s": sound_needed(model, cut(speech, 5)),
        "contenders": {name: _contender(rows, device) for name, rows in results.items()},
        "components_ms_per_frame": _components(model, cut(speech, max(lengths)), runs, time.perf_counter),
        "components_work_ms_per_frame": _components(model, cut(speech, max(lengths)), runs, time.process_time),
    }


def _contender(rows: Sequence[Summary], device: str) -> dict[str, Any]:
    """Changes are of the work, or on a graphics card of the medians: there the processor only waits."""
    measure = "work" if device == "cpu" else "median"
    changes = {key: slope(rows, f"{key}_{measure}") for key in ("first", "per_frame")}
    return {"lengths": [asdict(row) for row in rows], "change": changes}


def _components(model: FaceModel, pcm: np.ndarray, runs: int, clock: Callable[[], float]) -> dict[str, float]:
    """The median of several streams."""
    passages = [passage(model, pcm, clock) for _ in range(max(runs // 2, 1))]
    return {part: median_cost(passages, [part]) for part in PARTS}
