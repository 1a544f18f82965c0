"""The training loop: AdamW on a one-cycle schedule, averaged weights, a progress bar."""

import copy
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor, nn

from streamingtalker.data.dataset import Batch

Objective = Callable[[Batch, float], dict[str, Tensor]]  # batch, share of the budget spent → weighted loss terms


@dataclass(frozen=True)
class Budget:
    """How long to train: a number of steps, or seconds. Only steps give the same weights on every machine."""

    steps: int | None = None
    seconds: float | None = None

    def part(self, share: float) -> "Budget":
        """A share of it."""
        return Budget(self.steps and max(round(self.steps * share), 1), self.seconds and self.seconds * share)

    def spent(self, steps: int, seconds: float) -> float:
        """0 … 1."""
        if self.steps is not None:
            return min(steps / self.steps, 1.0)
        assert self.seconds is not None, "a budget has steps or seconds"
        return min(seconds / self.seconds, 1.0)


@dataclass(frozen=True)
class LoopOptions:
    """How to optimise."""

    rate: float = 1e-3  # peak learning rate
    weight_decay: float = 0.01
    warm_up: float = 0.08  # share of the budget
    average: float = 0.995  # decay of the averaged weights
    clip: float = 1.0  # largest gradient norm
    bf16: bool = False


def one_cycle(spent: float, warm_up: float) -> float:
    """Factor on the peak learning rate: up along a cosine, then down to 1 %."""
    if spent < warm_up:
        return 0.05 + 0.95 * 0.5 * (1 - math.cos(math.pi * spent / warm_up))
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (spent - warm_up) / (1 - warm_up)))


class Average:
    """An exponential average of a module's parameters, quick to forget in the beginning."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.module = module
        self.decay = decay
        self.updates = 0
        self.shadow = copy.deepcopy([parameter.detach() for parameter in module.parameters()])

    @torch.no_grad()
    def update(self) -> None:
        """After every step."""
        self.updates += 1
        part = 1 - min(self.decay, (1 + self.updates) / (10 + self.updates))
        torch._foreach_lerp_(self.shadow, [parameter.detach() for parameter in self.module.parameters()], part)

    @torch.no_grad()
    def apply(self) -> None:
        """Make the average the module's weights."""
        for parameter, averaged in zip(self.module.parameters(), self.shadow, strict=True):
            parameter.copy_(averaged)


def progress_bar() -> Progress:
    """Title, bar, time left and the newest losses."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(20),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}"),
    )


def fit(
    module: nn.Module,
    groups: list[dict],
    objective: Objective,
    batches: Iterable[Batch],
    budget: Budget,
    options: LoopOptions,
    bar: Progress,
    title: str,
) -> int:
    """Train ``module`` in place and leave it with averaged weights; gives the number of steps.

    ``groups`` are AdamW's parameter groups; a group's ``scale`` multiplies its learning rate.
    """
    optimizer = torch.optim.AdamW(groups, lr=options.rate, weight_decay=options.weight_decay, betas=(0.9, 0.98))
    average = Average(module, options.average)
    task = bar.add_task(title, total=1.0, figures="")
    smooth: dict[str, float] = {}
    device = next(module.parameters()).device
    began = time.monotonic()
    steps = 0
    module.train()
    for batch in batches:
        spent = budget.spent(steps, time.monotonic() - began)
        if spent >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = options.rate * group.get("scale", 1.0) * one_cycle(spent, options.warm_up)
        with torch.autocast(device.type, torch.bfloat16, enabled=options.bf16):
            terms = objective(batch.to(device), spent)
        optimizer.zero_grad(set_to_none=True)
        torch.stack(list(terms.values())).sum().backward()
        nn.utils.clip_grad_norm_(module.parameters(), options.clip)
        optimizer.step()
        average.update()
        steps += 1
        for name, value in terms.items():
            latest = float(value.detach())
            smooth[name] = 0.95 * smooth.get(name, latest) + 0.05 * latest
        bar.update(task, completed=spent, figures=_written(steps, smooth))
    bar.update(task, completed=1.0)
    average.apply()
    module.eval()
    return steps


def _written(steps: int, terms: dict[str, float]) -> str:
    return f"{steps} steps · " + " · ".join(f"{name} {value:.3f}" for name, value in terms.items())
