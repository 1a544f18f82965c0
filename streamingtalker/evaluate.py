"""Scores: ``python -m streamingtalker.evaluate --help``.

Each kind of evaluation is a module of ``streamingtalker.evaluation`` with a command line of its own; this one only
chooses.
"""

import importlib
import sys

MODES = {  # option that chooses a kind of evaluation: its module
    "--articulation": "streamingtalker.evaluation.articulation",
    "--table": "streamingtalker.evaluation.tables",
}
USUAL = "streamingtalker.evaluation.splits"


def main(argv: list[str] | None = None) -> int:
    """The command line. Gives the exit status of the evaluation that ``argv`` asks for."""
    argv = sys.argv[1:] if argv is None else argv
    chosen = next((module for option, module in MODES.items() if option in argv), USUAL)
    return int(importlib.import_module(chosen).main(argv))


if __name__ == "__main__":
    sys.exit(main())
