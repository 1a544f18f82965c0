"""How a face articulates: ``python -m streamingtalker.evaluate --articulation --data corpus``.

A fixed set of test sentences, in voices the model was trained with and in voices it never heard, spoken frame by frame
as a live stream is, with several seeds; beside a still face, the motion of other sentences, direct regression and both
diffusion heads. With ``--recording X.wav`` it judges the lips on any recording by what a recogniser hears in it.
"""

import argparse
import contextlib
import dataclasses
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import Progress
from torch import Tensor

from streamingtalker import metrics
from streamingtalker.checkpoint import load_own_talker
from streamingtalker.data.dataset import Corpus, Example
from streamingtalker.errors import command_line
from streamingtalker.evaluation import moods, recording, report, testset
from streamingtalker.evaluation.freerun import Rollout, free_run
from streamingtalker.evaluation.measures import MEASURES, SEEN, UNSEEN, measure_clip, ratios
from streamingtalker.evaluation.mouth import Motion, Mouth, Thresholds
from streamingtalker.evaluation.tally import Scores, Viewer, score, shuffled, still, tables
from streamingtalker.generate import DEFAULT_WEIGHTS
from streamingtalker.places import make_place
from streamingtalker.talker import Talker
from streamingtalker.tensor_file import CheckpointError
from streamingtalker.topology import DEFAULT_AVATAR
from streamingtalker.training.baseline import load_regression
from streamingtalker.training.judge import regression_predicts, without_posteriors
from streamingtalker.training.loop import progress_bar

STILL, SHUFFLED, TARGET, REGRESSION, NO_RECOGNISER = (
    "still face", "shuffled audio", "target", "regression", "no recogniser",
)  # fmt: skip
KEPT = "<!-- by hand: kept when the tables above are made anew -->"
HEADS = {"mlp": "MLP head", "linear": "linear head", "direct": "no diffusion"}

Done = Callable[[int], None]


@dataclass(frozen=True)
class SystemUnderTest:
    """Something that moves a face to sentences as it hears them."""

    examples: list[Example]  # the test sentences
    drawn: Callable[[Sequence[Rollout], Done], list[Tensor]]  # rollouts → coefficients [T, K] of each
    view: Viewer

    def draw(self, rollouts: Sequence[Rollout], done: Done = lambda rollouts: None) -> list[Tensor]:
        """Coefficients [T, K] of each rollout."""
        return self.drawn(rollouts, done)

    def motions(self, rollouts: Sequence[Rollout], done: Done = lambda rollouts: None) -> list[Motion]:
        """The motion of each rollout."""
        return [self.view(coefficients) for coefficients in self.draw(rollouts, done)]


class Bench:
    """One corpus, one test set and what is measured on it."""

    def __init__(self, options: argparse.Namespace, bar: Progress) -> None:
        self.options = options
        self.bar = bar
        self.corpus = Corpus(options.data)
        self.rig = self.corpus.rig(options.avatar)
        self.mouth = Mouth.of(self.rig.topology)
        chosen = testset.choose(self.corpus, options.sentences)
        self.clips = [clip for _, clip in chosen]
        self.sentences = testset.load_sentences(self.corpus, self.rig, self.mouth, chosen)
        self.limits = Thresholds.of([(each.target, each.intervals) for each in self.sentences])
        self.seeds = range(options.seeds)

    def run(self) -> dict[str, Any]:
        """Measure everything; gives the document of the run."""
        began = time.monotonic()
        talker = load_own_talker(self.options.checkpoint)
        other = self.beside(talker)
        main = self.talker(talker)
        table = self.enter(HEADS[talker.dims.head.kind], main, self.seeds, with_shuffled=True)
        if other:
            table |= self.enter(HEADS[other.dims.head.kind], self.talker(other), self.seeds)
        if self.options.regression:
            table |= self.enter(REGRESSION, self.regression(talker, main.examples), [0])
        deaf = without_posteriors(main.examples, talker.dims.audio.mel_bands)
        table |= self.enter(NO_RECOGNISER, dataclasses.replace(main, examples=deaf), self.seeds)
        table[STILL] = self.table([still(self.sentences, self.mouth)])
        table[TARGET] = self.table([[each.target for each in self.sentences]])
        measured = {"tables": table, "drift": self.drift(talker, main), "quiet": self.quiet(talker, main)}
        if talker.dims.moods:
            measured["moods"] = moods.measure(main, talker.dims.moods, main.examples, self.sentences, self.limits)
        return measured | self.circumstances(talker) | {"seconds": round(time.monotonic() - began)}

    def beside(self, talker: Talker) -> Talker | None:
        """The talker of ``--linear``, where there is one. Raises CheckpointError where its head is ``talker``'s."""
        if not self.options.linear:
            return None
        other = load_own_talker(self.options.linear)
        if other.dims.head.kind == talker.dims.head.kind:
            raise CheckpointError(
                f"{self.options.linear} and {self.options.checkpoint} would share the column "
                f"{HEADS[talker.dims.head.kind]!r}; measure weights of the same head in two runs."
            )
        return other

    def talker(self, talker: Talker) -> SystemUnderTest:
        """A talker, free-running."""
        if talker.topology.vertex_count != self.rig.topology.vertex_count:
            raise CheckpointError(
                f"The talker moves another mesh than {self.options.avatar}; name the avatar it was trained for."
            )
        view = Viewer.of(self.mouth, talker.vqvae.basis)
        return SystemUnderTest(self.examples(talker), partial(free_run, talker), view)

    def regression(self, talker: Talker, examples: list[Example]) -> SystemUnderTest:
        """The baseline, which is the same for every seed."""
        regression, _, basis = load_regression(self.options.regression)
        predict = regression_predicts(regression, talker)

        def draw(rollouts: Sequence[Rollout], done: Done) -> list[Tensor]:
            motions = [predict(rollout.example) for rollout in rollouts]
            done(len(rollouts))
            return motions

        return SystemUnderTest(examples, draw, Viewer.of(self.mouth, basis))

    def examples(self, talker: Talker) -> list[Example]:
        """The test sentences as ``talker`` hears them."""
        with self.counting("audio features", len(self.clips)) as done:
            return testset.load_examples(self.corpus, self.rig, talker, self.clips, lambda: done(1))

    def enter(
        self, name: str, system: SystemUnderTest, seeds: Sequence[int], with_shuffled: bool = False
    ) -> dict[str, Any]:
        """The tables of a system by name; of its motion to the sound of other sentences, too."""
        own, others = [], []
        with self.counting(name, len(seeds) * len(system.examples)) as done:
            for seed in seeds:
                motions = system.motions([Rollout(example, seed) for example in system.examples], done)
                own.append(score(motions, self.sentences, self.limits))
                if with_shuffled:
                    others.append(score(shuffled(motions), self.sentences, self.limits))
        found = {name: tables(Scores(np.stack(own)), self.sentences)}
        return found | ({SHUFFLED: tables(Scores(np.stack(others)), self.sentences)} if with_shuffled else {})

    def table(self, runs: list[list[Motion]]) -> dict[str, Any]:
        """The tables of motions [seeds][sentences]."""
        return tables(Scores(np.stack([score(run, self.sentences, self.limits) for run in runs])), self.sentences)

    def drift(self, talker: Talker, system: SystemUnderTest) -> dict[str, dict[str, dict[str, float]]]:
        """Endless speech, its first tenth and its last, by group of voices: each says the same."""
        members = {
            group: [index for index, each in enumerate(self.sentences) if each.group == group]
            for group in (SEEN, UNSEEN)
        }
        runs = [(group, seed) for group in members if members[group] for seed in self.seeds]
        endless = [self._endless(talker, system, members[group], seed) for group, seed in runs]
        with self.counting("6000 frames", len(runs)) as done:
            drawn = system.draw(
                [Rollout(each.example, seed) for each, (_, seed) in zip(endless, runs, strict=True)], done
            )
        sums = [self._tenths(system, each, motion) for each, motion in zip(endless, drawn, strict=True)]
        found = {}
        for group in dict.fromkeys(group for group, _ in runs):
            found[group] = _compare(np.stack([each for each, (of, _) in zip(sums, runs, strict=True) if of == group]))
        return found

    def _endless(self, talker: Talker, system: SystemUnderTest, members: list[int], seed: int) -> testset.Endless:
        """The endless speech of a seed: in its style."""
        examples = [system.examples[index] for index in members]
        sentences = [self.sentences[index] for index in members]
        style, ahead = seed % talker.dims.styles, talker.dims.audio.lookahead
        return testset.endless(examples, sentences, style, ahead, self.mouth)

    def _tenths(self, system: SystemUnderTest, endless: testset.Endless, motion: Tensor) -> np.ndarray:
        """Sums [2, measures, 2] of the first tenth and of the last."""
        part = len(motion) // testset.PARTS
        seen = [system.view(tenth) for tenth in (motion[:part], motion[-part:])]
        return np.stack([measure_clip(tenth, endless.target, endless.intervals, self.limits) for tenth in seen])

    def quiet(self, talker: Talker, system: SystemUnderTest) -> dict[str, dict[str, float]]:
        """How far the mouth opens to sounds without speech, in mm: 99 % of the frames less, and the mean."""
        found = {}
        with self.counting("sounds without speech", len(testset.SOUNDS)) as done:
            for kind in testset.SOUNDS:
                rollouts = [Rollout(each, seed) for each in testset.speechless(talker, kind) for seed in self.seeds]
                frames = np.concatenate([1000 * motion.opening for motion in system.motions(rollouts)])
                found[kind] = {"p99": float(np.quantile(frames, 0.99)), "mean": float(frames.mean())}
                done(1)
        return found

    @contextlib.contextmanager
    def counting(self, what: str, total: int) -> Iterator[Done]:
        """A line of the progress bar; gives what advances it."""
        task = self.bar.add_task(what, total=total, figures="")
        yield lambda count: self.bar.advance(task, count)

    def circumstances(self, talker: Talker) -> dict[str, Any]:
        """What was measured, and against which thresholds."""
        voices = Counter(each.clip.voice for each in self.sentences)
        return {
            "thresholds": dataclasses.asdict(self.limits),
            "sentences": dict(sorted(voices.items())),
            "new_voices": sorted({each.clip.voice for each in self.sentences if each.group == UNSEEN}),
            "frames": sum(len(each.target) for each in self.sentences),
            "seeds": len(self.seeds),
            "sampling": dataclasses.asdict(talker.dims.sampling),
            "checkpoint": Path(self.options.checkpoint).name,
            "command": " ".join(["python -m streamingtalker.evaluate", *self.options.words]),
        }


def _compare(sums: np.ndarray) -> dict[str, dict[str, float]]:
    """First and last tenth of runs, sums [seeds, 2, measures, 2]: pooled values, and the change by seed."""
    pooled, single = ratios(sums.sum(0)), ratios(sums)
    found = {}
    for index, measure in enumerate(MEASURES):
        start, end = single[:, 0, index], single[:, 1, index]
        change = (end / start - 1 if measure.relative else end - start)[~np.isnan(start) & ~np.isnan(end)]
        mean, half = metrics.mean_and_interval(change) if len(change) else (float("nan"), 0.0)
        found[measure.key] = {
            "first": float(pooled[0, index]),
            "last": float(pooled[1, index]),
            "change": mean,
            "interval": half,
        }
    return found


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m streamingtalker.evaluate --articulation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--articulation", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument(
        "--data", type=Path, default=Path("corpus"), metavar="DIR", help="corpus with the test sentences"
    )
    parser.add_argument("--avatar", type=Path, default=DEFAULT_AVATAR, metavar="FILE", help="whose mesh it moves")
    parser.add_argument(
        "--checkpoint", type=Path, default=DEFAULT_WEIGHTS, metavar="FILE", help="the talker to measure"
    )
    parser.add_argument("--linear", type=Path, metavar="FILE", help="a talker with the linear head, to stand beside it")
    parser.add_argument("--regression", type=Path, metavar="FILE", help="the regression baseline, to stand beside it")
    parser.add_argument("--seeds", type=int, default=5, metavar="N", help="takes of every sentence (default: 5)")
    parser.add_argument(
        "--sentences", type=int, default=testset.SENTENCES, metavar="N",
        help="of the known voices together and of each new voice (default: 60)",
    )  # fmt: skip
    parser.add_argument("--threads", type=int, default=1, help="of the network (default: 1)")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write all figures there")
    parser.add_argument(
        "--markdown", type=Path, metavar="OUT", help="write the tables there; what people wrote below them is kept"
    )
    parser.add_argument("--recording", type=Path, metavar="X.wav", help="judge a recording without labels instead")
    parser.add_argument("--text", help="what is said in the recording; printed beside what was heard")
    parser.add_argument("--identity", type=int, default=0, help="speaking style for the recording, counted from 0")
    options = parser.parse_args(argv)
    options.words = argv
    return options


@command_line
def main(argv: list[str] | None = None) -> int:
    """The command line. Gives the exit status."""
    options = _arguments(sys.argv[1:] if argv is None else argv)
    torch.set_num_threads(options.threads)
    for out in (options.json, options.markdown):
        if out:
            make_place(out, "The report")
    document = recording.run(options) if options.recording else _measure(options)
    text = recording.markdown(document) if options.recording else report.markdown(document)
    print(text)
    if options.json:
        options.json.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    if options.markdown:
        write_tables(options.markdown, text)
    return 0


def write_tables(path: Path, text: str) -> None:
    """Write ``text`` to ``path``; what people wrote there below the line KEPT stays."""
    before = path.read_text("utf-8") if path.is_file() else ""
    kept = before[before.index(KEPT) :] if KEPT in before else ""
    path.write_text(f"{text}\n\n{kept}" if kept else f"{text}\n", "utf-8")


def _measure(options: argparse.Namespace) -> dict[str, Any]:
    with progress_bar() as bar, torch.inference_mode():
        return Bench(options, bar).run()


if __name__ == "__main__":
    sys.exit(main())
