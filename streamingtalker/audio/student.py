"""Our own small phoneme recogniser, taught by the large one: the same classes, frames and windows.

For where the large one does not exist. ``training/distil.py`` teaches it.
"""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from streamingtalker.audio.mel import WINDOW, mel_filterbank
from streamingtalker.audio.posteriors import HOP
from streamingtalker.config import build
from streamingtalker.tensor_file import CheckpointError, read_tensors, stated_sha256, write_tensors

STEP = HOP // 2  # samples a column of log-mel
DEFAULT_STUDENT = Path(__file__).resolve().parents[2] / "assets" / "weights" / "recogniser.safetensors"
_KIND = "recogniser"
_FLOOR = 1e-6


@dataclass(frozen=True)
class StudentDims:
    """The recogniser's network."""

    bands: int = 64
    classes: int = 191
    width: int = 192
    dilations: tuple[int, ...] = (1, 2, 4, 8, 1, 2, 4, 8, 1, 1)  # of its convolutions over 20 ms frames, kernel 3
    sharpness: float = 1.0  # of its scores when it hears; above 1 it is as sure as the teacher, though not as right


def power_spectrum(pcm: Tensor) -> Tensor:
    """Sound [B, n] → power [B, 2·(n // 320), 257]; column j lies around sample 160·j, zeros beyond the ends."""
    columns = 2 * (pcm.shape[1] // HOP)
    padded = F.pad(pcm, (WINDOW // 2, WINDOW))
    windows = padded.unfold(1, WINDOW, STEP)[:, :columns]
    hann = torch.hann_window(WINDOW, dtype=pcm.dtype, device=pcm.device) / math.sqrt(WINDOW / 4)
    return torch.fft.rfft(windows * hann).abs().square()


def log_mel(power: Tensor, filterbank: Tensor) -> Tensor:
    """Power [B, 2·T, 257] and bands [257, M] → two log-mel columns a frame, [B, T, 2·M], about zero mean."""
    columns = 0.25 * torch.log(power @ filterbank + _FLOOR) + 1.5
    return columns.reshape(columns.shape[0], columns.shape[1] // 2, -1)


class WindowBlock(nn.Module):
    """x + pointwise(GELU(conv(GELU(norm(x))) + what the whole window sounds like))."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.conv = nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation)
        self.whole = nn.Linear(width, width, bias=False)
        self.mix = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, W] → [B, T, W]."""
        y = F.gelu(self.norm(x))
        near = self.conv(y.transpose(1, 2)).transpose(1, 2)
        return x + self.mix(F.gelu(near + self.whole(y.mean(1, keepdim=True))))


class Student(nn.Module):
    """Log-mel of one window → what was said in each of its frames. Convolutions that look both ways."""

    def __init__(self, dims: StudentDims) -> None:
        super().__init__()
        self.dims = dims
        self.into = nn.Linear(2 * dims.bands, dims.width)
        self.blocks = nn.Sequential(*(WindowBlock(dims.width, dilation) for dilation in dims.dilations))
        self.norm = nn.LayerNorm(dims.width)
        self.out = nn.Linear(dims.width, dims.classes)

    def hidden(self, mel: Tensor) -> Tensor:
        """Log-mel [B, T, 2·M] → [B, T, W]."""
        return self.norm(self.blocks(self.into(mel)))

    def forward(self, mel: Tensor) -> Tensor:
        """Log-mel [B, T, 2·M] → log-probabilities [B, T, classes]."""
        return self.out(self.hidden(mel)).log_softmax(2)


class StudentRecogniser:
    """A student as a ``Recogniser``: PCM float32 [n] at 16 kHz → log-probabilities [n // 320, classes]."""

    def __init__(self, student: Student) -> None:
        self._student = student
        self._bands = torch.from_numpy(mel_filterbank(student.dims.bands))

    def __call__(self, pcm: np.ndarray) -> np.ndarray:
        """One window."""
        return self.together(np.asarray(pcm, np.float32)[None])[0]

    @torch.inference_mode()
    def together(self, windows: np.ndarray) -> np.ndarray:
        """Windows of the same length [B, n] → [B, n // 320, classes], each as if it were alone."""
        student = self._student
        if windows.shape[1] < HOP:
            return np.zeros((len(windows), 0, student.dims.classes), np.float32)
        power = power_spectrum(torch.from_numpy(np.ascontiguousarray(windows, np.float32)))
        scores = student.dims.sharpness * student(log_mel(power, self._bands))
        return scores.log_softmax(2).numpy()


def save_student(path: str | Path, student: Student, card: dict[str, Any] | None = None) -> None:
    """Write it in half precision with its dimensions and a ``card`` (how it came about)."""
    tensors = {name: value.cpu().half().numpy() for name, value in student.state_dict().items()}
    write_tensors(path, tensors, kind=_KIND, metadata={"dims": asdict(student.dims), "card": card or {}})


def student_version(path: str | Path = DEFAULT_STUDENT) -> str:
    """What tells a student from one that was taught anew: the beginning of its weights' checksum.

    Raises CheckpointError.
    """
    return stated_sha256(path)[:8]


def load_student(path: str | Path = DEFAULT_STUDENT) -> Student:
    """The student in a file, on the CPU, in single precision. Raises CheckpointError where the file does not fit."""
    tensors, metadata = read_tensors(path, kind=_KIND)
    student = Student(build(StudentDims, metadata.get("dims"), "recogniser"))
    expected = {name: tuple(value.shape) for name, value in student.state_dict().items()}
    if expected != {name: value.shape for name, value in tensors.items()}:
        raise CheckpointError(f"{path} does not fit its own dimensions; restore it with 'git checkout'.")
    student.load_state_dict({name: torch.from_numpy(value).float() for name, value in tensors.items()})
    return student.eval()
