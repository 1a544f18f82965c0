"""Where the brows run, for the paint on the skin and for the hairs above it."""

import numpy as np

# The middle line of a brow from the nose outwards: distance from the middle of the face, height; metres.
BROW_LINE = (
    (0.0118, 0.0468),
    (0.0190, 0.0496),
    (0.0280, 0.0523),
    (0.0375, 0.0535),
    (0.0450, 0.0510),
    (0.0515, 0.0468),
)
BROW_HALF_WIDTH = (0.0022, 0.0026, 0.0025, 0.0021, 0.0014, 0.0005)


def brow_frame(at: np.ndarray, across: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points (distance from the middle, height) at shares ``at`` and ``across`` [-1, 1] of a brow, and its heading."""
    line, knots = np.array(BROW_LINE), np.linspace(0, 1, len(BROW_LINE))

    def middle(share: np.ndarray) -> np.ndarray:
        return np.column_stack([np.interp(share, knots, line[:, axis]) for axis in (0, 1)])

    ahead = middle(np.minimum(at + 0.08, 1)) - middle(np.maximum(at - 0.08, 0))
    heading = ahead / np.linalg.norm(ahead, axis=1, keepdims=True)
    normal = np.column_stack([-heading[:, 1], heading[:, 0]])
    return middle(at) + normal * (across * np.interp(at, knots, BROW_HALF_WIDTH))[:, None], heading
