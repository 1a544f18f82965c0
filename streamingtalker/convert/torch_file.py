"""Torch checkpoints of other people: tensors are taken out, nothing in them is run."""

import pickle
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from streamingtalker.convert.errors import ConvertError


def read_state(path: Path) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors of a checkpoint's ``state_dict`` by name, float32, and the names of what else is in the file.

    Raises ConvertError for a file that is missing, damaged, wants more than numbers, or whose tensors are not finite.
    """
    content = _load(path)
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not state or not all(isinstance(name, str) for name in state):
        raise ConvertError(f"{path} holds no table of weights; give the checkpoint that was published.")
    size = path.stat().st_size
    others = sorted(str(name) for name in content if name != "state_dict") if state is not content else []
    return {name: _numbers(path, name, value, size) for name, value in state.items()}, others


def _load(path: Path) -> Any:  # noqa: ANN401 - whatever it holds
    if not path.is_file():
        raise ConvertError(f"{path} does not exist; check the path.")
    try:
        packed = zipfile.is_zipfile(path)
        if packed:
            _refuse_bombs(path)
        with warnings.catch_warnings(action="ignore"):  # of torch, about how a file was written
            return torch.load(path, map_location="cpu", weights_only=True, mmap=packed)
    except ConvertError:
        raise
    except pickle.UnpicklingError as error:
        wanted = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f"{wanted[1]}, which no file of weights needs" if wanted else "more than weights, or is damaged"
        raise ConvertError(f"{path} wants {what}; nothing of it was run, get it again.") from error
    except Exception as error:  # a damaged file fails in any way
        what = f"{type(error).__name__}: {str(error).splitlines()[0][:80] if str(error) else ''}"
        raise ConvertError(f"{path} is damaged or no torch file ({what}); get it again.") from error


def _refuse_bombs(path: Path) -> None:
    """Torch stores tensors as they are; what grows when it is unpacked is made to harm."""
    with zipfile.ZipFile(path) as file:
        if sum(entry.file_size for entry in file.infolist()) > path.stat().st_size:
            raise ConvertError(f"{path} grows when it is unpacked, which no file of weights does; get it again.")


def _numbers(path: Path, name: str, value: object, size: int) -> Tensor:
    if not isinstance(value, Tensor) or value.is_sparse or value.is_quantized or value.is_complex():
        raise ConvertError(f"{path}: {name} is no tensor of plain numbers; the file is another network's.")
    if value.numel() * value.element_size() > size:
        raise ConvertError(f"{path}: {name} claims more numbers than the file holds; get it again.")
    if not value.isfinite().all():
        raise ConvertError(f"{path}: {name} holds numbers that are not finite; the file is damaged, get it again.")
    return value.detach().float()
