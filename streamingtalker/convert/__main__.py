"""``python -m streamingtalker.convert released …``: the paper's published files made into ours."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from streamingtalker.checkpoint import save_talker
from streamingtalker.convert.files import PublishedFiles, convert
from streamingtalker.errors import command_line
from streamingtalker.places import make_place
from streamingtalker.tensor_file import TALKER

DESCRIPTION = "Make the files published with the paper into a checkpoint that this project runs."
RELEASED = """\
python -m streamingtalker.convert released takes files that come with the paper's code and with VOCASET or BIWI:

              VOCASET                    BIWI
  --vqvae     voca_vae.ckpt              biwi_vae.ckpt
  --talker    diffar_voca_241120.ckpt    diffar_biwi_241212.ckpt
  --templates templates.pkl              templates.pkl
  --mesh      FLAME_sample.ply           BIWI.ply
  --masks     FLAME_masks.pkl            (--regions DIR with lve.txt, fdd.txt)

Nothing in them is run: checkpoints are opened for their tensors only, pickles in a process with little memory and time
that finds nothing but arrays of numbers. Every tensor is used, or named with the reason why not.

Then let it speak:

  python -m streamingtalker.generate speech.wav --checkpoint DIR --out motion.npz
  python run_demo.py --talker DIR
"""


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m streamingtalker.convert",
        description=DESCRIPTION,
        epilog=RELEASED,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="released")
    released = kinds.add_parser(
        "released",
        help="the weights published with the paper",
        description=DESCRIPTION,
        epilog=RELEASED,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = released.add_argument
    add("--vqvae", type=Path, required=True, help="checkpoint of stage 1, the VQ-VAE", metavar="FILE.ckpt")
    add("--talker", type=Path, required=True, help="checkpoint of stage 2, with HuBERT inside", metavar="FILE.ckpt")
    add("--templates", type=Path, required=True, help="rest shapes of all subjects", metavar="FILE.pkl")
    add("--mesh", type=Path, required=True, help="the mesh's triangles", metavar="FILE.ply")
    add("--masks", type=Path, help="VOCASET's regions of the face, for metrics", metavar="FILE.pkl")
    add("--regions", type=Path, help="BIWI's regions of the face, for metrics", metavar="DIR")
    add("--subject", help="whose rest shape the face gets (default: the first the network learnt)", metavar="NAME")
    add("--out", type=Path, required=True, help="folder of the result", metavar="DIR")
    return parser.parse_args(argv)


@command_line
def main(argv: Sequence[str] | None = None) -> int:
    """The command line. Gives the exit status."""
    arguments = _arguments(argv)
    chosen = {name: value for name, value in vars(arguments).items() if name not in ("kind", "out")}
    files, out = PublishedFiles(**chosen), arguments.out / TALKER
    make_place(out, "The talker")
    result = convert(files)
    save_talker(out, result.talker, result.card(files))
    for note in result.notes:
        print(f"Note: {note}.")
    dims = result.talker.dims
    print(f"{out}: the talker of {result.data_set.name}, {dims.styles} identities, {dims.fps} frames a second.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
