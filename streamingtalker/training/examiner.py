"""How stages are looked at while they train: what is measured; the default network's clips, drawn as in a stream."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from torch import Tensor

from streamingtalker import metrics
from streamingtalker.checkpoint import save_talker
from streamingtalker.data.dataset import Example
from streamingtalker.generate import save_motion
from streamingtalker.talker import Talker
from streamingtalker.topology import Topology
from streamingtalker.training.judge import Predict
from streamingtalker.training.stages import settle_latents

SHOWN = 90  # frames of the clip that is written


def figures(guess: np.ndarray, true: np.ndarray, template: np.ndarray, face: Topology) -> dict[str, float]:
    """LVE (m²) and MOD (m) of a clip: offsets [T, V, 3] from the template, [V, 3] or one for each frame."""
    opening = metrics.mouth_open_difference(guess + template, true + template, face.lip_pairs)
    return {"lve": metrics.lip_vertex_error(guess, true, face.lips), "mod": opening}


def mean_figures(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Over clips."""
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


@dataclass(frozen=True)
class TalkerExaminer:
    """An ``Examiner``: what ``predict`` makes of ``examples``."""

    talker: Talker
    predict: Predict
    examples: list[Example]
    settle: list[Example] = field(default_factory=list)  # stage 1: clips the latents' scale is taken from

    def examine(self) -> dict[str, float]:
        """See Examiner: means over clips."""
        return mean_figures([self._figures(example) for example in self.examples])

    def save(self, path: Path) -> None:
        """See Examiner."""
        if self.settle:
            settle_latents(self.talker, self.settle)
        save_talker(path, self.talker, {"best_on": [example.clip.name for example in self.examples]})

    def show(self, path: Path) -> None:
        """See Examiner."""
        offsets = self._offsets(self.predict(self.examples[0])[:SHOWN])
        save_motion(path, self.talker, offsets)

    def _figures(self, example: Example) -> dict[str, float]:
        face = self.talker.topology
        return figures(self._offsets(self.predict(example)), self._offsets(example.coefficients), face.template, face)

    def _offsets(self, coefficients: Tensor) -> np.ndarray:
        basis = self.talker.vqvae.basis
        return basis.offsets(coefficients.to(basis.mean)).cpu().numpy()
