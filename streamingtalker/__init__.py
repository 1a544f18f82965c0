"""StreamingTalker: speech in, moving 3D face out, frame by frame.

The model library. It knows nothing of microphones, windows or sockets; those live in ``demo``.
"""
