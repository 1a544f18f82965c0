"""Several faces at once: the frames of many streams, computed side by side."""
