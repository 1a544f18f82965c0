"""Figures of merit: pure functions on arrays, lengths in metres unless said.

Aggregation is per sequence; the caller averages over sequences.
"""

import numpy as np


def lip_vertex_error(predicted: np.ndarray, true: np.ndarray, lips: np.ndarray) -> float:
    """LVE: per frame the largest squared distance over the lip vertices, mean over frames, in m².

    predicted, true [T, V, 3]; lips [L] vertex indices.
    """
    return float(_lip_squares(predicted, true, lips).max(1).mean())


def lip_distance_mm(predicted: np.ndarray, true: np.ndarray, lips: np.ndarray) -> float:
    """Per frame the largest distance over the lip vertices, mean over frames, in mm: LVE without the square."""
    return float(1000 * np.sqrt(_lip_squares(predicted, true, lips)).max(1).mean())


def face_dynamics_distance(predicted: np.ndarray, true: np.ndarray, upper_face: np.ndarray) -> float:
    """FDD, signed: mean over upper-face vertices of the standard deviation over time of the squared offset, truth
    minus prediction, in m². predicted, true: offsets [T, V, 3].
    """

    def dynamics(offsets: np.ndarray) -> np.ndarray:
        return np.square(offsets[:, upper_face]).sum(2).std(0)

    return float((dynamics(true) - dynamics(predicted)).mean())


def mouth_opening(vertices: np.ndarray, lip_pairs: np.ndarray) -> np.ndarray:
    """Distances [T, 5] of the inner-lip pairs of absolute ``vertices`` [T, V, 3]."""
    return np.linalg.norm(vertices[:, lip_pairs[:, 0]] - vertices[:, lip_pairs[:, 1]], axis=2)


def mouth_open_difference(predicted: np.ndarray, true: np.ndarray, lip_pairs: np.ndarray) -> float:
    """MOD: mean over frames and pairs of the absolute difference of openings, in metres."""
    return float(np.abs(mouth_opening(predicted, lip_pairs) - mouth_opening(true, lip_pairs)).mean())


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
    if min(predicted.std(), true.std()) < 1e-9:
        return float("nan")
    return float(np.corrcoef(predicted, true)[0, 1])


def _lip_squares(predicted: np.ndarray, true: np.ndarray, lips: np.ndarray) -> np.ndarray:
    return np.square(predicted[:, lips] - true[:, lips]).sum(2)
