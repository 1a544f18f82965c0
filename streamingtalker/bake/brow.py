"""Where the brows run, for the paint on the skin and for the hairs above it."""

import numpy as np

from streamingtalker.bake.identity import BrowLook


def brow_frame(look: BrowLook, at: np.ndarray, across: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points (distance from the middle, height) at shares ``at`` and ``across`` [-1, 1] of a brow, and its heading."""
    line, knots = np.array(look.line), np.linspace(0, 1, len(look.line))

    def middle(share: np.ndarray) -> np.ndarray:
        return np.column_stack([np.interp(share, knots, line[:, axis]) for axis in (0, 1)])

    ahead = middle(np.minimum(at + 0.08, 1)) - middle(np.maximum(at - 0.08, 0))
    heading = ahead / np.linalg.norm(ahead, axis=1, keepdims=True)
    normal = np.column_stack([-heading[:, 1], heading[:, 0]])
    return middle(at) + normal * (across * np.interp(at, knots, look.half_width))[:, None], heading
