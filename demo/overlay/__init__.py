"""Words and signs over the picture: what was said, by whom, and what the avatar is doing.

Everything is drawn once, when it changes, into small images that the renderer lays over the picture, so that window and
recording show the same. Captions keep to the lowest third, below the chin.
"""

from demo.overlay.lettering import font, wrap
from demo.overlay.meter import Meter, Reading, Trouble
from demo.overlay.overlay import Captions, Overlay
from demo.overlay.patch import Patch

__all__ = ["Captions", "Meter", "Overlay", "Patch", "Reading", "Trouble", "font", "wrap"]
