"""``python -m streamingtalker.bench hearing``: what HuBERT hears through a window, beside the whole utterance."""

import argparse
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from streamingtalker.audio.hubert import FEATURE_RATE, ContextWindow, HubertEncoder
from streamingtalker.benchmark.models import Subject, keep, model_arguments
from streamingtalker.benchmark.timing import cut
from streamingtalker.errors import UserError, command_line
from streamingtalker.streamer import FEED_SAMPLES

WINDOWS = ((25, 20), (50, 10), (50, 20), (50, 40), (100, 20), (200, 20), (200, 40))  # features before and after


@command_line
def main(argv: list[str] | None = None) -> int:
    """The command line. Gives the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m streamingtalker.bench hearing", parents=[model_arguments()], description=__doc__
    )
    parser.add_argument("--seconds", type=float, default=8, help="of the clip (default: 8)", metavar="S")
    arguments = parser.parse_args(argv)
    document = measure(Subject.of(arguments), arguments.seconds)
    keep(arguments.json, document)
    print(table(document))
    return 0


def measure(subject: Subject, seconds: float) -> dict[str, Any]:
    """For each window: how far its features are from the whole utterance's, and its cost. Raises UserError."""
    encoder, pcm = subject.model.audio, cut(subject.speech, seconds)
    if not isinstance(encoder, HubertEncoder):
        raise UserError(f"{subject.name} does not hear with HuBERT; choose --preset vocaset or a converted model.")
    aligned, exact = _whole(encoder, pcm)
    rows = [_row(encoder, pcm, ContextWindow(past, future=future), aligned, exact) for past, future in WINDOWS]
    stretch = difference(exact, aligned)
    return subject.about | {"seconds": seconds, "windows": rows, "alignment_alone": stretch}


def difference(found: Tensor, expected: Tensor) -> float:
    """Root mean square of the difference, over the spread of what is expected about its mean. Features [T, A]."""
    spread = (expected - expected.mean(0)).square().mean().sqrt()
    return float((found - expected).square().mean().sqrt() / spread)


def table(document: Mapping[str, Any]) -> str:
    """Markdown."""
    lines = [
        f"{document['model']}, {document['seconds']:g} s of speech, {document['machine']['torch_threads']} threads",
        "",
        "| heard before (s) | after (s) | differs from the whole utterance | of it not by alignment | ms a frame |",
        "|---:|---:|---:|---:|---:|",
    ]
    for row in document["windows"]:
        shares = " | ".join(f"{100 * row[key]:.0f} %" for key in ("difference", "difference_exact"))
        lines.append(f"| {row['past']:g} | {row['future']:g} | {shares} | {row['ms_per_frame']:.1f} |")
    lines += ["", f"Alignment of the corners alone: {100 * document['alignment_alone']:.0f} %."]
    return "\n".join(lines)


def _row(
    encoder: HubertEncoder, pcm: np.ndarray, context: ContextWindow, aligned: Tensor, exact: Tensor
) -> dict[str, float]:
    encoder.hear_live(context)
    began = time.perf_counter()
    heard = _streamed(encoder, pcm)
    spent = time.perf_counter() - began
    return {
        "past": context.past / FEATURE_RATE,
        "future": context.future / FEATURE_RATE,
        "difference": difference(heard, aligned),
        "difference_exact": difference(heard, exact),
        "ms_per_frame": 1000 * spent / len(heard),
    }


@torch.inference_mode()
def _streamed(encoder: HubertEncoder, pcm: np.ndarray) -> Tensor:
    stream = encoder.stream()
    pieces = [stream.feed(pcm[start : start + FEED_SAMPLES]) for start in range(0, len(pcm), FEED_SAMPLES)]
    return torch.cat([*pieces, stream.finish()])


@torch.inference_mode()
def _whole(encoder: HubertEncoder, pcm: np.ndarray) -> tuple[Tensor, Tensor]:
    """Frames [T, A] of the whole utterance: stretched to its corners as published, and at their exact moments."""
    normalised = torch.from_numpy(encoder.features(pcm))[None].to(encoder.nothing())
    aligned = encoder.runner()(normalised)[0]
    features = encoder.runner().encode(normalised)[0]
    places = torch.arange(len(aligned), device=aligned.device) * FEATURE_RATE / encoder.fps
    places = places.clamp(max=len(features) - 1)
    low = places.floor().long()
    high = (low + 1).clamp(max=len(features) - 1)
    return aligned, torch.lerp(features[low], features[high], (places - low)[:, None])
