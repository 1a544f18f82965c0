"""Reading recordings."""

import struct
from pathlib import Path

import numpy as np
import soundfile

from streamingtalker.audio.resample import Resampler
from streamingtalker.config import RATE
from streamingtalker.errors import UserError
from streamingtalker.streaming import whole

MAX_SECONDS = 3600
_UNKNOWN_LENGTHS = (0, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)  # what pipes write for a length they cannot know


class AudioError(UserError):
    """A recording that cannot be used."""


def load_audio(path: str | Path, max_seconds: float = MAX_SECONDS) -> tuple[np.ndarray, int]:
    """A WAV, FLAC, OGG or MP3 file as float32 mono in [-1, 1] (channels averaged) and its sample rate.

    Silence is fine. Raises AudioError where the file is missing, empty, cut off, no audio, too long, may not be read or
    holds values that are not numbers.
    """
    path = Path(path)
    try:
        _check_file(path)
    except OSError as error:
        raise AudioError(f"{path} cannot be read ({error.strerror}); check its path and permissions.") from error
    try:
        with soundfile.SoundFile(path) as file:
            _check_length(path, file.frames / file.samplerate, max_seconds)
            expected, rate = file.frames, file.samplerate
            samples = file.read(dtype="float32", always_2d=True)
    except soundfile.LibsndfileError:
        samples, rate = _decode(path, max_seconds)
        expected = len(samples)
    if len(samples) == 0:
        raise AudioError(f"{path} holds no sound; record it again.")
    if len(samples) < expected and path.suffix.lower() != ".mp3":
        raise AudioError(f"{path} breaks off after {len(samples) / rate:.2f} s; copy it again.")
    if not np.isfinite(samples).all():
        raise AudioError(f"{path} holds samples that are not numbers; export it again.")
    return np.ascontiguousarray(samples.mean(axis=1)), rate


def load_pcm(path: str | Path) -> np.ndarray:
    """A recording as the model hears it: float32 mono [n] at 16 kHz. Raises AudioError as ``load_audio``."""
    pcm, rate = load_audio(path)
    return whole(Resampler(rate, RATE), pcm)


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise AudioError(f"{path} does not exist; give the path of a WAV, FLAC or MP3 file.")
    if path.stat().st_size == 0:
        raise AudioError(f"{path} is an empty file; record or copy it again.")
    if _is_cut_off(path):
        raise AudioError(f"{path} breaks off before the length its header states; copy it again.")


def _check_length(path: Path, seconds: float, most: float) -> None:
    if seconds > most:
        raise AudioError(f"{path} lasts {seconds:.0f} s, more than the {most:.0f} s allowed; cut it into pieces.")


def _is_cut_off(path: Path) -> bool:
    """Does a RIFF file end before its data chunk does? (libsndfile reads such a file without a word.)"""
    size = path.stat().st_size
    with path.open("rb") as file:
        header = file.read(12)
        if len(header) < 12 or header[:4] != b"RIFF" or header[8:] != b"WAVE":
            return header[:4] == b"RIFF" and len(header) < 12
        while len(chunk := file.read(8)) == 8:
            name, length = struct.unpack("<4sI", chunk)
            if name == b"data":
                return length not in _UNKNOWN_LENGTHS and file.tell() + length > size
            file.seek(length + length % 2, 1)
    return True


def _decode(path: Path, max_seconds: float) -> tuple[np.ndarray, int]:
    """The same through FFmpeg, for formats libsndfile does not read."""
    try:
        import av
    except ImportError as error:
        raise AudioError(f"{path} is not a WAV, FLAC or MP3 file; convert it to one.") from error
    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                raise AudioError(f"{path} holds no sound; give a recording.")
            rate = container.streams.audio[0].rate
            to_float = av.AudioResampler(format="flt", layout="mono")
            blocks: list[np.ndarray] = []
            total = 0
            for frame in container.decode(audio=0):
                blocks += [piece.to_ndarray().reshape(-1, 1) for piece in to_float.resample(frame)]
                total += frame.samples
                _check_length(path, total / rate, max_seconds)
    except (av.error.FFmpegError, AttributeError, ValueError) as error:  # a stream of no known kind has no rate
        raise AudioError(f"{path} is not a WAV, FLAC or MP3 file; convert it to one.") from error
    return np.concatenate([*blocks, np.zeros((0, 1), np.float32)]), rate
