"""Metrics of one target: prediction and truth side by side, piece by piece, so that length costs no memory."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from streamingtalker import metrics
from streamingtalker.evaluation.methods import Method, PredictionError
from streamingtalker.evaluation.sequences import Target, TestBed
from streamingtalker.topology import Topology


@dataclass(frozen=True)
class SequenceMetrics:
    """Means over the frames of a sequence. m: the unit of the vertices."""

    lve: float  # m², lip vertex error
    fdd: float  # m², face dynamics distance, signed: truth minus prediction
    fdd_absolute: float  # m², its absolute value in each sequence
    mod: float  # m, mouth open difference
    lip_distance: float  # m, largest distance of a lip vertex: LVE without the square

    @classmethod
    def mean(cls, all_of_them: Sequence["SequenceMetrics"]) -> "SequenceMetrics":
        """Of several."""
        rows = np.array([list(asdict(each).values()) for each in all_of_them])
        return cls(*(float(value) for value in rows.mean(0)))


@dataclass(frozen=True)
class Regions:
    """The vertices metrics look at: ``used`` of a face, and where in ``used`` each region is."""

    used: np.ndarray  # [R] over the face's V
    lips: np.ndarray  # over the R, as the others
    upper_face: np.ndarray
    lip_pairs: np.ndarray  # [5, 2]

    @classmethod
    def of(cls, face: Topology) -> "Regions":
        """The regions of a face."""
        used = np.unique(np.concatenate([face.lips, face.upper_face, face.lip_pairs.ravel()]))
        return cls(used, *(np.searchsorted(used, part) for part in (face.lips, face.upper_face, face.lip_pairs)))


@dataclass(frozen=True)
class Track:
    """The regions' vertices over time."""

    predicted: np.ndarray  # float32 [T, R, 3], absolute
    true: np.ndarray  # float32 [T, R, 3]
    template: np.ndarray  # float32 [T or 1, R, 3]
    vertex_errors: np.ndarray  # [V] mean distance of every vertex of the face, m

    def part(self, rows: slice) -> "Track":
        """Some of the frames."""
        template = self.template if len(self.template) == 1 else self.template[rows]
        return Track(self.predicted[rows], self.true[rows], template, self.vertex_errors)

    def figures(self, regions: Regions) -> SequenceMetrics:
        """All figures of merit."""
        lve = metrics.lip_vertex_errors(self.predicted, self.true, regions.lips)
        moves = self.predicted - self.template, self.true - self.template
        fdd = metrics.face_dynamics_distance(*moves, regions.upper_face)
        mod = metrics.mouth_open_difference(self.predicted, self.true, regions.lip_pairs)
        return SequenceMetrics(float(lve.mean()), fdd, abs(fdd), mod, float(np.sqrt(lve).mean()))


@dataclass(frozen=True)
class Score:
    """What became of one target."""

    name: str
    identity: int
    conditions: tuple[str, ...]
    frames: int  # scored
    cut: int  # frames of truth without a prediction
    figures: SequenceMetrics  # mean over conditions and seeds
    by_seed: tuple[SequenceMetrics, ...]  # mean over conditions
    still: SequenceMetrics  # of a face that does not move
    diversity_lips: float  # m; NaN with one seed
    diversity_upper: float
    tenths: tuple[SequenceMetrics, ...]  # along the sequence, mean over conditions and seeds
    vertex_errors: np.ndarray  # [V] m


def score(
    bed: TestBed,
    method: Method,
    target: Target,
    seeds: Sequence[int],
    *,
    tenths: bool = False,
    progress: Callable[[int], None] = lambda frames: None,
) -> Score:
    """Every condition and every seed of one target. ``progress`` hears of frames done."""
    regions = Regions.of(bed.topology)
    conditions = tuple(method.conditions(target))
    rows = [
        [track(bed, method.motion(target, condition, seed), target, regions, progress) for seed in seeds]
        for condition in conditions
    ]
    figures = [[each.figures(regions) for each in row] for row in rows]
    first = rows[0][0]
    still = Track(np.broadcast_to(first.template, first.true.shape), first.true, first.template, first.vertex_errors)
    count = len(first.true)
    return Score(
        name=target.name,
        identity=target.identity,
        conditions=conditions,
        frames=count,
        cut=target.frames - count,
        figures=SequenceMetrics.mean([each for row in figures for each in row]),
        by_seed=tuple(SequenceMetrics.mean(column) for column in zip(*figures, strict=True)),
        still=still.figures(regions),
        diversity_lips=_diversity(rows, regions.lips),
        diversity_upper=_diversity(rows, regions.upper_face),
        tenths=_tenths([each for row in rows for each in row], regions) if tenths else (),
        vertex_errors=np.mean([each.vertex_errors for row in rows for each in row], axis=0),
    )


def track(
    bed: TestBed,
    motion: Iterable[np.ndarray],
    target: Target,
    regions: Regions,
    progress: Callable[[int], None] = lambda frames: None,
) -> Track:
    """Gather the regions of a prediction and of the truth, frame for frame.

    Raises PredictionError where the prediction is more than half a second shorter than the truth.
    """
    predicted, true, errors, count = [], [], np.zeros(bed.topology.vertex_count), 0
    for guess, right in paired(motion, bed.true_motion(target)):
        predicted.append(guess[:, regions.used])
        true.append(right[:, regions.used])
        errors += metrics.vertex_errors(guess, right) * len(guess)
        count += len(guess)
        progress(len(guess))
    if target.frames - count > bed.corpus.fps / 2 or not count:
        raise PredictionError(f"The prediction of {target.name} has {count} frames, the truth {target.frames}.")
    template = target.templates(0, count)[:, regions.used]
    return Track(np.concatenate(predicted), np.concatenate(true), template, errors / count)


def paired(one: Iterable[np.ndarray], other: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pieces of both sequences of frames, of equal length, until the shorter one ends."""
    sources = iter(one), iter(other)
    held: list[np.ndarray | None] = [None, None]
    while True:
        for k, source in enumerate(sources):
            while held[k] is None or not len(held[k]):  # type: ignore[arg-type]
                piece = next(source, None)
                if piece is None:
                    return
                held[k] = piece
        left, right = held
        assert left is not None and right is not None
        count = min(len(left), len(right))
        yield left[:count], right[:count]
        held = [left[count:], right[count:]]


def _diversity(rows: Sequence[Sequence[Track]], region: np.ndarray) -> float:
    return float(np.mean([metrics.diversity(np.stack([each.predicted[:, region] for each in row])) for row in rows]))


def _tenths(tracks: Sequence[Track], regions: Regions) -> tuple[SequenceMetrics, ...]:
    edges = np.linspace(0, len(tracks[0].true), 11).astype(int)
    parts = [slice(a, b) for a, b in itertools.pairwise(edges)]
    return tuple(SequenceMetrics.mean([each.part(rows).figures(regions) for each in tracks]) for rows in parts)
