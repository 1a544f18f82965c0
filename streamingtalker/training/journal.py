"""What a training leaves while it runs: ``last`` to go on from, ``best`` on validation clips, curves, a clip to see.

In the folder: ``last.safetensors`` (everything, see ``state``), ``<stage>-best.safetensors`` (weights that run),
``curves/`` for TensorBoard, ``validation/<stage>-<steps>.npz`` (motion, as ``streamingtalker.generate`` writes it).
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from streamingtalker.training.machines import ALONE, Machines
from streamingtalker.training.state import (
    Parts,
    Progress,
    load_state,
    random_state,
    save_state,
    set_random_state,
    stage_of,
)

CURVE_EVERY = 10  # steps between points of the losses' curves


class Examiner(Protocol):
    """How a stage is looked at while it trains. Called with averaged weights in place, in the first process."""

    def examine(self) -> dict[str, float]:
        """Figures on validation clips, ``lve`` among them, in the square of the vertices' unit."""

    def save(self, path: Path) -> None:
        """Write the weights as they are."""

    def show(self, path: Path) -> None:
        """Write a validation clip as it looks now; ``path`` ends in .npz."""


@dataclass(frozen=True)
class Habits:
    """When a journal writes."""

    save_every: int = 500  # steps between writings of ``last``, which is written after each examination, too
    checks: int = 10  # examinations in a stage, the last at its end; 0 for none


class Curves(Protocol):
    """Where figures over time go. ``torch.utils.tensorboard.SummaryWriter`` is one."""

    def add_scalar(self, tag: str, value: float, step: int) -> Any:  # noqa: ANN401
        """One point."""


class StageJournal:
    """One stage's journal. Without a folder it writes nothing."""

    def __init__(
        self,
        stage: str = "",
        folder: Path | None = None,
        machines: Machines = ALONE,
        habits: Habits = Habits(),
        resume: bool = False,
        curves: Curves | None = None,
        examiner: Examiner | None = None,
    ) -> None:
        self.stage = stage
        self.machines = machines
        self._folder = folder
        self._habits = habits
        self._resume = resume
        self._curves = curves
        self._examiner = examiner

    def begin(self, parts: Parts) -> Progress:
        """How far the stage is: at its beginning, or where ``last`` left it. Raises CheckpointError."""
        last = last_file(self._folder) if self._folder else None
        if not (self._resume and last and last.exists() and stage_of(last) == self.stage):
            return Progress()
        return load_state(last, self.stage, parts, self.machines)

    def after_step(self, parts: Parts, progress: Progress, spent: float, averaged: Callable[[], Any]) -> None:
        """Write what is due. ``averaged`` gives a context in which the network has its averaged weights."""
        if self._curves and progress.steps % CURVE_EVERY == 0:
            self._draw({f"loss/{name}": value for name, value in progress.smooth.items()}, progress.steps)
        examined = self._due(progress, spent) and self.check(progress, spent, averaged)
        if examined or progress.steps % self._habits.save_every == 0:  # ``best`` must not be ahead of ``last``
            self.save(parts, progress)

    def end(self, parts: Parts, progress: Progress, averaged: Callable[[], Any]) -> None:
        """The stage is over."""
        if self._due(progress, 1.0):
            self.check(progress, 1.0, averaged)
        self.save(parts, progress)

    def save(self, parts: Parts, progress: Progress) -> None:
        """Write ``last``."""
        if self._folder:
            save_state(last_file(self._folder), self.stage, parts, progress, self.machines)

    def check(self, progress: Progress, spent: float, averaged: Callable[[], Any]) -> bool:
        """Examine the averaged weights; keep them where they are the best so far. Leaves the random numbers alone.

        Whether there is an examiner; the same in every process.
        """
        progress.looked = spent
        if self._examiner and self._folder and self.machines.first:
            chances = random_state()
            with averaged():
                figures = self._examiner.examine()
                self._draw({f"validation/{name}": value for name, value in figures.items()}, progress.steps)
                if progress.best is None or figures["lve"] < progress.best:
                    progress.best = figures["lve"]
                    self._examiner.save(self._folder / f"{self.stage}-best.safetensors")
                shown = self._folder / "validation" / f"{self.stage}-{progress.steps:06d}.npz"
                self._examiner.show(shown)
            set_random_state(chances)
        self.machines.wait()
        return self._examiner is not None

    def _due(self, progress: Progress, spent: float) -> bool:
        return int(spent * self._habits.checks) > int(progress.looked * self._habits.checks)

    def _draw(self, values: dict[str, float], step: int) -> None:
        if self._curves:
            for name, value in values.items():
                self._curves.add_scalar(f"{self.stage}/{name}", value, step)


def last_file(folder: Path) -> Path:
    """Where a training's state is kept."""
    return folder / "last.safetensors"


def open_curves(folder: Path, tell: Callable[[str], None]) -> Curves | None:
    """Curves for TensorBoard; where that is not installed, ``tell`` hears of it and there are none."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        tell("TensorBoard is not installed, so no curves are written; install it with: pip install tensorboard.")
        return None
    return SummaryWriter(str(folder), flush_secs=10)
