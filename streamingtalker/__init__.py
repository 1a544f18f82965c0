"""StreamingTalker: speech in, moving 3D face out, frame by frame.

The model library. It knows nothing of microphones, windows or sockets; those live in ``demo``.
"""

import os

# ONNX Runtime, which computes voice, voice activity and phonemes, else tells its makers about every session, from
# threads of its own. It reads this when it is imported, so it has to be said before anything else is.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
