"""Training: ``python -m streamingtalker.train vqvae|encoder|talker|all|judge --data corpus --out runs/default``.

``vqvae`` is stage 1; ``encoder`` lets the audio encoder learn to give the motion directly, which is the regression
baseline; ``talker`` is stage 2, from what the others left in the same folder; ``all`` is one after another; ``judge``
only judges finished weights on the test sentences. The folder gets ``vqvae.safetensors``, ``regression.safetensors``,
``talker.safetensors`` (``talker-linear.safetensors`` with the paper's head) and ``figures.json``.
"""

import argparse
import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import Progress

from streamingtalker.checkpoint import load_own_talker, save_talker
from streamingtalker.config import AudioDims, MotionDims, TalkerDims
from streamingtalker.data.dataset import Corpus, CorpusError, Example, extract_features, load_example
from streamingtalker.errors import UserError
from streamingtalker.talker import Talker
from streamingtalker.topology import DEFAULT_AVATAR, Rig, load_rig
from streamingtalker.training.baseline import load_regression, save_regression
from streamingtalker.training.judge import (
    Figures,
    Predict,
    judge,
    reconstruction,
    regression_predicts,
    talker_predicts,
    without_posteriors,
)
from streamingtalker.training.loop import Budget, LoopOptions, progress_bar
from streamingtalker.training.stages import Recipe, train_regression, train_talker, train_vqvae

LIPS, LIDS = 9.0, 3.0  # importance of lip and lid vertices in the motion basis
SHARES = {"vqvae": 0.12, "encoder": 0.26, "talker": 0.62}  # of the time of ``all``
BASIS_FRAMES = 1200
UPPER = 12, 3  # coefficients and codes of brows and lids


class Run:
    """One corpus, one folder, one training."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.out: Path = options.out
        self.corpus = Corpus(options.data)
        self.rig = load_rig(options.avatar)
        self.recipe = Recipe()
        self.loop = LoopOptions(bf16=options.bf16)
        total = None if options.steps else 60 * options.minutes
        self.budget = Budget(options.steps, total)
        self.figures: dict[str, Figures] = {}
        self.steps: dict[str, int] = {}
        self.began = time.monotonic()

    def go(self, bar: Progress) -> None:
        """Do what the command line asks for."""
        stage, device = self.options.stage, self.options.device
        if stage == "judge":
            return self.judge(load_own_talker(self.options.checkpoint or self.out / "talker.safetensors", device), bar)
        made = self.out / "vqvae.safetensors"
        talker = self.vqvae(bar) if stage in ("vqvae", "all") else load_own_talker(made, device)
        if stage in ("encoder", "all"):
            self.encoder(talker, bar)
        if stage in ("talker", "all"):
            self.talker(with_head(talker, self.options.head, self.options.seed), bar)

    def vqvae(self, bar: Progress) -> Talker:
        """Stage 1; writes ``vqvae.safetensors``."""
        talker = new_talker(self.corpus, self.rig, self.options.seed).to(self.options.device)
        train = self.examples(talker, "train")
        budget = self._part("vqvae")
        self.steps["vqvae"] = train_vqvae(talker, train, budget, self.loop, self.recipe, self.options.seed, bar)
        self._judge("reconstruction", reconstruction(talker), talker, bar)
        save_talker(self.out / "vqvae.safetensors", talker, self._card())
        return talker

    def encoder(self, talker: Talker, bar: Progress) -> None:
        """The audio encoder and with it the regression baseline; writes ``regression.safetensors``."""
        train, budget = self.examples(talker, "train"), self._part("encoder")
        regression = train_regression(talker, train, budget, self.loop, self.recipe, self.options.seed, bar)
        self._judge("regression", regression_predicts(regression, talker), talker, bar)
        save_regression(self.out / "regression.safetensors", regression, talker, self._card())

    def talker(self, talker: Talker, bar: Progress) -> None:
        """Stage 2; writes ``talker.safetensors``."""
        regression, _, _ = load_regression(self.out / "regression.safetensors")
        talker.audio.load_state_dict(regression.audio.state_dict())
        phones = regression.phones.to(self.options.device)
        train, budget, seed = self.examples(talker, "train"), self._part("talker"), self.options.seed
        self.steps["talker"] = train_talker(talker, phones, train, budget, self.loop, self.recipe, seed, bar)
        self.judge(talker, bar)
        name = "talker" if self.options.head == "mlp" else f"talker-{self.options.head}"
        save_talker(self.out / f"{name}.safetensors", talker, self._card())

    def judge(self, talker: Talker, bar: Progress) -> None:
        """The figures of a finished talker."""
        self._judge("talker", talker_predicts(talker), talker, bar)

    def examples(self, talker: Talker, split: str) -> list[Example]:
        """The clips of a split, their motion in the talker's basis."""
        clips = self.corpus.split(split)
        if not clips:
            raise CorpusError(f"{self.corpus.path} has no {split} clips; make the corpus again.")
        dims = talker.dims.audio
        return [load_example(self.corpus, clip, self.rig, talker.vqvae.basis, dims) for clip in clips]

    def extract(self, bar: Progress) -> None:
        """Make the audio features that are missing."""
        task = bar.add_task("audio features", total=len(self.corpus.clips), figures="")
        dims = TalkerDims(MotionDims(self.rig.topology.vertex_count)).audio
        extract_features(self.corpus, dims, self.options.jobs, lambda: bar.advance(task))

    def _part(self, stage: str) -> Budget:
        return self.budget.part(SHARES[stage] if self.options.stage == "all" else 1.0)

    def _judge(self, name: str, predict: Predict, talker: Talker, bar: Progress) -> None:
        """Judge on the test sentences: of voices heard in training, of new voices, and these without recogniser."""
        known = {clip.voice for clip in self.corpus.split("train")}
        held = self.examples(talker, "test")
        new = [example for example in held if example.clip.voice not in known]
        groups = {
            "seen voices": [example for example in held if example.clip.voice in known],
            "new voices": new,
            "new voices, no recogniser": without_posteriors(new, talker.dims.audio.mel_bands),
        }
        for kind, examples in groups.items():
            self.figures[f"{name}, {kind}"] = judge(predict, examples, talker)
            bar.console.print(f"{name}, {kind}: {self.figures[f'{name}, {kind}']}")

    def _card(self) -> dict[str, Any]:
        """How these weights came about."""
        seconds = sum(clip.seconds for clip in self.corpus.split("train"))
        return {
            "command": " ".join(["python -m streamingtalker.train", *self.options.words]),
            "seed": self.options.seed,
            "training_minutes_of_speech": round(seconds / 60, 1),
            "steps": self.steps,
            "minutes": round((time.monotonic() - self.began) / 60, 1),
            "torch": torch.__version__,
            "figures": {name: dataclasses.asdict(figures) for name, figures in self.figures.items()},
        }

    def write_figures(self) -> None:
        """``figures.json`` beside the weights."""
        (self.out / "figures.json").write_text(json.dumps(self._card(), indent=1) + "\n")


def new_talker(corpus: Corpus, rig: Rig, seed: int) -> Talker:
    """An untrained default talker whose motion basis fits the corpus."""
    torch.manual_seed(seed)
    upper = upper_vertices(rig)
    basis, components = UPPER if upper.any() else (0, 0)
    dims = TalkerDims(
        MotionDims(rig.topology.vertex_count, upper_basis=basis, upper_components=components),
        fps=corpus.fps,
        audio=AudioDims(width=192),
        styles=len(corpus.styles),
        moods=corpus.moods,
    )
    talker = Talker(dims, rig.topology)
    talker.vqvae.basis.fit(sample_offsets(corpus, rig, BASIS_FRAMES, seed), vertex_importance(rig), upper)
    return talker


def with_head(talker: Talker, kind: str, seed: int) -> Talker:
    """An untrained talker with the VQ-VAE of ``talker`` and a diffusion head of that ``kind``."""
    torch.manual_seed(seed)
    dims = dataclasses.replace(talker.dims, head=dataclasses.replace(talker.dims.head, kind=kind))
    fresh = Talker(dims, talker.topology).to(talker.start.device)
    fresh.vqvae.load_state_dict(talker.vqvae.state_dict())
    fresh.start.copy_(talker.start)
    return fresh


def upper_vertices(rig: Rig) -> np.ndarray:
    """bool [V]: the vertices that shapes of brows and eyes move more than any other shape does."""
    reach = np.linalg.norm(rig.shapes, axis=2)  # [S, V]
    above = np.array([name.startswith(("brow", "eye")) for name in rig.shape_names])
    if not above.any():
        return np.zeros(rig.topology.vertex_count, bool)
    return reach[above].max(0) > np.maximum(reach[~above].max(0), 1e-4)


def vertex_importance(rig: Rig) -> np.ndarray:
    """[V] weights of the motion basis: lips first, then lids, then the rest."""
    weights = np.ones(rig.topology.vertex_count)
    blinks = [index for index, name in enumerate(rig.shape_names) if name.startswith("eyeBlink")]
    if blinks:
        weights[np.linalg.norm(rig.shapes[blinks], axis=2).max(0) > 0.001] = LIDS
    weights[rig.topology.lips] = LIPS
    return weights


def sample_offsets(corpus: Corpus, rig: Rig, frames: int, seed: int) -> np.ndarray:
    """Offsets [frames, V, 3] of frames drawn evenly over the training clips."""
    random = np.random.default_rng(seed)
    clips = corpus.split("train")
    chosen = [clips[index] for index in random.integers(0, len(clips), frames)]
    return np.concatenate([_one_frame(corpus, clip, rig, random) for clip in chosen])


def _one_frame(corpus: Corpus, clip: Any, rig: Rig, random: np.random.Generator) -> np.ndarray:  # noqa: ANN401
    weights = corpus.weights(clip)
    if weights is None:
        vertices = corpus.vertices(clip)
        return vertices[random.integers(len(vertices))][None] - rig.topology.template
    return rig.offsets(weights[random.integers(len(weights))][None])


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m streamingtalker.train", description=__doc__)
    parser.add_argument("stage", choices=["vqvae", "encoder", "talker", "all", "judge"])
    parser.add_argument("--preset", choices=["default"], default="default")
    parser.add_argument("--data", type=Path, default=Path("corpus"), metavar="DIR")
    parser.add_argument("--avatar", type=Path, default=DEFAULT_AVATAR, metavar="FILE", help="whose mesh to train for")
    parser.add_argument("--out", type=Path, default=Path("runs/default"), metavar="DIR")
    parser.add_argument("--minutes", type=float, default=20, help="of training; what comes out depends on the machine")
    parser.add_argument("--steps", type=int, help="of training, over all stages, instead of minutes")
    parser.add_argument("--head", choices=["mlp", "linear"], default="mlp", help="diffusion head; linear: the paper's")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--threads", type=int, default=torch.get_num_threads(), help="of the optimiser; 1 where other programs run"
    )
    parser.add_argument("--jobs", type=int, default=2, help="processes that make audio features")
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="weights to judge, if not those in --out")
    parser.add_argument("--device", default="cpu", help="where the optimiser runs: cpu or cuda")
    parser.add_argument("--bf16", action="store_true", help="compute in bfloat16 where that is safe")
    options = parser.parse_args(argv)
    options.words = argv
    return options


def main(argv: list[str] | None = None) -> int:
    """The command line. Gives the exit status."""
    options = _arguments(sys.argv[1:] if argv is None else argv)
    torch.set_num_threads(options.threads)
    try:
        with progress_bar() as bar:
            run = Run(options)
            run.out.mkdir(parents=True, exist_ok=True)
            run.extract(bar)
            run.go(bar)
            run.write_figures()
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"Written to {options.out}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
