"""Measurements of speed: ``python -m streamingtalker.bench latency``. Each kind is a module with a ``main``."""

import importlib
import sys

MODES = {
    "latency": "streamingtalker.benchmark.latency",
    "frames": "streamingtalker.benchmark.frames",
    "components": "streamingtalker.benchmark.components",
    "hearing": "streamingtalker.benchmark.hearing",
    "sessions": "streamingtalker.benchmark.sessions",
    "render": "demo.render_bench",  # by name only: nothing here knows of windows
}


def main(argv: list[str] | None = None) -> int:
    """The command line. Gives the exit status of the measurement that ``argv`` names first."""
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] not in MODES:
        print(f"usage: python -m streamingtalker.bench {{{','.join(MODES)}}} [--help]", file=sys.stderr)
        return 0 if argv and argv[0] in ("-h", "--help") else 2
    return int(importlib.import_module(MODES[argv[0]]).main(argv[1:]))


if __name__ == "__main__":
    sys.exit(main())
