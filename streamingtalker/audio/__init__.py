"""Sound: files, sample rates, features and the encoders that make them into one vector a motion frame."""

from streamingtalker.audio.encoder import AudioEncoder, build_encoder
from streamingtalker.audio.files import AudioError, load_audio
from streamingtalker.audio.posteriors import Recogniser, open_recogniser
from streamingtalker.audio.resample import Resampler
from streamingtalker.config import RATE

__all__ = [
    "RATE",
    "AudioEncoder",
    "AudioError",
    "Recogniser",
    "Resampler",
    "build_encoder",
    "load_audio",
    "open_recogniser",
]
