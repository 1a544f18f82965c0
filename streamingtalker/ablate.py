"""The paper's Table 3 on a corpus: ``python -m streamingtalker.ablate --data corpus --out runs/ablations``.

For each seed one VQ-VAE, one plain VAE and one audio encoder are trained, and from them every contender's stage 2: our
network, six variants of it without a part, and two baselines from the same layers. Then the table is printed: errors
on the test sentences, and the latency of the first frame by the length of the sound. What is finished is kept in
``results.json``: the same command goes on where it was broken off, or adds seeds; other settings want another folder.
"""

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path

import torch
from rich.progress import Progress

from streamingtalker.audio.encoder import build_encoder
from streamingtalker.checkpoint import load_own_talker, save_talker
from streamingtalker.config import AudioDims
from streamingtalker.data.dataset import Corpus, Example, extract_features, load_example
from streamingtalker.errors import UserError, command_line
from streamingtalker.talker import Talker
from streamingtalker.topology import DEFAULT_AVATAR
from streamingtalker.training.baseline import load_regression, save_regression
from streamingtalker.training.beginning import new_talker
from streamingtalker.training.comparison import Row, first_frames, markdown, score
from streamingtalker.training.full_sequence import FullSequence, train_full_sequence
from streamingtalker.training.judge import Predict, inputs, regression_predicts, talker_predicts
from streamingtalker.training.loop import Budget, LoopOptions, progress_bar
from streamingtalker.training.stages import Recipe, Regression, StageRun, train_regression, train_talker, train_vqvae
from streamingtalker.training.variants import BASELINES, FULL_SEQUENCE, VARIANTS
from streamingtalker.vqvae import MotionBasis

OURS = "ours"
CONTENDERS: dict[str, str | None] = {OURS: None, **{name: name for name in (*VARIANTS, *BASELINES)}}
REFERENCES = "still face", "audio encoder alone"
LENGTHS = 3, 9, 15, 21, 27  # seconds of sound, as in the paper's Figure 3


class SettingsError(UserError):
    """A folder whose results were made otherwise than is asked for now."""


@dataclass(frozen=True)
class Settings:
    """What all results in one folder have in common."""

    data: str
    avatar: str
    steps: int
    frames: int
    clips: int
    bf16: bool

    @classmethod
    def of(cls, options: argparse.Namespace) -> "Settings":
        """What the command line asks for."""
        return cls(str(options.data), str(options.avatar), options.steps, options.frames, options.clips, options.bf16)


class Ablation:
    """One corpus, one folder, every contender."""

    def __init__(self, options: argparse.Namespace, bar: Progress) -> None:
        """Raises UserError."""
        self.options = options
        self.bar = bar
        self.out: Path = options.out
        self.corpus = Corpus(options.data)
        self.rig = self.corpus.rig(options.avatar)
        self.recipe = Recipe(frames=options.frames)
        self.budget = Budget(steps=options.steps)
        self.loop = LoopOptions(bf16=options.bf16)
        self._loaded: dict[str, list[Example]] = {}
        self.settings = Settings.of(options)
        self.rows = read_rows(self.out / "results.json", self.settings)

    def go(self) -> None:
        """Train and score everything that is not finished."""
        if not (self.out / "results.json").exists():
            self.write()  # before anything is trained: files of stages do not say how they were made
        task = self.bar.add_task("audio features", total=len(self.corpus.clips), figures="")
        extract_features(self.corpus, AudioDims(), self.options.jobs, lambda: self.bar.advance(task))
        for seed in range(self.options.seeds):
            self._seed(seed)

    def _seed(self, seed: int) -> None:
        wanted = [name for name in (*REFERENCES, *CONTENDERS, FULL_SEQUENCE) if self._missing(name, seed)]
        if not wanted:
            return
        heard = self._encoder(seed)
        ours = self._stage_one("quantised", None, seed)
        for name in wanted:
            predict, seconds = self._contender(name, seed, heard, ours)
            examples = self._examples("test")
            figures = score(predict, examples, self.corpus, self.rig, ours)
            self.rows.append(Row(name, seed, self.options.steps, seconds, len(examples), **figures))
            self.bar.console.print(f"{name}, seed {seed}: {self.rows[-1]}")
            self.write()

    def _contender(self, name: str, seed: int, heard: Regression, ours: Talker) -> tuple[Predict, float]:
        """What a contender predicts, and the seconds that the training of its stage 2 took."""
        if name == "still face":
            basis, shape = ours.vqvae.basis, self._shape
            return lambda example: basis.coefficients(torch.zeros(len(example.coefficients), *shape)), 0.0
        if name == "audio encoder alone":
            return regression_predicts(heard, ours), 0.0
        if name == FULL_SEQUENCE:
            network, seconds = self._full_sequence(ours, seed, heard)
            return lambda example: network.draw(*inputs(example, ours), seed), seconds
        talker, seconds = self._talker(name, seed, heard)
        return talker_predicts(talker, seed), seconds

    def _talker(self, name: str, seed: int, heard: Regression) -> tuple[Talker, float]:
        """Stage 2 of our network, a variant, or the autoregressive baseline, and the seconds it took."""
        variant = CONTENDERS[name]
        talker = self._new(seed, variant)
        before = self._stage_one(talker.dims.motion.bottleneck, variant, seed)
        talker.vqvae.load_state_dict(before.vqvae.state_dict())
        talker.start.copy_(before.start)
        talker.audio.load_state_dict(heard.audio.state_dict())
        phones = torch.nn.Linear(talker.dims.audio.width, heard.phones.out_features)
        phones.load_state_dict(heard.phones.state_dict())
        train, began = self._examples("train"), time.monotonic()
        train_talker(talker.eval(), phones, train, self._run(seed))
        seconds = time.monotonic() - began
        save_talker(self._file(name, seed), talker.eval(), {"variant": name, "steps": self.options.steps, "seed": seed})
        return talker, seconds

    def _full_sequence(self, ours: Talker, seed: int, heard: Regression) -> tuple[FullSequence, float]:
        talker = self._new(seed, None)
        talker.audio.load_state_dict(heard.audio.state_dict())
        train, began = self._examples("train"), time.monotonic()
        network = train_full_sequence(talker, train, self._run(seed)).eval()
        return network, time.monotonic() - began

    def _stage_one(self, bottleneck: str, variant: str | None, seed: int) -> Talker:
        """A talker whose VQ-VAE (or what stands in its place) is trained; made once for each seed."""
        file = self._file(f"stage1-{bottleneck}", seed)
        if file.exists():
            return load_own_talker(file)
        talker = self._new(seed, variant if bottleneck != "quantised" else None)
        train_vqvae(talker, self._examples("train"), self._run(seed))
        save_talker(file, talker.eval())
        return talker

    def _encoder(self, seed: int) -> Regression:
        """The audio encoder that all begin with, and the direct regression it comes from."""
        file = self._file("encoder", seed)
        if file.exists():
            return load_regression(file)[0]
        talker = self._stage_one("quantised", None, seed)
        regression, _ = train_regression(talker, self._examples("train"), self._run(seed))
        save_regression(file, regression, talker)
        return regression.eval()

    def _run(self, seed: int) -> StageRun:
        return StageRun(self.budget, self.loop, self.recipe, seed, self.bar)

    def _new(self, seed: int, variant: str | None) -> Talker:
        return new_talker(self.corpus, self.rig, seed, variant, self._basis)

    @cached_property
    def _basis(self) -> MotionBasis:
        """One for all, so that all are given the same motion."""
        return new_talker(self.corpus, self.rig, 0).vqvae.basis

    def _examples(self, split: str) -> list[Example]:
        if split not in self._loaded:
            clips = self.corpus.split(split)[: self.options.clips if split == "test" else None]
            load = partial(load_example, self.corpus, rig=self.rig, basis=self._basis, dims=AudioDims())
            self._loaded[split] = [load(clip=clip) for clip in clips]
        return self._loaded[split]

    def _missing(self, name: str, seed: int) -> bool:
        return not any((row.name, row.seed) == (name, seed) for row in self.rows)

    def _file(self, name: str, seed: int) -> Path:
        return self.out / f"{name}-{seed}.safetensors"

    @property
    def _shape(self) -> tuple[int, int]:
        return self.rig.topology.vertex_count, 3

    def latencies(self) -> dict[str, dict[int, float]]:
        """Seconds to the first frame by length of sound, of our network and the full-sequence one."""
        ours = load_own_talker(self._file(OURS, 0))
        untrained = FullSequence(ours.dims, build_encoder(ours.dims.audio, ours.dims.fps))  # as fast as a trained one
        return first_frames(ours, untrained.eval(), self.corpus, self.options.lengths)

    def write(self, latencies: dict[str, dict[int, float]] | None = None) -> None:
        """``results.json`` and ``table.md``."""
        document = {
            "command": self.options.command,
            "settings": asdict(self.settings),
            "rows": [asdict(row) for row in self.rows],
            "latency_s": latencies or {},
        }
        self.out.mkdir(parents=True, exist_ok=True)
        (self.out / "results.json").write_text(json.dumps(document, indent=1) + "\n")
        (self.out / "table.md").write_text(markdown(self.rows, latencies or {}) + "\n")


def read_rows(path: Path, settings: Settings) -> list[Row]:
    """What an earlier run has finished. Raises SettingsError where it had other ``settings``."""
    if not path.exists():
        return []
    document = json.loads(path.read_text())
    before = document.get("settings")
    if before is None:
        raise SettingsError(f"{path} does not tell the settings of its results; choose another --out.")
    others = [f"{name} {before.get(name)}" for name, value in asdict(settings).items() if before.get(name) != value]
    if others:
        raise SettingsError(f"{path.parent} holds results of {', '.join(others)}; choose another --out.")
    return [Row(**row) for row in document["rows"]]


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m streamingtalker.ablate", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("corpus"), metavar="DIR")
    parser.add_argument("--avatar", type=Path, default=DEFAULT_AVATAR, metavar="FILE", help="whose mesh to train for")
    parser.add_argument("--out", type=Path, default=Path("runs/ablations"), metavar="DIR")
    parser.add_argument("--steps", type=int, default=800, help="of each training")
    parser.add_argument("--seeds", type=int, default=1, help="how often everything is trained")
    parser.add_argument("--frames", type=int, default=1000, help="in a batch")
    parser.add_argument("--clips", type=int, default=24, help="test sentences that are scored")
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS, help="seconds of sound, for the latency")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--jobs", type=int, default=2, help="processes that make audio features")
    parser.add_argument("--bf16", action="store_true", help="compute in bfloat16 where that is safe")
    options = parser.parse_args(argv)
    options.command = " ".join(["python -m streamingtalker.ablate", *argv])
    return options


@command_line
def main(argv: list[str] | None = None) -> int:
    """The command line. Gives the exit status."""
    options = _arguments(sys.argv[1:] if argv is None else argv)
    torch.set_num_threads(options.threads)
    with progress_bar() as bar:
        ablation = Ablation(options, bar)
        ablation.go()
        latencies = ablation.latencies()
        ablation.write(latencies)
    print(markdown(ablation.rows, latencies))
    return 0


if __name__ == "__main__":
    sys.exit(main())
