"""What all trainings have in common: a folder, stages still to do, a journal of each, what is said of the weights."""

import argparse
import time
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from streamingtalker.checkpoint import save_talker
from streamingtalker.released import ReleasedTalker
from streamingtalker.talker import Talker
from streamingtalker.training.journal import Curves, Examiner, Habits, StageJournal, last_file, open_curves
from streamingtalker.training.machines import Machines
from streamingtalker.training.state import stage_of


class TrainingRun:
    """One folder, one training, as the command line of ``streamingtalker.train`` asks for it."""

    stages: tuple[str, ...]  # of ``all``, in their order

    def __init__(self, options: argparse.Namespace, machines: Machines) -> None:
        self.options = options
        self.machines = machines
        self.out: Path = options.out
        self.steps: dict[str, int] = {}  # that each stage took
        self.began = time.monotonic()

    def stages_to_do(self) -> list[str]:
        """In their order; with ``--resume`` from the one that was broken off."""
        stages = list(self.stages) if self.options.stage == "all" else [self.options.stage]
        last = last_file(self.out)
        reached = stage_of(last).partition("-")[0] if self.options.resume and last.exists() else stages[0]
        return stages[stages.index(reached) :] if reached in stages else stages

    def journal(self, stage: str, examiner: Examiner | None = None) -> StageJournal:
        """Of a stage of this run."""
        habits = Habits(self.options.save_every, self.options.checks)
        return StageJournal(stage, self.out, self.machines, habits, self.options.resume, self.curves, examiner)

    @cached_property
    def curves(self) -> Curves | None:
        """For TensorBoard; of the first process."""
        return open_curves(self.out / "curves", print) if self.machines.first else None

    def save(self, name: str, talker: Talker | ReleasedTalker) -> None:
        """Write ``<name>.safetensors``, in the first process."""
        if self.machines.first:
            save_talker(self.out / f"{name}.safetensors", talker, self.card())
        self.machines.wait()

    def card(self) -> dict[str, Any]:
        """How these weights came about."""
        return {
            "command": " ".join(["python -m streamingtalker.train", *self.options.words]),
            "seed": self.options.seed,
            "steps": self.steps,
            "minutes": round((time.monotonic() - self.began) / 60, 1),
            "torch": torch.__version__,
        }
