"""Training: ``python -m streamingtalker.train vqvae|encoder|talker|all|judge|student --data corpus --out runs/x``.

``vqvae`` is stage 1; ``encoder`` lets the audio encoder learn to give the motion directly, which is the regression
baseline; ``talker`` is stage 2, from what the others left in the same folder; ``all`` is one after another; ``judge``
only judges finished weights on the test sentences, with ``--recogniser`` also as that one hears them. ``student``
teaches the small phoneme recogniser, ``recogniser.safetensors``. The folder gets ``vqvae.safetensors``,
``regression.safetensors``, ``talker.safetensors`` (``talker-linear.safetensors`` with the paper's head) and
``figures.json``.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch

from streamingtalker.audio.posteriors import RECOGNISERS
from streamingtalker.errors import UserError, command_line
from streamingtalker.places import writing
from streamingtalker.topology import DEFAULT_AVATAR
from streamingtalker.training.loop import progress_bar
from streamingtalker.training.machines import open_machines
from streamingtalker.training.own_run import OwnRun
from streamingtalker.training.published import PRESETS
from streamingtalker.training.published_run import PublishedRun
from streamingtalker.training.variants import BASELINES, VARIANTS

RUNS: dict[str, type[OwnRun] | type[PublishedRun]] = {"default": OwnRun, **dict.fromkeys(PRESETS, PublishedRun)}

_OURS, _PAPERS = "vqvae encoder talker all judge student", "vqvae talker all"
USED = {  # option: the stages of our network that use it, and those of the paper's
    "preset": (_OURS, _PAPERS),
    "data": (_OURS, _PAPERS),
    "out": (_OURS, _PAPERS),
    "threads": (_OURS, _PAPERS),
    "avatar": ("vqvae encoder talker all judge", ""),
    "minutes": ("vqvae encoder talker all student", _PAPERS),
    "steps": ("vqvae encoder talker all student", _PAPERS),
    "head": ("talker all", ""),
    "variant": ("vqvae encoder talker all", ""),
    "baseline": ("vqvae encoder talker all", ""),
    "seed": ("vqvae encoder talker all student", _PAPERS),
    "jobs": (_OURS, ""),
    "checkpoint": ("judge", ""),
    "recogniser": ("vqvae encoder talker all judge", ""),
    "resume": ("vqvae encoder talker all", _PAPERS),
    "save_every": ("vqvae encoder talker all", _PAPERS),
    "checks": ("vqvae talker all", _PAPERS),
    "epochs": ("", _PAPERS),
    "rate": ("", _PAPERS),
    "halve_every": ("", "vqvae all"),
    "batch": ("", _PAPERS),
    "history": ("", "talker all"),
    "hubert": ("", "talker all"),
    "dims": ("", _PAPERS),
    "device": ("vqvae encoder talker all judge", _PAPERS),
    "bf16": ("vqvae encoder talker all student", _PAPERS),
}


class OptionError(UserError):
    """An option that would be ignored, or a stage that does not exist."""


def _table(text: str) -> Any:  # noqa: ANN401 - what it is, is checked where it is used
    try:
        return json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"is no JSON: {error}") from error


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m streamingtalker.train", description=__doc__)
    parser.add_argument("stage", choices=["vqvae", "encoder", "talker", "all", "judge", "student"])
    parser.add_argument(
        "--preset", choices=list(RUNS), default="default", help="our network, or the paper's for a data set"
    )
    parser.add_argument("--data", type=Path, default=Path("corpus"), metavar="DIR")
    parser.add_argument("--avatar", type=Path, default=DEFAULT_AVATAR, metavar="FILE", help="whose mesh to train for")
    parser.add_argument("--out", type=Path, default=Path("runs/default"), metavar="DIR")
    length = parser.add_mutually_exclusive_group()
    length.add_argument(
        "--minutes", type=float, help="of training (default: 20; what comes out depends on the machine)"
    )
    length.add_argument("--steps", type=int, help="of training, over all stages, instead of minutes")
    length.add_argument("--epochs", type=int, help="vocaset and biwi: of each stage, instead of the paper's 400")
    parser.add_argument("--head", choices=["mlp", "linear"], default="mlp", help="diffusion head; linear: the paper's")
    without = parser.add_mutually_exclusive_group()
    without.add_argument("--variant", choices=list(VARIANTS), help="our network without a part, as in Table 3")
    without.add_argument("--baseline", choices=list(BASELINES), help="another kind of network from the same layers")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--threads", type=int, default=torch.get_num_threads(), help="of the optimiser; 1 where other programs run"
    )
    parser.add_argument("--jobs", type=int, default=2, help="processes that make audio features")
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="weights to judge, if not those in --out")
    parser.add_argument(
        "--recogniser", choices=RECOGNISERS, nargs="*", default=[], help="judge also with these phoneme recognisers"
    )
    parser.add_argument("--resume", action="store_true", help="go on where the training in --out was broken off")
    parser.add_argument("--save-every", type=int, default=500, metavar="N", help="steps between states to resume from")
    parser.add_argument("--checks", type=int, default=10, help="looks at validation clips in a stage; 0 for none")
    paper = parser.add_argument_group("presets vocaset and biwi")
    paper.add_argument("--rate", type=float, help="learning rate, instead of the paper's 1e-4")
    paper.add_argument("--halve-every", type=int, metavar="E", help="of 400 epochs of stage 1, for the rate; 0: never")
    paper.add_argument("--batch", type=int, default=1, help="sequences in a batch (default: 1, as in the paper)")
    paper.add_argument("--history", type=int, metavar="H", help="frames of stage 2's windows; 0: whole sequences")
    paper.add_argument("--hubert", type=Path, metavar="DIR", help="hubert-base-ls960 in the format of transformers")
    paper.add_argument("--dims", type=_table, default={}, metavar="JSON", help="dimensions that differ from the preset")
    parser.add_argument("--device", default="cpu", help="where the optimiser runs: cpu or cuda")
    parser.add_argument("--bf16", action="store_true", help="compute in bfloat16 where that is safe")
    options = parser.parse_args(argv)
    blank = argparse.Namespace(**dict.fromkeys(vars(options)))  # keeps None where the command line says nothing
    given = [name for name, value in vars(parser.parse_args(argv, blank)).items() if value is not None]
    _check_used([name for name in given if name != "stage"], options.stage, options.preset)
    options.words = argv
    return options


def _check_used(given: list[str], stage: str, preset: str) -> None:
    """Raises OptionError where a training would ignore an option that is ``given``."""
    papers = preset in PRESETS
    if papers and stage not in _PAPERS.split():
        raise OptionError(f"The published network has no stage {stage!r}; choose vqvae, talker or all.")
    unused = [f"--{name.replace('_', '-')}" for name in given if stage not in USED[name][papers].split()]
    if unused:
        raise OptionError(f"Stage {stage!r} of preset {preset!r} does not use {', '.join(unused)}; leave that out.")


@command_line
def main(argv: list[str] | None = None) -> int:
    """The command line. Gives the exit status."""
    options = _arguments(sys.argv[1:] if argv is None else argv)
    torch.set_num_threads(options.threads)
    machines, options.device = open_machines(options.device)
    with progress_bar(shown=machines.first) as bar:
        run = RUNS[options.preset](options, machines)
        with writing(run.out):
            run.out.mkdir(parents=True, exist_ok=True)
        run.go(bar)
        run.write_figures()
    if machines.first:
        print(f"Written to {options.out}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
