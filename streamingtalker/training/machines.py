"""One process that trains, or several side by side (``torchrun``), through accelerate.

Every process holds the whole network, takes its own batches, and the gradients are averaged. Without ``torchrun``
nothing but torch is needed.
"""

import os
from typing import Any, cast

import torch
from torch import Tensor, nn

from streamingtalker.errors import UserError


class MachineError(UserError):
    """A way of training that this machine cannot serve."""


class Machines:
    """A single process: every method does the least."""

    rank, count = 0, 1

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes and prints."""
        return self.rank == 0

    def prepare(self, module: nn.Module) -> nn.Module:
        """The module whose ``forward`` may be followed by ``backward``."""
        return module

    def backward(self, loss: Tensor) -> None:
        """Gradients of ``loss``."""
        loss.backward()

    def gather(self, tensor: Tensor) -> Tensor:
        """The same tensor of every process, [count, …]."""
        return tensor[None]

    def same(self, tensor: Tensor) -> Tensor:
        """The first process' value, for everybody."""
        return tensor

    def agree(self, value: float) -> float:
        """The same of a number."""
        return value

    def wait(self) -> None:
        """Until everybody is here."""


class Together(Machines):
    """Several processes, or one, behind an ``accelerate.Accelerator``."""

    def __init__(self, accelerator: Any) -> None:  # noqa: ANN401 - the library is optional
        self._accelerator = accelerator
        self.rank = int(accelerator.process_index)
        self.count = int(accelerator.num_processes)

    @property
    def device(self) -> str:
        """This process' own."""
        return str(self._accelerator.device)

    def prepare(self, module: nn.Module) -> nn.Module:
        """See Machines."""
        return cast(nn.Module, self._accelerator.prepare(module))

    def backward(self, loss: Tensor) -> None:
        """See Machines; the gradients are averaged over the processes."""
        self._accelerator.backward(loss)

    def gather(self, tensor: Tensor) -> Tensor:
        """See Machines."""
        on_device = tensor.to(self._accelerator.device)
        return cast(Tensor, self._accelerator.gather(on_device[None])).to(tensor.device)

    def same(self, tensor: Tensor) -> Tensor:
        """See Machines."""
        from accelerate.utils import broadcast

        return cast(Tensor, broadcast(tensor))

    def agree(self, value: float) -> float:
        """See Machines."""
        return float(self.same(torch.tensor(value, dtype=torch.float64, device=self._accelerator.device)))

    def wait(self) -> None:
        """See Machines."""
        self._accelerator.wait_for_everyone()


ALONE = Machines()


def open_machines(device: str) -> tuple[Machines, str]:
    """The processes ``torchrun`` has started, and this one's device; a single process without ``torchrun``.

    Raises MachineError where accelerate is missing or the device is.
    """
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise MachineError("There is no CUDA graphics card here; train with --device cpu.")
    if "LOCAL_RANK" not in os.environ:
        return ALONE, device
    try:
        from accelerate import Accelerator, DistributedDataParallelKwargs
    except ImportError as error:
        raise MachineError("torchrun needs accelerate; install it with: pip install accelerate.") from error
    kwargs = DistributedDataParallelKwargs(find_unused_parameters=True)  # a codebook rests until stage 1 quantises
    machines = Together(Accelerator(cpu=device == "cpu", kwargs_handlers=[kwargs]))
    return machines, machines.device
