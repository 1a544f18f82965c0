"""One training of the published network: ``--preset vocaset`` or ``biwi`` of ``streamingtalker.train``."""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import Progress
from torch import Tensor

from streamingtalker.checkpoint import load_talker, save_talker
from streamingtalker.errors import UserError
from streamingtalker.evaluation.sequences import Target, TestBed
from streamingtalker.generate import save_motion
from streamingtalker.released import ReleasedDims, ReleasedTalker
from streamingtalker.tensor_file import CheckpointError
from streamingtalker.training.codebook import CodeKeeper
from streamingtalker.training.examiner import SHOWN, figures, mean_figures
from streamingtalker.training.loop import Budget, fit
from streamingtalker.training.machines import Machines
from streamingtalker.training.published import PRESETS, StageOne, StageTwo, choose_learning, hear
from streamingtalker.training.run import TrainingRun
from streamingtalker.training.takes import Take, TakeBatch, load_take, take_batches
from streamingtalker.training.variants import merged

STAGES = "vqvae", "talker"
VALIDATION_TAKES = 6


class PresetError(UserError):
    """A preset that does not fit the corpus."""


class PublishedRun(TrainingRun):
    """One corpus and the published network."""

    stages = STAGES

    def __init__(self, options: argparse.Namespace, machines: Machines) -> None:
        """Raises UserError."""
        super().__init__(options, machines)
        preset = PRESETS[options.preset]
        halve_every = preset.halve_every if options.halve_every is None else options.halve_every
        self.preset = replace(preset, rate=options.rate or preset.rate, halve_every=halve_every)
        self.bed = TestBed(options.data)
        if self.bed.corpus.fps != self.preset.dims.fps:
            raise PresetError(
                f"{options.data} has {self.bed.corpus.fps} frames a second, preset {options.preset} is for "
                f"{self.preset.dims.fps}; choose the other preset."
            )
        self.train = self.bed.targets("train")

    @property
    def dims(self) -> ReleasedDims:
        """The preset's, with the corpus' face and speakers, and what ``--dims`` says otherwise."""
        document = self.preset.dims.to_json()
        document["motion"]["vertices"] = self.bed.topology.vertex_count
        document["styles"] = len(self.bed.corpus.styles)
        return ReleasedDims.from_json(merged(document, self.options.dims))

    def go(self, bar: Progress) -> None:
        """Do what the command line asks for."""
        todo = self.stages_to_do()
        if "vqvae" in todo:
            self.vqvae(bar)
        if "talker" in todo:
            self.talker(bar)

    def vqvae(self, bar: Progress) -> None:
        """Stage 1; writes ``vqvae.safetensors``."""
        torch.manual_seed(self.options.seed)
        talker = ReleasedTalker(self.dims, self.bed.topology).to(self.options.device)
        keeper = CodeKeeper(talker.vqvae.quantiser, self.machines)
        both = torch.nn.ModuleDict({"vqvae": talker.vqvae, "keeper": keeper})
        self._fit("vqvae", talker, both, StageOne(talker, keeper=keeper), bar)
        with torch.no_grad():
            talker.start.copy_(talker.vqvae.still())
        self.save("vqvae", talker)

    def talker(self, bar: Progress) -> None:
        """Stage 2; writes ``talker.safetensors``."""
        talker = load_talker(self.out / "vqvae.safetensors", self.options.device)
        if not isinstance(talker, ReleasedTalker):
            raise CheckpointError(f"{self.out / 'vqvae.safetensors'} is of another preset; choose another --out.")
        if self.options.dims and self.dims != talker.dims:
            raise CheckpointError(f"{self.out / 'vqvae.safetensors'} has not the --dims asked for; leave --dims out.")
        torch.manual_seed(self.options.seed)
        self._begin_hubert(talker)
        self._fit("talker", talker, talker, StageTwo(talker, self._history(talker)), bar)
        self.save("talker", talker)

    def _history(self, talker: ReleasedTalker) -> int:
        """h, frames of the windows of stage 2; 0: whole sequences."""
        return talker.dims.predictor.history if self.options.history is None else int(self.options.history)

    def write_figures(self) -> None:
        """Nothing beside the weights: ``streamingtalker.evaluate`` scores them."""

    def _fit(self, stage: str, talker: ReleasedTalker, module: torch.nn.Module, objective: Any, bar: Progress) -> None:  # noqa: ANN401
        options = self.options
        groups = choose_learning(talker, stage, self.preset)
        batches = take_batches(self.bed, self.train, talker.dims.styles, options.batch, options.seed)
        journal = self.journal(stage, self._examiner(stage, talker))
        loop = self.preset.loop(stage, options.bf16)
        self.steps[stage] = fit(module, groups, objective, batches, self._budget(), loop, bar, stage, journal)
        talker.requires_grad_(True)

    def _budget(self) -> Budget:
        """The preset's epochs, or the steps or minutes of the command line, half of them for each of two stages."""
        options = self.options
        share = 0.5 if options.stage == "all" else 1.0
        if options.steps:
            return Budget(options.steps).part(share)
        if options.minutes:
            return Budget(seconds=60 * options.minutes).part(share)
        epochs = options.epochs or self.preset.epochs
        return Budget(max(epochs * len(self.train) // (options.batch * self.machines.count), 1))

    def _begin_hubert(self, talker: ReleasedTalker) -> None:
        """HuBERT's pretrained weights, from a folder in the format of transformers."""
        assert talker.hearing is not None, "the presets have a HuBERT"
        if self.options.hubert is None:
            print("HuBERT begins untrained; give --hubert DIR with hubert-base-ls960 to begin as the paper does.")
            return
        from transformers import HubertModel

        try:
            pretrained = HubertModel.from_pretrained(self.options.hubert, local_files_only=True)
            talker.hearing.hubert.load_state_dict(pretrained.state_dict())
        except (OSError, RuntimeError, ValueError) as error:
            raise CheckpointError(
                f"{self.options.hubert} holds no HuBERT that fits ({str(error)[:100]}); give the folder of "
                "hubert-base-ls960."
            ) from error

    def _examiner(self, stage: str, talker: ReleasedTalker) -> "TakeExaminer | None":
        known = {clip.split for clip in self.bed.corpus.clips}
        if "val" not in known:
            return None
        targets = self.bed.targets("val", VALIDATION_TAKES)
        return TakeExaminer(talker, self.bed, targets, stage, talker.dims.predictor.history)


@dataclass(frozen=True)
class TakeExaminer:
    """An ``Examiner`` of the published network: validation sequences rebuilt (stage 1) or drawn (stage 2).

    A speaker the network does not know is asked for in the first style.
    """

    talker: ReleasedTalker
    bed: TestBed
    targets: list[Target]
    stage: str
    history: int

    def examine(self) -> dict[str, float]:
        """See Examiner: means over sequences."""
        return mean_figures([self._figures(target) for target in self.targets])

    def save(self, path: Path) -> None:
        """See Examiner."""
        with torch.no_grad():
            self.talker.start.copy_(self.talker.vqvae.still())
        save_talker(path, self.talker, {"best_on": [target.name for target in self.targets]})

    def show(self, path: Path) -> None:
        """See Examiner."""
        save_motion(path, self.talker, self._guess(load_take(self.bed, self.targets[0]))[:SHOWN])

    @torch.no_grad()
    def _guess(self, take: Take) -> np.ndarray:
        """Offsets [T, V, 3]."""
        talker = self.talker
        batch = TakeBatch.of([take], talker.dims.styles).to(talker.start.device)
        latents = talker.vqvae.encode(batch.offsets) if self.stage == "vqvae" else self._draw(batch)
        return talker.vqvae.decode(latents)[0].unflatten(1, (-1, 3)).cpu().numpy()

    def _draw(self, batch: TakeBatch) -> Tensor:
        talker = self.talker
        frames, latent = batch.mask.shape[1], talker.dims.motion.latent
        tokens = sum(min(i + 1, self.history) for i in range(frames))
        noise = torch.randn(tokens * latent, generator=torch.Generator().manual_seed(0)).to(talker.start)
        start = talker.vqvae.still()[None, None]
        rule = talker.dims.sampling.rule
        return talker.sample_fixed(start, hear(talker, batch), batch.identity, self.history, noise, rule)

    def _figures(self, target: Target) -> dict[str, float]:
        face, take = self.talker.topology, load_take(self.bed, target)
        guess, true = self._guess(take), take.offsets.unflatten(1, (-1, 3)).numpy()
        return figures(guess, true, target.templates(0, len(true)), face)
