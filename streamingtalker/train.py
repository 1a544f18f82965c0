"""Training: ``python -m streamingtalker.train vqvae|encoder|talker|all|judge|student --data corpus --out runs/x``.

``vqvae`` is stage 1; ``encoder`` lets the audio encoder learn to give the motion directly, which is the regression
baseline; ``talker`` is stage 2, from what the others left in the same folder; ``all`` is one after another; ``judge``
only judges finished weights on the test sentences, with ``--recogniser`` also as that one hears them. ``student``
teaches the small phoneme recogniser, ``recogniser.safetensors``. The folder gets ``vqvae.safetensors``,
``regression.safetensors``, ``talker.safetensors`` (``talker-linear.safetensors`` with the paper's head) and
``figures.json``.
"""

import argparse
import dataclasses
import json
import sys
import time
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress

from streamingtalker.audio.posteriors import RECOGNISERS, open_recogniser
from streamingtalker.audio.student import StudentDims, StudentRecogniser, save_student
from streamingtalker.checkpoint import load_own_talker, save_talker
from streamingtalker.config import AudioDims, MotionDims, TalkerDims
from streamingtalker.data.dataset import Corpus, CorpusError, Example, extract_features, load_example
from streamingtalker.errors import command_line
from streamingtalker.places import writing
from streamingtalker.talker import Talker
from streamingtalker.topology import DEFAULT_AVATAR
from streamingtalker.training.baseline import load_regression, save_regression
from streamingtalker.training.beginning import new_talker, with_head
from streamingtalker.training.distil import (
    STUDENT_RATE,
    TEACHER,
    Agreement,
    Lesson,
    agreement_by_voice,
    heard_by,
    load_lesson,
    train_student,
)
from streamingtalker.training.examiner import TalkerExaminer
from streamingtalker.training.journal import (
    Curves,
    Habits,
    StageJournal,
    last_file,
    open_curves,
)
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
from streamingtalker.training.machines import Machines, open_machines
from streamingtalker.training.published import PRESETS
from streamingtalker.training.published_run import PublishedRun
from streamingtalker.training.stages import Recipe, train_regression, train_talker, train_vqvae
from streamingtalker.training.state import stage_of
from streamingtalker.training.variants import BASELINES, VARIANTS

SHARES = {"vqvae": 0.12, "encoder": 0.26, "talker": 0.62}  # of the time of ``all``, in their order
VALIDATION_CLIPS = 6  # looked at now and then
MINUTES = 20


class Run:
    """One corpus, one folder, one training."""

    def __init__(self, options: argparse.Namespace, machines: Machines) -> None:
        self.options = options
        self.machines = machines
        self.out: Path = options.out
        self.corpus = Corpus(options.data)
        self.rig = self.corpus.rig(options.avatar)
        self.recipe = Recipe()
        self.loop = LoopOptions(bf16=options.bf16)
        total = None if options.steps else 60 * (options.minutes or MINUTES)
        self.budget = Budget(options.steps, total)
        self.figures: dict[str, Figures] = {}
        self.agreement: dict[str, Agreement] = {}
        self.steps: dict[str, int] = {}
        self.began = time.monotonic()

    def go(self, bar: Progress) -> None:
        """Do what the command line asks for."""
        stage, device = self.options.stage, self.options.device
        if self.machines.first:
            self.extract(bar)
        self.machines.wait()
        if stage == "student":
            return self.student(bar)
        if stage == "judge":
            return self.judge(load_own_talker(self.options.checkpoint or self.out / "talker.safetensors", device), bar)
        made = self.out / "vqvae.safetensors"
        todo = self.stages_to_do()
        talker = self.vqvae(bar) if "vqvae" in todo else load_own_talker(made, device)
        if "encoder" in todo:
            self.encoder(talker, bar)
        if "talker" in todo:
            self.talker(with_head(talker, self.options.head, self.options.seed), bar)

    def stages_to_do(self) -> list[str]:
        """In their order; with ``--resume`` from the one that was broken off."""
        stages = list(SHARES) if self.options.stage == "all" else [self.options.stage]
        last = last_file(self.out)
        reached = stage_of(last).partition("-")[0] if self.options.resume and last.exists() else stages[0]
        return stages[stages.index(reached) :] if reached in stages else stages

    @cached_property
    def curves(self) -> Curves | None:
        """For TensorBoard; of the first process."""
        return open_curves(self.out / "curves", print) if self.machines.first else None

    def journal(self, stage: str, examiner: TalkerExaminer | None = None) -> StageJournal:
        """Of a stage of this run."""
        habits = Habits(self.options.save_every, self.options.checks)
        looks = examiner if examiner and examiner.examples else None
        return StageJournal(stage, self.out, self.machines, habits, self.options.resume, self.curves, looks)

    def vqvae(self, bar: Progress) -> Talker:
        """Stage 1; writes ``vqvae.safetensors``."""
        chosen = self.options.variant or self.options.baseline
        talker = new_talker(self.corpus, self.rig, self.options.seed, chosen).to(self.options.device)
        train = self.examples(talker, "train")
        budget, seed = self._part("vqvae"), self.options.seed
        looks = TalkerExaminer(talker, reconstruction(talker), self._validation(talker), settle=train)
        journal = self.journal("vqvae", looks)
        self.steps["vqvae"] = train_vqvae(talker, train, budget, self.loop, self.recipe, seed, bar, journal)
        self._judge("reconstruction", reconstruction(talker), talker, bar)
        self._save(self.out / "vqvae.safetensors", talker)
        return talker

    def encoder(self, talker: Talker, bar: Progress) -> None:
        """The audio encoder and with it the regression baseline; writes ``regression.safetensors``."""
        train, budget = self.examples(talker, "train"), self._part("encoder")
        seed, journal = self.options.seed, self.journal("encoder")
        regression = train_regression(talker, train, budget, self.loop, self.recipe, seed, bar, journal)
        self._judge("regression", regression_predicts(regression, talker), talker, bar)
        if self.machines.first:
            save_regression(self.out / "regression.safetensors", regression, talker, self._card())
        self.machines.wait()

    def talker(self, talker: Talker, bar: Progress) -> None:
        """Stage 2; writes ``talker.safetensors``."""
        regression, _, _ = load_regression(self.out / "regression.safetensors")
        talker.audio.load_state_dict(regression.audio.state_dict())
        phones = regression.phones.to(self.options.device)
        train, budget, seed = self.examples(talker, "train"), self._part("talker"), self.options.seed
        name = "talker" if self.options.head == "mlp" else f"talker-{self.options.head}"
        journal = self.journal(name, TalkerExaminer(talker, talker_predicts(talker), self._validation(talker)))
        self.steps["talker"] = train_talker(talker, phones, train, budget, self.loop, self.recipe, seed, bar, journal)
        self.judge(talker, bar)
        self._save(self.out / f"{name}.safetensors", talker)

    def judge(self, talker: Talker, bar: Progress) -> None:
        """The figures of a finished talker."""
        self._judge("talker", talker_predicts(talker), talker, bar)

    def student(self, bar: Progress) -> None:
        """The small phoneme recogniser, taught by the large one; writes ``recogniser.safetensors``."""
        options = dataclasses.replace(self.loop, rate=STUDENT_RATE)
        train = self.lessons("train")
        student, self.steps["student"] = train_student(
            train, StudentDims(), self.budget, options, self.options.seed, bar
        )
        save_student(self.out / "recogniser.safetensors", student)
        held = [*self.lessons("val"), *self.lessons("test")]
        known = {clip.voice for clip in self.corpus.split("train")}
        self.agreement = agreement_by_voice(StudentRecogniser(student), held, known)
        for group, figures in self.agreement.items():
            bar.console.print(f"{group}: {figures}")
        save_student(self.out / "recogniser.safetensors", student, self._card())

    def lessons(self, split: str) -> list[Lesson]:
        """The clips of a split with what the large recogniser heard in them."""
        return [load_lesson(self.corpus, clip, AudioDims()) for clip in self.corpus.split(split)]

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
        recogniser = TEACHER if self.options.stage == "student" else None
        extract_features(self.corpus, dims, self.options.jobs, lambda: bar.advance(task), recogniser)

    def _validation(self, talker: Talker) -> list[Example]:
        clips = self.corpus.split("val")[:VALIDATION_CLIPS]
        return [load_example(self.corpus, clip, self.rig, talker.vqvae.basis, talker.dims.audio) for clip in clips]

    def _save(self, path: Path, talker: Talker) -> None:
        if self.machines.first:
            save_talker(path, talker, self._card())
        self.machines.wait()

    def _part(self, stage: str) -> Budget:
        return self.budget.part(SHARES[stage] if self.options.stage == "all" else 1.0)

    def _judge(self, name: str, predict: Predict, talker: Talker, bar: Progress) -> None:
        """Judge on the test sentences: of voices heard in training, of new voices, and these without recogniser."""
        if not self.machines.first:
            return
        known = {clip.voice for clip in self.corpus.split("train")}
        held = self.examples(talker, "test")
        new = [example for example in held if example.clip.voice not in known]
        groups = {
            "seen voices": [example for example in held if example.clip.voice in known],
            "new voices": new,
            "new voices, no recogniser": without_posteriors(new, talker.dims.audio.mel_bands),
        }
        for heard in self.options.recogniser:
            recogniser = open_recogniser(heard)
            groups[f"new voices, {heard}"] = heard_by(recogniser, new, self.corpus, talker.dims.audio)
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
            "figures": {name: dataclasses.asdict(figures) for name, figures in (self.figures | self.agreement).items()},
        }

    def write_figures(self) -> None:
        """``figures.json`` beside the weights."""
        if self.machines.first:
            with writing(self.out / "figures.json"):
                (self.out / "figures.json").write_text(json.dumps(self._card(), indent=1) + "\n")


RUNS: dict[str, type[Run] | type[PublishedRun]] = {"default": Run, **dict.fromkeys(PRESETS, PublishedRun)}


def _table(text: str) -> Any:  # noqa: ANN401 - what it is, is checked where it is used
    try:
        return json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"is no JSON: {error}") from error


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m streamingtalker.train", description=__doc__)
    parser.add_argument("stage", choices=["vqvae", "encoder", "talker", "all", "judge", "student"])
    parser.add_argument(
        "--preset", choices=list(RUNS), default="default", help="our network, or the paper's for a data set"
    )
    parser.add_argument("--data", type=Path, default=Path("corpus"), metavar="DIR")
    parser.add_argument("--avatar", type=Path, default=DEFAULT_AVATAR, metavar="FILE", help="whose mesh to train for")
    parser.add_argument("--out", type=Path, default=Path("runs/default"), metavar="DIR")
    parser.add_argument(
        "--minutes", type=float, help="of training (default: 20); what comes out depends on the machine"
    )
    parser.add_argument("--steps", type=int, help="of training, over all stages, instead of minutes")
    parser.add_argument("--head", choices=["mlp", "linear"], default="mlp", help="diffusion head; linear: the paper's")
    without = parser.add_mutually_exclusive_group()
    without.add_argument("--variant", choices=list(VARIANTS), help="our network without a part, as in Table 3")
    without.add_argument("--baseline", choices=list(BASELINES), help="another kind of network from the same layers")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--threads", type=int, default=torch.get_num_threads(), help="of the optimiser; 1 where other programs run"
    )
    parser.add_argument("--jobs", type=int, default=2, help="processes that make audio features")
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="weights to judge, if not those in --out")
    parser.add_argument(
        "--recogniser", choices=RECOGNISERS, nargs="*", default=[], help="judge also with these phoneme recognisers"
    )
    parser.add_argument("--resume", action="store_true", help="go on where the training in --out was broken off")
    parser.add_argument("--save-every", type=int, default=500, metavar="N", help="steps between states to resume from")
    parser.add_argument("--checks", type=int, default=10, help="looks at validation clips in a stage; 0 for none")
    paper = parser.add_argument_group("presets vocaset and biwi")
    paper.add_argument("--epochs", type=int, help="of each stage, instead of the paper's 400 or --steps")
    paper.add_argument("--rate", type=float, help="learning rate, instead of the paper's 1e-4")
    paper.add_argument("--halve-every", type=int, metavar="E", help="of 400 epochs of stage 1, for the rate; 0: never")
    paper.add_argument("--batch", type=int, default=1, help="sequences in a batch (default: 1, as in the paper)")
    paper.add_argument("--history", type=int, metavar="H", help="frames of stage 2's windows; 0: whole sequences")
    paper.add_argument("--hubert", type=Path, metavar="DIR", help="hubert-base-ls960 in the format of transformers")
    paper.add_argument("--dims", type=_table, default={}, metavar="JSON", help="dimensions that differ from the preset")
    parser.add_argument("--device", default="cpu", help="where the optimiser runs: cpu or cuda")
    parser.add_argument("--bf16", action="store_true", help="compute in bfloat16 where that is safe")
    options = parser.parse_args(argv)
    options.words = argv
    return options


@command_line
def main(argv: list[str] | None = None) -> int:
    """The command line. Gives the exit status."""
    options = _arguments(sys.argv[1:] if argv is None else argv)
    torch.set_num_threads(options.threads)
    machines, options.device = open_machines(options.device)
    with progress_bar(shown=machines.first) as bar:
        run = RUNS[options.preset](options, machines)
        with writing(run.out):
            run.out.mkdir(parents=True, exist_ok=True)
        run.go(bar)
        run.write_figures()
    if machines.first:
        print(f"Written to {options.out}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
