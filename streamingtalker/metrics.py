"""Figures of merit: pure functions on arrays, of one sequence each; the caller averages over sequences.

Units are those of the vertices: metres for our faces and VOCASET, the unit of BIWI's normalised coordinates for BIWI.
"m" below stands for either.
"""

import itertools

import numpy as np
from scipy.special import stdtrit


def lip_vertex_errors(predicted: np.ndarray, true: np.ndarray, lips: np.ndarray) -> np.ndarray:
    """Per frame the largest squared distance over the lip vertices, [T] in m².

    predicted, true [T, V, 3]; lips [L] vertex indices.
    """
    return _lip_squares(predicted, true, lips).max(1)


def lip_vertex_error(predicted: np.ndarray, true: np.ndarray, lips: np.ndarray) -> float:
    """LVE: per frame the largest squared distance over the lip vertices, mean over frames, in m².

    predicted, true [T, V, 3]; lips [L] vertex indices.
    """
    return float(lip_vertex_errors(predicted, true, lips).mean())


def lip_distance_mm(predicted: np.ndarray, true: np.ndarray, lips: np.ndarray) -> float:
    """Per frame the largest distance over the lip vertices, mean over frames, in mm of vertices in metres: LVE
    without the square. predicted, true [T, V, 3]; lips [L] vertex indices.
    """
    return float(1000 * np.sqrt(_lip_squares(predicted, true, lips)).max(1).mean())


def face_dynamics_distance(predicted: np.ndarray, true: np.ndarray, upper_face: np.ndarray) -> float:
    """FDD, signed: mean over upper-face vertices of the standard deviation over time of the squared offset, truth
    minus prediction, in m². predicted, true: offsets [T, V, 3].
    """
    return float((dynamics(true[:, upper_face]) - dynamics(predicted[:, upper_face])).mean())


def mouth_opening(vertices: np.ndarray, lip_pairs: np.ndarray) -> np.ndarray:
    """Distances [T, 5] of the inner-lip pairs of absolute ``vertices`` [T, V, 3]."""
    return np.linalg.norm(vertices[:, lip_pairs[:, 0]] - vertices[:, lip_pairs[:, 1]], axis=2)


def mouth_open_differences(predicted: np.ndarray, true: np.ndarray, lip_pairs: np.ndarray) -> np.ndarray:
    """Per frame the absolute difference of openings, mean over the pairs, [T] in m. Absolute vertices [T, V, 3]."""
    return np.abs(mouth_opening(predicted, lip_pairs) - mouth_opening(true, lip_pairs)).mean(1)


def mouth_open_difference(predicted: np.ndarray, true: np.ndarray, lip_pairs: np.ndarray) -> float:
    """MOD: mean over frames and pairs of the absolute difference of openings, in m. Absolute vertices [T, V, 3]."""
    return float(mouth_open_differences(predicted, true, lip_pairs).mean())


def vertex_errors(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Distance of every vertex from where it should be, mean over frames: [V] in m. predicted, true [T, V, 3]."""
    return np.linalg.norm(predicted - true, axis=2).mean(0)


def diversity(samples: np.ndarray) -> float:
    """How far apart draws of the same sequence are: the distance of the same vertex in the same frame, mean over
    vertices, frames and all pairs of draws, in m. samples [S, T, V, 3]; NaN with fewer than two.
    """
    pairs = itertools.combinations(samples, 2)
    distances = [np.linalg.norm(one - other, axis=2).mean() for one, other in pairs]
    return float(np.mean(distances)) if distances else float("nan")


def closure_recall(opening: np.ndarray, intervals: list[tuple[int, int]], closed: float) -> float:
    """Share of the ``intervals`` (frames [from, to) of phones that need shut lips) in which the lips do shut.

    opening [T] of the middle pair; ``closed`` is the largest opening that counts as shut. NaN without intervals.
    """
    hits = [bool((opening[a : max(b, a + 1)] <= closed).any()) for a, b in intervals if a < len(opening)]
    return float(np.mean(hits)) if hits else float("nan")


def openness_precision(opening: np.ndarray, should_be_open: np.ndarray, closed: float) -> float:
    """Share of the frames ``should_be_open`` (bool [T]) whose lips are not shut. NaN without such frames."""
    return float((opening[should_be_open] > closed).mean()) if should_be_open.any() else float("nan")


def correlation(predicted: np.ndarray, true: np.ndarray) -> float:
    """Pearson's correlation of two curves [T]. NaN where one of them does not move."""
    if min(np.ptp(predicted), np.ptp(true)) < 1e-9:  # the deviation of a constant need not be 0
        return float("nan")
    return float(np.corrcoef(predicted, true)[0, 1])


def dynamics(offsets: np.ndarray) -> np.ndarray:
    """Standard deviation over time of each vertex's squared offset, [V] in m²: what FDD compares. offsets [T, V, 3]."""
    return np.square(offsets).sum(2).std(0)


def acceleration(offsets: np.ndarray) -> np.ndarray:
    """Length of the second difference [T − 2, V] of offsets [T, V, 3], in metres a frame²: the share of jitter in a
    motion shows where it is larger than the target's.
    """
    return np.linalg.norm(np.diff(offsets, n=2, axis=0), axis=2)


def lag(predicted: np.ndarray, true: np.ndarray, most: int = 6) -> float:
    """Frames by which curve ``predicted`` [T] follows ``true`` [T]: where their correlation is largest, between frames
    by a parabola through the three best. At most ``most``; NaN where one of them does not move or is too short.
    """
    if len(true) < 3 * most:
        return float("nan")
    predicted, true = predicted.astype(np.float64), true.astype(np.float64)
    scores = np.array([_shifted_correlation(predicted, true, shift) for shift in range(-most, most + 1)])
    if np.isnan(scores).any():
        return float("nan")
    best = int(scores.argmax())
    if best in (0, 2 * most):
        return float(best - most)
    before, here, after = scores[best - 1 : best + 2]
    bend = before - 2 * here + after
    return best - most + float((before - after) / (2 * bend) if bend < 0 else 0.0)


def _shifted_correlation(predicted: np.ndarray, true: np.ndarray, shift: int) -> float:
    late, early = predicted[max(shift, 0) : len(true) + min(shift, 0)], true[max(-shift, 0) : len(true) - max(shift, 0)]
    return correlation(late, early)


def mean_and_interval(values: np.ndarray) -> tuple[float, float]:
    """The mean of independent ``values`` [n] and the half width of its 95 % confidence interval (Student's t).

    The half width of a single value is 0: nothing is known of its spread.
    """
    if len(values) < 2:
        return float(np.mean(values)), 0.0
    student = stdtrit(len(values) - 1, 0.975)  # two-sided
    return float(np.mean(values)), float(student * np.std(values, ddof=1) / np.sqrt(len(values)))


def _lip_squares(predicted: np.ndarray, true: np.ndarray, lips: np.ndarray) -> np.ndarray:
    return np.square(predicted[:, lips] - true[:, lips]).sum(2)
