"""What keeps a face alive beyond its speech: blinks, gaze, head, breath, and the look it has while nobody speaks."""

from demo.life.landmarks import Landmarks
from demo.life.life import Bearing, Life

__all__ = ["Bearing", "Landmarks", "Life"]
