"""A split scored: LVE, FDD, MOD, diversity; of a model or of saved vertices; of whole sequences or of long ones."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
from rich.progress import Progress, TimeRemainingColumn

from streamingtalker.checkpoint import load_talker
from streamingtalker.config import RATE
from streamingtalker.errors import command_line
from streamingtalker.evaluation import pictures, tables
from streamingtalker.evaluation.figures import Score, score
from streamingtalker.evaluation.methods import Method, PredictionError, SavedMethod, TalkerMethod
from streamingtalker.evaluation.sequences import Target, TestBed, joined
from streamingtalker.generate import DEFAULT_WEIGHTS
from streamingtalker.places import make_place, writing

_POLICY = "a known speaker in their own style; for an unknown one every style, averaged"


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m streamingtalker.evaluate",
        description="Score a model, or the vertices any method saved, against a split of a corpus.",
        epilog="Also: --table REPORT.json … prints reports side by side; --articulation --help tells of lip shapes.",
    )
    parser.add_argument("--data", type=Path, required=True, help="the corpus", metavar="DIR")
    parser.add_argument("--split", default="test", help="as in its corpus.json (default: test)")
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--checkpoint", type=Path, default=DEFAULT_WEIGHTS, help="a model (default: ours)", metavar="FILE"
    )
    what.add_argument("--predictions", type=Path, help="folder of <sequence>.npy, absolute vertices", metavar="DIR")
    parser.add_argument("--name", help="what the method is called in the report (default: its file's name)")
    parser.add_argument("--json", type=Path, help="where the report goes", metavar="OUT.json")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="draws; two or more give diversity")
    parser.add_argument("--identity", type=int, help="ask for this style, whoever speaks", metavar="N")
    parser.add_argument("--sequences", type=int, help="only the first N of the split", metavar="N")
    parser.add_argument(
        "--long", type=int, help="join sequences to FRAMES frames each; also by tenths", metavar="FRAMES"
    )
    parser.add_argument("--export", type=Path, help="write sound and truth of the sequences for others", metavar="DIR")
    parser.add_argument("--pictures", type=Path, help="folder for a heat map of the errors and films", metavar="DIR")
    parser.add_argument(
        "--films", type=int, default=1, help="films in --pictures: of the first N sequences", metavar="N"
    )
    parser.add_argument("--beside", type=Path, help="another method's .npy folder, third in the films", metavar="DIR")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or mps (default: cpu)")
    return parser.parse_args(argv)


@command_line
def main(argv: list[str] | None = None) -> int:
    """The command line. Gives the exit status."""
    arguments = _arguments(argv)
    if arguments.json:
        make_place(arguments.json, "The report")
    bed = TestBed(arguments.data)
    targets = bed.targets(arguments.split, arguments.sequences)
    if arguments.long:
        targets = joined(targets, arguments.long)
    if arguments.export:
        with writing(arguments.export):
            return _export(bed, targets, arguments.export)
    method = _method(arguments, bed)
    scores = _score_all(bed, method, targets, arguments.seeds, tenths=bool(arguments.long))
    policy = _POLICY if arguments.identity is None else f"style {arguments.identity} for everybody"
    split = f"{arguments.split}, {arguments.long} frames" if arguments.long else arguments.split
    document = tables.report(bed, method.name, split, arguments.seeds, policy, scores)
    if arguments.json:
        tables.write(arguments.json, document)
    if arguments.pictures:
        with writing(arguments.pictures):
            _draw(arguments, bed, method, targets, scores)
    print(tables.table([document]))
    if arguments.long:
        print(f"\n{tables.tenths_table(document)}")
    return 0


def _export(bed: TestBed, targets: Sequence[Target], folder: Path) -> int:
    """``wav/`` and ``vertices_npy/`` of the very sequences that are scored, so that any method can be run on them."""
    for name in ("wav", "vertices_npy"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for target in targets:
        soundfile.write(folder / "wav" / f"{target.name}.wav", bed.sound(target), RATE)
        motion = np.concatenate(list(bed.true_motion(target)))
        np.save(folder / "vertices_npy" / f"{target.name}.npy", motion.reshape(len(motion), -1))
    print(f"{folder}: {len(targets)} sequences.")
    return 0


def _method(arguments: argparse.Namespace, bed: TestBed) -> Method:
    if arguments.predictions:
        if len(arguments.seeds) > 1:
            raise PredictionError("Saved motion is the same for every seed, so it has no diversity; leave out --seeds.")
        return SavedMethod(arguments.predictions, arguments.name)
    talker = load_talker(arguments.checkpoint, arguments.device)
    return TalkerMethod(talker, bed, arguments.name or arguments.checkpoint.stem, arguments.identity)


def _score_all(
    bed: TestBed, method: Method, targets: Sequence[Target], seeds: Sequence[int], *, tenths: bool
) -> list[Score]:
    total = sum(target.frames * len(method.conditions(target)) for target in targets) * len(seeds)
    with Progress(*Progress.get_default_columns()[:-1], TimeRemainingColumn()) as bar:
        task = bar.add_task("frames", total=total)
        return [
            score(bed, method, target, seeds, tenths=tenths, progress=lambda count: bar.advance(task, count))
            for target in targets
        ]


def _draw(
    arguments: argparse.Namespace, bed: TestBed, method: Method, targets: Sequence[Target], scores: Sequence[Score]
) -> None:
    folder: Path = arguments.pictures
    folder.mkdir(parents=True, exist_ok=True)
    pictures.write_heat_map(folder / "errors.png", bed, [each.vertex_errors for each in scores], method.name)
    others = [SavedMethod(arguments.beside)] if arguments.beside else []
    for target in targets[: arguments.films]:
        pictures.write_film(folder / f"{target.name}.mp4", bed, target, [method, *others], arguments.seeds[0])


if __name__ == "__main__":
    sys.exit(main())
