"""The network that was published with the paper, number for number, so that its weights run here.

``vqvae`` and ``predictor`` are its parts, ``talker`` joins them: the three ways of sampling of the published code for
comparison, and the stream of constant cost that ``FaceStreamer`` drives. ``streamingtalker.convert`` fills it.
"""

from streamingtalker.released.dims import ReleasedDims, ReleasedMotion, ReleasedPredictor
from streamingtalker.released.talker import ReleasedTalker

__all__ = ["ReleasedDims", "ReleasedMotion", "ReleasedPredictor", "ReleasedTalker"]
