"""Chooses what is measured: ``python -m demo.measure conversation --help``."""

import importlib
import sys

MODES = {
    "answer": "demo.measure.answer",
    "conversation": "demo.measure.conversation",
    "judge": "demo.measure.judge",
    "kiosk": "demo.measure.kiosk",
    "sync": "demo.measure.sync",
}


def main(argv: list[str] | None = None) -> int:
    """The command line. Gives the exit status of the measurement that ``argv`` names first."""
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] not in MODES:
        print(f"usage: python -m demo.measure {{{','.join(MODES)}}} [--help]", file=sys.stderr)
        return 0 if argv and argv[0] in ("-h", "--help") else 2
    return int(importlib.import_module(MODES[argv[0]]).main(argv[1:]))


if __name__ == "__main__":
    sys.exit(main())
