"""Files that are damaged: every kind the program opens, bit by bit and cut short.

``python -m tests.hostile_files`` flips a thousand bits of one file of each kind, one at a time, and cuts it at every
hundredth of its length. Each of them must be opened, or refused by a sentence that names the file, within five seconds.
Each kind has a process of its own, so that what one needed in memory does not hide what the next one needs.
"""

import argparse
import pickle
import resource
import sys
import tempfile
import time
import wave
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from demo.gltf_head import load_gltf_head
from demo.persona import load_persona
from demo.settings import ASSETS, from_toml
from streamingtalker.audio.files import load_audio
from streamingtalker.checkpoint import load_talker, save_talker
from streamingtalker.convert.torch_file import read_state
from streamingtalker.errors import UserError
from streamingtalker.safe_pickle import read_pickle

SECONDS = 5.0  # until a file is opened or refused
MEGABYTES = 400.0  # that opening a small file may take


@dataclass(frozen=True)
class Kind:
    """A kind of file."""

    name: str  # of the file
    write: Callable[[Path], object]  # a whole one
    open: Callable[[Path], object]


@dataclass
class Report:
    """What became of the damaged files of one kind."""

    kind: str
    opened: int = 0
    refused: int = 0
    slowest: float = 0.0  # seconds
    megabytes: float = 0.0  # that the process has grown by
    failures: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.kind:20} opened {self.opened:5d}  refused {self.refused:5d}  failed {len(self.failures):3d}  "
            f"slowest {self.slowest:.2f} s  grown by {self.megabytes:.0f} MB"
        )


def damaged(whole: bytes, flips: int, cuts: int, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """``whole`` with one bit flipped, ``flips`` times, half of them in its first kilobyte; and cut short."""
    random = np.random.default_rng(seed)
    for number in range(flips):
        length = len(whole) if number % 2 else min(len(whole), 1024)
        place, bit = int(random.integers(length)), int(random.integers(8))
        data = bytearray(whole)
        data[place] ^= 1 << bit
        yield f"bit {bit} of byte {place}", bytes(data)
    for part in range(cuts):
        yield f"cut at {part}/{cuts}", whole[: len(whole) * part // cuts]


def attack(kind: Kind, folder: Path, flips: int, cuts: int) -> Report:
    """Open every damaged version of a file of ``kind``."""
    path = folder / kind.name
    kind.write(path)
    kind.open(path)
    report, before = Report(kind.name), _peak_megabytes()
    for damage, data in damaged(path.read_bytes(), flips, cuts):
        path.write_bytes(data)
        _open(kind, path, damage, report)
    report.megabytes = _peak_megabytes() - before
    if report.megabytes > MEGABYTES:
        report.failures.append(f"grown by {report.megabytes:.0f} MB")
    return report


def _open(kind: Kind, path: Path, damage: str, report: Report) -> None:
    began = time.monotonic()
    try:
        kind.open(path)
        report.opened += 1
    except UserError as error:
        report.refused += 1
        if path.name not in str(error):
            report.failures.append(f"{damage}: does not name the file: {error}")
    except Exception as error:
        report.failures.append(f"{damage}: {type(error).__name__}: {error}")
    took = time.monotonic() - began
    report.slowest = max(report.slowest, took)
    if took > SECONDS:
        report.failures.append(f"{damage}: took {took:.1f} s")


def _peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 if sys.platform == "darwin" else 1024) / 1024


def _write_checkpoint(path: Path) -> None:
    from tests.conftest import tiny_talker

    save_talker(path, tiny_talker())


def _write_torch(path: Path) -> None:
    torch.save({"state_dict": {"layer.weight": torch.randn(8, 8), "layer.bias": torch.randn(8)}}, path)


def _write_pickle(path: Path) -> None:
    random = np.random.default_rng(0)
    path.write_bytes(pickle.dumps({name: random.normal(size=(12, 3)) for name in ("one", "two")}))


def _write_wav(path: Path) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes((np.sin(np.arange(4000) / 8) * 9000).astype("<i2").tobytes())


def _write_mp3(path: Path) -> None:
    import soundfile

    soundfile.write(path, np.sin(np.arange(16000) / 8) * 0.3, 16000, format="MP3")


def _write_glb(path: Path) -> None:
    from tests.test_export import tiny

    tiny(path, ["jawOpen", "eyeBlink_L"], baseColorFactor=[1, 0, 0, 1])


KINDS = (
    Kind("talker.safetensors", _write_checkpoint, load_talker),
    Kind("published.ckpt", _write_torch, read_state),
    Kind("templates.pkl", _write_pickle, read_pickle),
    Kind("speech.wav", _write_wav, load_audio),
    Kind("speech.mp3", _write_mp3, load_audio),
    Kind("head.glb", _write_glb, load_gltf_head),
    Kind("persona.toml", lambda path: path.write_bytes((ASSETS / "personas" / "host.toml").read_bytes()), load_persona),
    Kind("settings.toml", lambda path: path.write_text('avatar = "kwame"\nseed = 3\ntext = ["Hello"]\n'), from_toml),
)


def attack_alone(name: str, flips: int, cuts: int) -> Report:
    """:func:`attack` on the kind of that ``name``, in a folder of its own: what a process of its own runs."""
    kind = next(kind for kind in KINDS if kind.name == name)
    with tempfile.TemporaryDirectory() as folder:
        return attack(kind, Path(folder), flips, cuts)


def survived(done: "Future[Report]", name: str) -> Report:
    """What is ``done``; a decoder that crashed took its process along, and with it every kind not told of before."""
    try:
        return done.result()
    except BrokenProcessPool:
        return Report(name, failures=["not finished: a process died, of this kind or of another not finished either"])


def main() -> int:
    """The command line. Gives the exit status: 1 where a file was neither opened nor properly refused."""
    parser = argparse.ArgumentParser(prog="python -m tests.hostile_files", description=__doc__)
    parser.add_argument("--flips", type=int, default=1000, help="bits, one at a time (default: 1000)")
    parser.add_argument("--cuts", type=int, default=100, help="lengths (default: every hundredth)")
    options = parser.parse_args()
    failed = False
    with ProcessPoolExecutor(mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        running = {pool.submit(attack_alone, kind.name, options.flips, options.cuts): kind.name for kind in KINDS}
        for done in as_completed(running):
            report = survived(done, running[done])
            failed = failed or bool(report.failures)
            print(report, *report.failures[:8], sep="\n    ", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
