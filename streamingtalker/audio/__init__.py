"""Sound: files, sample rates, features and the encoders that make them into one vector a motion frame.

What a program needs around the model is here; the encoders, which need torch, are in their own modules, so that a
program that only reads sound starts at once.
"""

from streamingtalker.audio.files import AudioError, load_audio, load_pcm
from streamingtalker.audio.resample import Resampler
from streamingtalker.config import RATE

__all__ = ["RATE", "AudioError", "Resampler", "load_audio", "load_pcm"]
