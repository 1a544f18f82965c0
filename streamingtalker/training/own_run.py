"""One training of our own network, or of the small phoneme recogniser: ``streamingtalker.train --preset default``."""

import argparse
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.progress import Progress

from streamingtalker.audio.posteriors import open_recogniser
from streamingtalker.audio.student import StudentDims, StudentRecogniser, save_student
from streamingtalker.checkpoint import load_own_talker
from streamingtalker.config import AudioDims, ConfigError, MotionDims, TalkerDims
from streamingtalker.data.dataset import Clip, Corpus, CorpusError, Example, extract_features, load_example
from streamingtalker.places import writing
from streamingtalker.talker import Talker
from streamingtalker.tensor_file import CheckpointError
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
from streamingtalker.training.journal import StageJournal
from streamingtalker.training.judge import (
    Predict,
    ValidationMetrics,
    judge,
    reconstruction,
    regression_predicts,
    talker_predicts,
    without_posteriors,
)
from streamingtalker.training.loop import Budget, LoopOptions
from streamingtalker.training.machines import MachineError, Machines
from streamingtalker.training.run import TrainingRun
from streamingtalker.training.stages import Recipe, StageRun, train_regression, train_talker, train_vqvae
from streamingtalker.training.variants import changed

SHARES = {"vqvae": 0.12, "encoder": 0.26, "talker": 0.62}  # of the time of ``all``, in their order
VALIDATION_CLIPS = 6  # looked at now and then
MINUTES = 20


class OwnRun(TrainingRun):
    """One corpus and our own network."""

    stages = tuple(SHARES)

    def __init__(self, options: argparse.Namespace, machines: Machines) -> None:
        """Raises UserError."""
        if options.stage == "student" and machines.count > 1:
            raise MachineError("The student is trained in one process; start it without torchrun.")
        super().__init__(options, machines)
        self.corpus = Corpus(options.data)
        self.rig = self.corpus.rig(options.avatar)
        self.recipe = Recipe()
        self.loop = LoopOptions(bf16=options.bf16)
        total = None if options.steps else 60 * (options.minutes or MINUTES)
        self.budget = Budget(options.steps, total)
        self.figures: dict[str, ValidationMetrics | Agreement] = {}
        self.before = read_figures(self.out / "figures.json")

    def go(self, bar: Progress) -> None:
        """Do what the command line asks for."""
        stage, device = self.options.stage, self.options.device
        if self.machines.first:
            self.extract(bar)
        self.machines.wait()
        if stage == "student":
            return self.student(bar)
        if stage == "judge":
            weights = self.options.checkpoint or self.out / "talker.safetensors"
            return self._judge_talker(weights.stem, load_own_talker(weights, device), bar)
        todo = self.stages_to_do()
        talker = self.vqvae(bar) if "vqvae" in todo else self.made()
        if "encoder" in todo:
            self.encoder(talker, bar)
        if "talker" in todo:
            self.talker(with_head(talker, self.options.head, self.options.seed), bar)

    def vqvae(self, bar: Progress) -> Talker:
        """Stage 1; writes ``vqvae.safetensors``."""
        talker = new_talker(self.corpus, self.rig, self.options.seed, self.variant).to(self.options.device)
        check_head(talker.dims, self.options.head)
        train = self.examples(talker, "train")
        journal = self.journal("vqvae", self._examiner(talker, reconstruction(talker), settle=train))
        self.steps["vqvae"] = train_vqvae(talker, train, self._stage_run("vqvae", bar, journal))
        self._judge("reconstruction", reconstruction(talker), talker, bar)
        self.save("vqvae", talker)
        return talker

    @property
    def variant(self) -> str | None:
        """The variant or baseline that is asked for."""
        return self.options.variant or self.options.baseline

    def made(self) -> Talker:
        """The talker of an earlier stage 1. Raises UserError where it is not what the command line asks for."""
        file = self.out / "vqvae.safetensors"
        talker = load_own_talker(file, self.options.device)
        if changed(talker.dims, self.variant) != talker.dims:
            raise CheckpointError(f"{file} is not of {self.variant}; train all stages with it, in another --out.")
        check_head(talker.dims, self.options.head)
        return talker

    def encoder(self, talker: Talker, bar: Progress) -> None:
        """The audio encoder and with it the regression baseline; writes ``regression.safetensors``."""
        train = self.examples(talker, "train")
        run = self._stage_run("encoder", bar, self.journal("encoder"))
        regression, self.steps["encoder"] = train_regression(talker, train, run)
        self._judge("regression", regression_predicts(regression, talker), talker, bar)
        if self.machines.first:
            save_regression(self.out / "regression.safetensors", regression, talker, self.card())
        self.machines.wait()

    def talker(self, talker: Talker, bar: Progress) -> None:
        """Stage 2; writes ``talker.safetensors``."""
        regression, _, _ = load_regression(self.out / "regression.safetensors")
        talker.audio.load_state_dict(regression.audio.state_dict())
        phones = regression.phones.to(self.options.device)
        train = self.examples(talker, "train")
        name = "talker" if self.options.head == "mlp" else f"talker-{self.options.head}"
        journal = self.journal(name, self._examiner(talker, talker_predicts(talker)))
        self.steps[name] = train_talker(talker, phones, train, self._stage_run("talker", bar, journal))
        self._judge_talker(name, talker, bar)
        self.save(name, talker)

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
        for group, figures in agreement_by_voice(StudentRecogniser(student), held, known).items():
            self.figures[f"student, {group}"] = figures
            bar.console.print(f"{group}: {figures}")
        save_student(self.out / "recogniser.safetensors", student, self.card())

    def lessons(self, split: str) -> list[Lesson]:
        """The clips of a split with what the large recogniser heard in them."""
        return [load_lesson(self.corpus, clip, AudioDims()) for clip in self.corpus.split(split)]

    def examples(self, talker: Talker, split: str) -> list[Example]:
        """The clips of a split, their motion in the talker's basis."""
        clips = self.corpus.split(split)
        if not clips:
            raise CorpusError(f"{self.corpus.path} has no {split} clips; make the corpus again.")
        return self._load(talker, clips)

    def extract(self, bar: Progress) -> None:
        """Make the audio features that are missing."""
        task = bar.add_task("audio features", total=len(self.corpus.clips), figures="")
        dims = TalkerDims(MotionDims(self.rig.topology.vertex_count)).audio
        recogniser = TEACHER if self.options.stage == "student" else None
        extract_features(self.corpus, dims, self.options.jobs, lambda: bar.advance(task), recogniser)

    def _examiner(self, talker: Talker, predict: Predict, settle: Sequence[Example] = ()) -> TalkerExaminer | None:
        """What looks at validation clips, where the corpus has them."""
        examples = self._load(talker, self.corpus.split("val")[:VALIDATION_CLIPS])
        return TalkerExaminer(talker, predict, examples, list(settle)) if examples else None

    def _load(self, talker: Talker, clips: Sequence[Clip]) -> list[Example]:
        dims, basis = talker.dims.audio, talker.vqvae.basis
        return [load_example(self.corpus, clip, self.rig, basis, dims) for clip in clips]

    def _stage_run(self, stage: str, bar: Progress, journal: StageJournal) -> StageRun:
        budget = self.budget.part(SHARES[stage] if self.options.stage == "all" else 1.0)
        return StageRun(budget, self.loop, self.recipe, self.options.seed, bar, journal)

    def _judge_talker(self, name: str, talker: Talker, bar: Progress) -> None:
        self._judge(name, talker_predicts(talker), talker, bar)

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

    def card(self) -> dict[str, Any]:
        """See TrainingRun; with what was learnt from and the figures."""
        seconds = sum(clip.seconds for clip in self.corpus.split("train"))
        figures = {name: dataclasses.asdict(each) for name, each in self.figures.items()}
        return super().card() | {"training_minutes_of_speech": round(seconds / 60, 1), "figures": figures}

    def write_figures(self) -> None:
        """``figures.json`` beside the weights; what earlier commands found there is kept, unless it is found anew."""
        if self.machines.first:
            document = self.card()
            for part in ("steps", "figures"):
                document[part] = self.before.get(part, {}) | document[part]
            if "command" in self.before:
                document["earlier_commands"] = [*self.before.get("earlier_commands", []), self.before["command"]]
            with writing(self.out / "figures.json"):
                (self.out / "figures.json").write_text(json.dumps(document, indent=1) + "\n")


def read_figures(path: Path) -> dict[str, Any]:
    """What earlier commands have written there; empty without. Raises CheckpointError."""
    if not path.exists():
        return {}
    try:
        return dict(json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"{path} is damaged ({error}); move it away.") from error


def check_head(dims: TalkerDims, head: str) -> None:
    """Raises ConfigError where a network of ``dims`` cannot have the diffusion ``head``."""
    if dims.head.kind == "direct" and head != "mlp":
        raise ConfigError(f"A network without diffusion has no {head} head; leave out --head.")
