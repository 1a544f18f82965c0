"""How a face articulates: ``python -m streamingtalker.evaluate --articulation --data corpus``.

A fixed set of test sentences, in voices the model was trained with and in voices it never heard, spoken frame by frame
as a live stream is, with several seeds; beside a still face, the motion of other sentences, direct regression and both
diffusion heads. With ``--recording X.wav`` it judges the lips on any recording by what a recogniser hears in it.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import Progress, TaskID

from streamingtalker import metrics
from streamingtalker.checkpoint import load_own_talker
from streamingtalker.data.dataset import Corpus, Example
from streamingtalker.errors import UserError
from streamingtalker.evaluation import recording, report, testset
from streamingtalker.evaluation.measures import SEEN, UNSEEN, measure_clip, ratios
from streamingtalker.evaluation.mouth import Motion, Mouth, Thresholds
from streamingtalker.evaluation.tally import Scores, Viewer, score, shuffled, still, tables
from streamingtalker.generate import DEFAULT_WEIGHTS
from streamingtalker.places import make_place
from streamingtalker.talker import Talker
from streamingtalker.topology import DEFAULT_AVATAR, load_rig
from streamingtalker.training.baseline import load_regression
from streamingtalker.training.judge import Predict, regression_predicts, talker_predicts, without_posteriors
from streamingtalker.training.loop import progress_bar

STILL, SHUFFLED, TARGET, REGRESSION, LINEAR = "still face", "shuffled audio", "target", "regression", "linear head"
NO_RECOGNISER = "no recogniser"


@dataclass(frozen=True)
class Contender:
    """Something that predicts motion from a seed."""

    name: str
    examples: list[Example]  # of the test sentences, as it hears them
    predict: Callable[[int], Predict]
    view: Viewer
    seeds: Sequence[int]

    def motions(self, seed: int, done: Callable[[], None]) -> list[Motion]:
        """Its motion in each test sentence."""
        predictor = self.predict(seed)
        motions = []
        for example in self.examples:
            motions.append(self.view(predictor(example)))
            done()
        return motions


class Bench:
    """One corpus, one test set and what is measured on it."""

    def __init__(self, options: argparse.Namespace, bar: Progress) -> None:
        self.options = options
        self.bar = bar
        self.corpus = Corpus(self.options.data)
        self.rig = load_rig(self.options.avatar)
        self.mouth = Mouth.of(self.rig.topology)
        chosen = testset.choose(self.corpus, self.options.sentences)
        self.clips = [clip for _, clip in chosen]
        self.sentences = testset.load_sentences(self.corpus, self.rig, self.mouth, chosen)
        self.limits = Thresholds.of([(each.target, each.intervals) for each in self.sentences])
        self.seeds = range(self.options.seeds)

    def run(self) -> dict[str, Any]:
        """Measure everything; gives the document of the run."""
        began = time.monotonic()
        talker = load_own_talker(self.options.checkpoint)
        head = self.talker(talker)
        names = {"mlp": "MLP head", "linear": LINEAR}
        table = self.enter(names[talker.dims.head.kind], head, with_shuffled=True)
        if self.options.linear:
            table |= self.enter(LINEAR, self.talker(load_own_talker(self.options.linear)))
        if self.options.regression:
            table |= self.enter(REGRESSION, self.regression(talker, head.examples))
        deaf = without_posteriors(head.examples, talker.dims.audio.mel_bands)
        table |= self.enter(NO_RECOGNISER, Contender(NO_RECOGNISER, deaf, head.predict, head.view, self.seeds[:1]))
        table[STILL] = self._table([still(self.sentences, self.mouth)])
        table[TARGET] = self._table([[each.target for each in self.sentences]])
        return {
            "tables": table,
            "drift": self.drift(talker, head),
            "quiet": self.quiet(talker, head),
            "seconds": round(time.monotonic() - began),
            **self.circumstances(talker),
        }

    def talker(self, talker: Talker) -> Contender:
        """A talker, free-running."""
        view = Viewer.of(self.mouth, talker.vqvae.basis)
        return Contender("", self.examples(talker), lambda seed: talker_predicts(talker, seed), view, self.seeds)

    def regression(self, talker: Talker, examples: list[Example]) -> Contender:
        """The baseline, which is the same for every seed."""
        regression, _, basis = load_regression(self.options.regression)
        view = Viewer.of(self.mouth, basis)
        return Contender("", examples, lambda _: regression_predicts(regression, talker), view, self.seeds[:1])

    def examples(self, talker: Talker) -> list[Example]:
        """The test sentences as ``talker`` hears them."""
        task = self.bar.add_task("audio features", total=len(self.clips), figures="")
        return testset.load_examples(self.corpus, self.rig, talker, self.clips, lambda: self.bar.advance(task))

    def enter(self, name: str, contender: Contender, with_shuffled: bool = False) -> dict[str, Any]:
        """The tables of a contender by name; of its motion to the sound of other sentences, too."""
        task = self.bar.add_task(name, total=len(contender.seeds) * len(contender.examples), figures="")
        own, others = [], []
        for seed in contender.seeds:
            motions = contender.motions(seed, lambda: self.bar.advance(task))
            own.append(score(motions, self.sentences, self.limits))
            if with_shuffled:
                others.append(score(shuffled(motions), self.sentences, self.limits))
        found = {name: tables(Scores(np.stack(own)), self.sentences)}
        return found | ({SHUFFLED: tables(Scores(np.stack(others)), self.sentences)} if with_shuffled else {})

    def _table(self, runs: list[list[Motion]]) -> dict[str, Any]:
        return tables(Scores(np.stack([score(run, self.sentences, self.limits) for run in runs])), self.sentences)

    def drift(self, talker: Talker, contender: Contender) -> dict[str, dict[str, dict[str, float]]]:
        """Endless speech, its first tenth and its last, by group of voices: each says the same."""
        task = self.bar.add_task("6000 frames", total=2 * len(self.seeds), figures="")
        found = {}
        for group in (SEEN, UNSEEN):
            members = [index for index, each in enumerate(self.sentences) if each.group == group]
            if members:
                runs = [self._endless(talker, contender, members, seed, task) for seed in self.seeds]
                found[group] = _compare(np.stack(runs))
        return found

    def _endless(self, talker: Talker, contender: Contender, members: list[int], seed: int, task: TaskID) -> np.ndarray:
        """Sums [2, measures, 2] of the first tenth and of the last."""
        style = seed % talker.dims.styles
        pool = [contender.examples[index] for index in members]
        example, chosen = testset.endless(pool, style, talker.dims.audio.lookahead)
        sentences = [self.sentences[members[index]] for index in chosen]
        lengths = [len(pool[index].coefficients) for index in chosen]
        target, intervals = testset.joined(sentences, lengths, self.mouth)
        coefficients = contender.predict(seed)(example)
        part = len(coefficients) // testset.PARTS
        self.bar.advance(task)
        tenths = (coefficients[:part], coefficients[-part:])
        return np.stack([measure_clip(contender.view(tenth), target, intervals, self.limits) for tenth in tenths])

    def quiet(self, talker: Talker, contender: Contender) -> dict[str, dict[str, float]]:
        """How far the mouth opens to sounds without speech, in mm: 99 % of the frames less, and the mean."""
        found = {}
        for kind, examples in testset.speechless(talker).items():
            openings = [
                1000 * contender.view(contender.predict(seed)(example)).opening
                for seed in self.seeds
                for example in examples
            ]
            frames = np.concatenate(openings)
            found[kind] = {"p99": float(np.quantile(frames, 0.99)), "mean": float(frames.mean())}
        return found

    def circumstances(self, talker: Talker) -> dict[str, Any]:
        """What was measured, and against which thresholds."""
        counts: dict[str, int] = {}
        for each in self.sentences:
            counts[each.clip.voice] = counts.get(each.clip.voice, 0) + 1
        new = sorted({each.clip.voice for each in self.sentences if each.group == UNSEEN})
        return {
            "thresholds": asdict(self.limits),
            "sentences": counts,
            "new_voices": new,
            "frames": sum(len(each.target) for each in self.sentences),
            "seeds": len(self.seeds),
            "sampling": asdict(talker.dims.sampling),
            "checkpoint": Path(self.options.checkpoint).name,
            "command": " ".join(["python -m streamingtalker.evaluate", *self.options.words]),
        }


def _compare(sums: np.ndarray) -> dict[str, dict[str, float]]:
    """First and last tenth of runs, sums [seeds, 2, measures, 2]: pooled values, and the change by seed."""
    pooled, single = ratios(sums.sum(0)), ratios(sums)
    found = {}
    for index, measure in enumerate(report.MEASURES):
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
    parser.add_argument("--markdown", type=Path, metavar="OUT", help="write the tables there")
    parser.add_argument("--recording", type=Path, metavar="X.wav", help="judge a recording without labels instead")
    parser.add_argument("--text", help="what is said in the recording; printed beside what was heard")
    parser.add_argument("--identity", type=int, default=0, help="speaking style for the recording, counted from 0")
    options = parser.parse_args(argv)
    options.words = argv
    return options


def main(argv: list[str] | None = None) -> int:
    """The command line. Gives the exit status."""
    options = _arguments(sys.argv[1:] if argv is None else argv)
    torch.set_num_threads(options.threads)
    try:
        for out in (options.json, options.markdown):
            if out:
                make_place(out, "The report")
        document = recording.run(options) if options.recording else _measure(options)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    text = recording.markdown(document) if options.recording else report.markdown(document)
    print(text)
    if options.json:
        options.json.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    if options.markdown:
        options.markdown.write_text(text + "\n", "utf-8")
    return 0


def _measure(options: argparse.Namespace) -> dict[str, Any]:
    with progress_bar() as bar, torch.inference_mode():
        return Bench(options, bar).run()


if __name__ == "__main__":
    sys.exit(main())
