"""``python -m streamingtalker.bench components``: where a frame's time goes, beside the paper's Table 4."""

import argparse
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from streamingtalker.benchmark.models import Subject, keep, model_arguments
from streamingtalker.benchmark.passage import DECODER, EAR, HEAD, PARTS, PREDICTOR, Block, median_cost, passage
from streamingtalker.benchmark.timing import cut
from streamingtalker.errors import command_line

TABLE_4 = {EAR: 5.0, PREDICTOR: 3.0, HEAD: 12.0, DECODER: 5.0}  # ms, RTX 4090; HuBERT once, encoder and decoder


@command_line
def main(argv: list[str] | None = None) -> int:
    """The command line. Gives the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m streamingtalker.bench components", parents=[model_arguments()], description=__doc__
    )
    parser.add_argument("--seconds", type=float, default=10, help="of the clip (default: 10)", metavar="S")
    parser.add_argument("--runs", type=int, default=5, help="over the clip, after one to warm up (default: 5)")
    arguments = parser.parse_args(argv)
    document = measure(Subject.of(arguments), arguments.seconds, arguments.runs)
    keep(arguments.json, document)
    print(table(document))
    return 0


def measure(subject: Subject, seconds: float, runs: int) -> dict[str, Any]:
    """Milliseconds a frame in each part, by the wall's clock and by the processor's."""
    pcm = cut(subject.speech, seconds)
    passage(subject.model, pcm)
    passages = [passage(subject.model, pcm) for _ in range(runs)]
    work = [passage(subject.model, pcm, time.process_time) for _ in range(runs)]
    rows = {part: _figures(passages, work, (part,)) for part in PARTS} | {"all": _figures(passages, work, PARTS)}
    return subject.about | {"seconds": seconds, "runs": runs, "components": rows}


def table(document: Mapping[str, Any]) -> str:
    """Markdown."""
    lines = [
        f"{document['model']}, {document['machine']['torch_threads']} threads",
        "",
        "| | ms a frame | p95 of a block | of it processor time | the paper, RTX 4090 |",
        "|---|---:|---:|---:|---:|",
    ]
    for part, row in document["components"].items():
        cells = " | ".join(f"{row[key]:.2f}" for key in ("median", "p95", "work"))
        paper = "20 a frame, 25 to the first" if part == "all" else f"{TABLE_4[part]:g}"
        lines.append(f"| {part} | {cells} | {paper} |")
    return "\n".join(lines)


def _figures(passages: list[list[Block]], work: list[list[Block]], parts: tuple[str, ...]) -> dict[str, float]:
    costs = [block.cost(parts) for blocks in passages for block in blocks]
    return {
        "median": median_cost(passages, parts),
        "p95": float(np.quantile(costs, 0.95)),
        "work": median_cost(work, parts),
    }
