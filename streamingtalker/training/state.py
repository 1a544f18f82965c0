"""The whole state of a training on disk, so that it goes on as if it had never stopped.

Network, optimiser, averaged weights, random numbers of every process, and how many batches have been seen.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from streamingtalker.tensor_file import CheckpointError, below, read_tensors, write_tensors
from streamingtalker.training.machines import Machines

KIND = "training"


@dataclass
class Progress:
    """How far a stage has come."""

    steps: int = 0
    seconds: float = 0.0  # spent training, over all runs
    best: float | None = None  # smallest validation LVE so far
    looked: float = 0.0  # share of the budget that was spent at the last look at validation clips
    smooth: dict[str, float] = field(default_factory=dict)  # newest loss terms, smoothed


@dataclass(frozen=True)
class Parts:
    """What a stage consists of."""

    module: nn.Module
    optimizer: torch.optim.Optimizer
    average: list[Tensor]  # averaged weights


def save_state(path: Path, stage: str, parts: Parts, progress: Progress, machines: Machines) -> None:
    """Write everything; whole or not at all. Every process must call it, the first one writes."""
    chances = machines.gather(random_state())
    if not machines.first:
        return
    tensors = {f"module/{name}": value for name, value in parts.module.state_dict().items()}
    tensors |= {f"average/{index}": value for index, value in enumerate(parts.average)}
    for index, values in parts.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{index}/{name}": torch.as_tensor(value) for name, value in values.items()}
    tensors["random"] = chances
    arrays = {name: value.detach().cpu().numpy() for name, value in tensors.items()}
    write_tensors(path, arrays, kind=KIND, metadata={"stage": stage, "progress": vars(progress)})


def stage_of(path: Path) -> str:
    """The stage that was saved in ``path``. Raises CheckpointError."""
    return str(read_tensors(path, kind=KIND)[1]["stage"])


def load_state(path: Path, stage: str, parts: Parts, machines: Machines) -> Progress:
    """Put everything back. Raises CheckpointError where the file is damaged or of another training."""
    tensors, metadata = read_tensors(path, kind=KIND)
    if metadata["stage"] != stage:
        raise CheckpointError(f"{path} is of stage {metadata['stage']!r}, not {stage!r}; leave out --resume.")
    try:
        _restore(parts, {name: torch.from_numpy(value) for name, value in tensors.items()}, machines)
    except (KeyError, IndexError, RuntimeError, ValueError) as error:
        raise CheckpointError(f"{path} is of another training ({str(error)[:100]}); leave out --resume.") from error
    return Progress(**metadata["progress"])


def _restore(parts: Parts, tensors: dict[str, Tensor], machines: Machines) -> None:
    chances = tensors.pop("random")
    if len(chances) != machines.count:
        raise ValueError(f"it ran in {len(chances)} processes, this is {machines.count}")
    parts.module.load_state_dict(below(tensors, "module/"))
    for index, averaged in enumerate(parts.average):
        averaged.copy_(tensors[f"average/{index}"])
    state: dict[int, dict[str, Any]] = {}
    for name, value in below(tensors, "optimizer/").items():
        index_text, key = name.split("/")
        state.setdefault(int(index_text), {})[key] = value
    groups = parts.optimizer.state_dict()["param_groups"]
    parts.optimizer.load_state_dict({"state": state, "param_groups": groups})
    set_random_state(chances[machines.rank])


def random_state() -> Tensor:
    """The state of this process' random numbers as bytes, uint8 [n]: torch's, and the graphics card's."""
    states = [torch.get_rng_state()]
    if torch.cuda.is_available():
        states.append(torch.cuda.get_rng_state())
    return torch.cat(states)


def set_random_state(state: Tensor) -> None:
    """As it was when ``random_state`` gave ``state``."""
    size = len(torch.get_rng_state())
    torch.set_rng_state(state[:size])
    if torch.cuda.is_available() and len(state) > size:
        torch.cuda.set_rng_state(state[size:])
