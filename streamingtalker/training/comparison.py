"""Contenders side by side: their errors on the test sentences, when their first frame comes, and the table of both."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from streamingtalker import metrics
from streamingtalker.config import RATE
from streamingtalker.data.dataset import Corpus, Example
from streamingtalker.streamer import FEED_SAMPLES, FaceStreamer
from streamingtalker.talker import Talker
from streamingtalker.topology import Rig
from streamingtalker.training.full_sequence import FullSequence
from streamingtalker.training.judge import Predict

TAKES = 3  # a latency is the smallest of so many: the others tell of other programs


@dataclass(frozen=True)
class Row:
    """One contender, one seed."""

    name: str
    seed: int
    steps: int
    seconds: float  # of training stage 2
    clips: int
    lve: float  # m²
    fdd: float  # m², signed: truth minus prediction
    mod: float  # m

    def __str__(self) -> str:
        return f"LVE {self.lve:.3e} m², FDD {self.fdd:+.3e} m², MOD {self.mod:.3e} m, {self.seconds:.0f} s"


def score(predict: Predict, examples: Sequence[Example], corpus: Corpus, rig: Rig, talker: Talker) -> dict[str, float]:
    """Means over clips against the corpus' own motion; ``predict`` gives coefficients in the ``talker``'s basis."""
    rows = [_figures(predict(example), example, corpus, rig, talker) for example in examples]
    return dict(zip(("lve", "fdd", "mod"), np.mean(rows, axis=0).tolist(), strict=True))


def _figures(
    coefficients: torch.Tensor, example: Example, corpus: Corpus, rig: Rig, talker: Talker
) -> tuple[float, float, float]:
    face, template = rig.topology, corpus.template(example.clip, rig)
    guess = talker.vqvae.basis.offsets(coefficients).numpy()
    true = corpus.offsets(example.clip, rig)[: len(guess)]
    return (
        metrics.lip_vertex_error(guess, true, face.lips),
        metrics.face_dynamics_distance(guess, true, face.upper_face),
        metrics.mouth_open_difference(guess + template, true + template, face.lip_pairs),
    )


def first_frames(
    ours: Talker, network: FullSequence, corpus: Corpus, lengths: Sequence[int]
) -> dict[str, dict[int, float]]:
    """Seconds of computing until the first frame is there, by seconds of sound; all of the sound is at hand at once."""
    sound = _sound(corpus, max(lengths))
    style = ours.style(ours.identity(0), torch.zeros(1, 1, len(ours.dims.moods)))
    streamer = FaceStreamer(ours)

    def stream(pcm: np.ndarray) -> None:
        streamer.reset()
        pieces = (pcm[start : start + FEED_SAMPLES] for start in range(0, len(pcm), FEED_SAMPLES))
        next(piece for piece in pieces if len(streamer.feed(piece)))

    def whole(pcm: np.ndarray) -> None:
        features = torch.from_numpy(network.audio.features(pcm)).float()[None]
        ours.vqvae.basis.offsets(network.draw(features, style))

    def measured(way: Callable[[np.ndarray], None]) -> dict[int, float]:
        way(sound[:RATE])  # what happens only once
        return {seconds: _quickest(way, sound[: seconds * RATE]) for seconds in lengths}

    return {"ours": measured(stream), "full-sequence": measured(whole)}


def _quickest(way: Callable[[np.ndarray], None], pcm: np.ndarray) -> float:
    def once() -> float:
        began = time.perf_counter()
        way(pcm)
        return time.perf_counter() - began

    return min(once() for _ in range(TAKES))


def _sound(corpus: Corpus, seconds: int) -> np.ndarray:
    """Test sentences one after another."""
    pieces: list[np.ndarray] = []
    clips = corpus.split("test") or corpus.clips
    for index in range(10**4):
        if sum(map(len, pieces)) >= seconds * RATE:
            break
        pieces.append(corpus.pcm(clips[index % len(clips)]))
    return np.concatenate(pieces)[: seconds * RATE].astype(np.float32)


def markdown(rows: Sequence[Row], latencies: dict[str, dict[int, float]]) -> str:
    """The table of errors, means over seeds with half a 95 % interval, and that of latencies."""
    lines = [
        "| | LVE ↓ (10⁻⁶ m²) | FDD (10⁻⁷ m²) | MOD ↓ (mm) | steps | training (s) |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name in dict.fromkeys(row.name for row in rows):
        mine = [row for row in rows if row.name == name]
        cells = [_cell(mine, key, scale) for key, scale in (("lve", 1e6), ("fdd", 1e7), ("mod", 1e3))]
        lines.append(f"| {name} | {' | '.join(cells)} | {mine[0].steps} | {np.mean([r.seconds for r in mine]):.0f} |")
    if latencies:
        lengths = list(next(iter(latencies.values())))
        lines += ["", f"| first frame after (ms), of sound | {' | '.join(f'{length} s' for length in lengths)} |"]
        lines.append(f"|---|{'---:|' * len(lengths)}")
        for name, values in latencies.items():
            lines.append(f"| {name} | {' | '.join(f'{1000 * values[length]:.0f}' for length in lengths)} |")
    return "\n".join(lines)


def _cell(rows: Sequence[Row], key: str, scale: float) -> str:
    mean, half = metrics.mean_and_interval(scale * np.array([getattr(row, key) for row in rows]))
    return f"{mean:.3f}" + (f" ± {half:.3f}" if len(rows) > 1 else "")
