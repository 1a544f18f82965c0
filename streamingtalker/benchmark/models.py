"""What is measured: a model from its file, or one of the paper's size with random weights, and how it runs."""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from streamingtalker.audio import load_pcm
from streamingtalker.audio.posteriors import RECOGNISERS, open_recogniser
from streamingtalker.benchmark.machine import machine
from streamingtalker.checkpoint import load_talker
from streamingtalker.errors import UserError
from streamingtalker.generate import DEFAULT_WEIGHTS
from streamingtalker.places import make_place, writing
from streamingtalker.released import ReleasedTalker
from streamingtalker.released.dims import NETWORKS
from streamingtalker.running import PRECISIONS, Running
from streamingtalker.streamer import FaceModel
from streamingtalker.topology import Topology

SPEECH = Path(__file__).resolve().parents[2] / "assets" / "questions"
LARGEST = 0.01  # metres: how far the lips of a random network go, as a talking mouth's do


def model_arguments() -> argparse.ArgumentParser:
    """The options that all measurements of a model share, for ``parents``."""
    parser = argparse.ArgumentParser(add_help=False)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--checkpoint", type=Path, help="a model (default: ours)", metavar="FILE")
    what.add_argument("--preset", choices=sorted(NETWORKS), help="the paper's network for a data set, random weights")
    parser.add_argument("--recogniser", choices=RECOGNISERS, help="in front of our audio encoder (default: the best)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or mps (default: cpu)")
    parser.add_argument("--threads", type=int, help="of PyTorch (default: as many as it likes)", metavar="N")
    parser.add_argument("--precision", choices=sorted(PRECISIONS), default="float32", help="of HuBERT's products")
    parser.add_argument("--compile", action="store_true", help="torch.compile for its decoder and HuBERT")
    parser.add_argument("--speech", type=Path, nargs="+", help="recordings to speak (default: bundled questions)")
    parser.add_argument("--json", type=Path, help="where the figures go", metavar="OUT.json")
    return parser


@dataclass(frozen=True)
class Subject:
    """A model under measurement."""

    name: str
    model: FaceModel
    speech: np.ndarray  # 16 kHz float32
    about: dict[str, Any]  # the machine and how the model runs

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> "Subject":
        """What the command line names, hearing as in a conversation. Raises UserError."""
        if arguments.json:
            make_place(arguments.json, "The report")
        if arguments.threads:
            torch.set_num_threads(arguments.threads)
        speech = load_speech(arguments.speech or sorted(SPEECH.glob("*.wav")))
        name, model = _open(arguments)
        model.audio.hear_live()
        about = machine(arguments.device) | {key: getattr(arguments, key) for key in ("precision", "compile")}
        return cls(name, model, speech, {"model": name, "machine": about})


def keep(path: Path | None, document: Mapping[str, Any]) -> None:
    """Write the figures of a measurement, where somebody wants them. Raises PlaceError."""
    if path:
        with writing(path):
            path.write_text(json.dumps(document, indent=1) + "\n")


def random_talker(preset: str, device: str = "cpu") -> ReleasedTalker:
    """The paper's network for a data set with random weights, HuBERT included; offsets of natural size.

    Raises UserError where its library or the device is missing.
    """
    from streamingtalker.training.published import PRESETS

    dims = PRESETS[preset].dims
    torch.manual_seed(0)
    try:
        talker = ReleasedTalker(dims, Topology.unknown(dims.motion.vertices)).to(device).eval()
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"Device {device!r} cannot be used here; choose 'cpu' ({str(error)[:80]}).") from error
    with torch.no_grad():
        talker.start.copy_(talker.vqvae.still())
        sample = talker.vqvae.decode(torch.randn(1, 30, dims.motion.latent).to(talker.start))
        talker.vqvae.out.weight.mul_(LARGEST / sample.abs().max())
        talker.vqvae.out.bias.zero_()
    return talker


def load_speech(paths: Sequence[Path]) -> np.ndarray:
    """Recordings one after the other, 16 kHz float32."""
    return np.concatenate([load_pcm(path) for path in paths])


def _open(arguments: argparse.Namespace) -> tuple[str, FaceModel]:
    model: FaceModel
    if arguments.preset:
        name, model = f"{arguments.preset}, random weights", random_talker(arguments.preset, arguments.device)
    else:
        path = arguments.checkpoint or DEFAULT_WEIGHTS
        recogniser = partial(open_recogniser, arguments.recogniser) if arguments.recogniser else None
        name, model = path.stem, load_talker(path, arguments.device, recogniser)
    running = Running(arguments.precision, arguments.compile)
    if isinstance(model, ReleasedTalker):
        model.run_as(running)
    elif running != Running():
        raise UserError("--precision and --compile are for the published network; leave them out.")
    return name, model
