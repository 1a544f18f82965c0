"""The training loop: AdamW on a schedule, averaged weights, a progress bar; kept on disk by a ``StageJournal``."""

import contextlib
import copy
import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import torch
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from torch import Tensor, nn

from streamingtalker.data.dataset import Batches
from streamingtalker.training.journal import StageJournal
from streamingtalker.training.machines import Machines
from streamingtalker.training.state import Parts, Progress

Objective = Callable[[Any, float], dict[str, Tensor]]  # batch, share of the budget spent → weighted loss terms
Schedule = Callable[[float], float]  # share of the budget spent → factor on the peak learning rate


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
    betas: tuple[float, float] = (0.9, 0.98)
    schedule: Schedule | None = None  # one cycle, where None

    def factor(self, spent: float) -> float:
        """On the peak learning rate."""
        return self.schedule(spent) if self.schedule else one_cycle(spent, self.warm_up)


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

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """While this lasts the module has the averaged weights and is not training."""
        current = copy.deepcopy([parameter.detach() for parameter in self.module.parameters()])
        self.apply()
        self.module.eval()
        yield
        self.module.train()
        with torch.no_grad():
            for parameter, kept in zip(self.module.parameters(), current, strict=True):
                parameter.copy_(kept)


class Stopwatch:
    """Seconds of training, over all runs; stands still while something else is done."""

    def __init__(self, seconds: float) -> None:
        self._began = time.monotonic() - seconds

    def read(self) -> float:
        """Seconds so far."""
        return time.monotonic() - self._began

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """While this lasts no time passes."""
        seconds = self.read()
        yield
        self._began = time.monotonic() - seconds


class Step(nn.Module):
    """An objective as a module, so that several machines can follow its parameters."""

    def __init__(self, module: nn.Module, objective: Objective) -> None:
        super().__init__()
        self.module = module
        self.objective = objective

    def forward(self, batch: Any, spent: float) -> dict[str, Tensor]:  # noqa: ANN401
        """Loss terms of a batch."""
        return self.objective(batch, spent)


def progress_bar(shown: bool = True) -> Bar:
    """Title, bar, time left and the newest losses."""
    return Bar(
        TextColumn("{task.description}"),
        BarColumn(20),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}"),
        disable=not shown,
    )


def fit(
    module: nn.Module,
    groups: list[dict],
    objective: Objective,
    batches: Iterable[Any],
    budget: Budget,
    options: LoopOptions,
    bar: Bar,
    title: str,
    journal: StageJournal | None = None,
) -> int:
    """Train ``module`` in place and leave it with averaged weights; gives the number of steps.

    ``groups`` are AdamW's parameter groups; a group's ``scale`` multiplies its learning rate. ``journal`` writes what
    the training leaves, and says where it goes on. To go on, or in several processes, ``batches`` are ``Batches``.
    """
    journal = journal or StageJournal()
    machines = journal.machines
    optimizer = torch.optim.AdamW(groups, lr=options.rate, weight_decay=options.weight_decay, betas=options.betas)
    average = Average(module, options.average)
    parts = Parts(module, optimizer, average.shadow)
    task = bar.add_task(title, total=1.0, figures="")
    if machines.rank:
        torch.manual_seed(torch.initial_seed() + machines.rank)  # each process draws noise of its own
    progress = journal.begin(parts)
    average.updates = progress.steps
    step = machines.prepare(Step(module, objective))
    watch = Stopwatch(progress.seconds)
    progress.looked = min(progress.looked, budget.spent(progress.steps, watch.read()))  # the budget may have grown
    module.train()
    for batch in _mine(batches, progress.steps, machines):
        spent = machines.agree(budget.spent(progress.steps, watch.read()))
        if spent >= 1:
            break
        terms = _descend(step, batch, spent, optimizer, options, machines)
        average.update()
        _note(progress, terms, watch)
        bar.update(task, completed=spent, figures=_written(progress))
        with watch.stopped():
            journal.after_step(parts, progress, spent, average.applied)
    bar.update(task, completed=1.0)
    journal.end(parts, progress, average.applied)
    average.apply()
    module.eval()
    return progress.steps


def _descend(
    step: nn.Module,
    batch: Any,  # noqa: ANN401 - the objective's own
    spent: float,
    optimizer: torch.optim.Optimizer,
    options: LoopOptions,
    machines: Machines,
) -> dict[str, Tensor]:
    """One step of the optimiser; gives the loss terms of the batch."""
    device = next(step.parameters()).device
    for group in optimizer.param_groups:
        group["lr"] = options.rate * group.get("scale", 1.0) * options.factor(spent)
    with torch.autocast(device.type, torch.bfloat16, enabled=options.bf16):
        terms: dict[str, Tensor] = step(batch.to(device), spent)
    optimizer.zero_grad(set_to_none=True)
    machines.backward(torch.stack(list(terms.values())).sum())
    nn.utils.clip_grad_norm_(step.parameters(), options.clip)
    optimizer.step()
    return terms


def _mine(batches: Iterable[Any], done: int, machines: Machines) -> Iterable[Any]:
    """The batches of this process, without those it has seen."""
    if done or machines.count > 1:
        cast(Batches, batches).begin(done, machines.rank, machines.count)
    return batches


def _note(progress: Progress, terms: dict[str, Tensor], watch: Stopwatch) -> None:
    progress.steps += 1
    progress.seconds = watch.read()
    for name, value in terms.items():
        latest = float(value.detach())
        progress.smooth[name] = 0.95 * progress.smooth.get(name, latest) + 0.05 * latest


def _written(progress: Progress) -> str:
    terms = " · ".join(f"{name} {value:.3f}" for name, value in progress.smooth.items())
    return f"{progress.steps} steps · {terms}"
