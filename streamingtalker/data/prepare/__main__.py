"""``python -m streamingtalker.data.prepare vocaset|biwi --raw DIR --out DIR``."""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

from streamingtalker.data.prepare.datasets import DATA_SETS, DataSet
from streamingtalker.data.prepare.sources import SourceError, open_source
from streamingtalker.data.prepare.writer import Outcome, Trouble, check, find_regions, prepare
from streamingtalker.errors import command_line
from streamingtalker.places import make_place, writing


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m streamingtalker.data.prepare",
        description="Make a corpus of VOCASET or BIWI, from their raw files or from vertices_npy/, wav/ and "
        "templates.pkl. A run that was broken off goes on where it stopped.",
    )
    parser.add_argument("data_set", choices=sorted(DATA_SETS), help="which data set")
    parser.add_argument("--raw", type=Path, help="folder of the data set's files", metavar="DIR")
    parser.add_argument("--out", type=Path, required=True, help="folder of the corpus", metavar="DIR")
    parser.add_argument("--masks", type=Path, help="FLAME_masks.pkl (default: in --raw); VOCASET", metavar="FILE")
    parser.add_argument("--regions", type=Path, help="folder of lve.txt, fdd.txt (default: RAW/regions); BIWI")
    parser.add_argument("--check", action="store_true", help="only read the corpus in --out and name what is broken")
    return parser.parse_args(argv)


@command_line
def main(argv: list[str] | None = None) -> int:
    """The command line: 0 where every sequence is there, 1 where some are not, 2 where there is no corpus."""
    arguments = _arguments(argv)
    data_set = DATA_SETS[arguments.data_set]
    with writing(arguments.out):
        if arguments.check:
            return _check(data_set, arguments.out)
        if arguments.raw is None:
            raise SourceError("--raw is missing; give the folder of the data set's files.")
        make_place(arguments.out / "corpus.json", "The corpus")
        source = open_source(data_set, arguments.raw)
        regions = find_regions(data_set, arguments.raw, arguments.masks, arguments.regions)
        columns = *Progress.get_default_columns()[:-1], MofNCompleteColumn(), TimeRemainingColumn()
        with Progress(*columns) as bar:
            task = bar.add_task(f"{data_set.name} sequences", total=None)
            outcome = prepare(
                data_set,
                source,
                arguments.out,
                regions,
                done=lambda: bar.advance(task),
                begin=lambda total: bar.update(task, total=total),
            )
    _tell(arguments.out, outcome)
    return int(bool(outcome.troubles))


def _check(data_set: DataSet, out: Path) -> int:
    manifest = out / "corpus.json"
    try:
        clips = [clip["name"] for clip in json.loads(manifest.read_text())["clips"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SourceError(f"{manifest} cannot be read ({error}); prepare the corpus first.") from error
    troubles = check(out, data_set, clips)
    _name(troubles)
    print(f"{out}: {len(clips)} sequences, {len(troubles)} missing or broken.")
    return int(bool(troubles))


def _tell(out: Path, outcome: Outcome) -> None:
    for item in outcome.prepared:
        if item.remark:
            print(f"  {item.wanted.name}: {item.remark}")
    _name(outcome.troubles)
    counts = Counter(item.wanted.split for item in outcome.prepared)
    listed = ", ".join(f"{split} {count}" for split, count in counts.items()) or "none"
    print(f"{out}: sequences of {listed}; {len(outcome.troubles)} missing or broken.")


def _name(troubles: Sequence[Trouble]) -> None:
    for trouble in troubles:
        print(f"  {trouble.split} {trouble.name}: {trouble.reason}")


if __name__ == "__main__":
    sys.exit(main())
