"""Messages nobody would send: valid ones bent out of shape, and a search for bytes that reach new code.

``python -m tests.fuzz_messages --seconds 300`` lets atheris look for such bytes, guided by coverage, and prints what it
found. Whatever the bytes are, ``decode`` gives a message or raises WireError within 50 ms, and keeps nothing.
"""

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import msgpack

from demo.messages import (
    Commit,
    FaceFrame,
    Hello,
    Interrupt,
    NewConversation,
    Notice,
    PcmChunk,
    Performance,
    ReplyText,
    SayPhrase,
    SayText,
    TurnEnd,
    UserText,
    Welcome,
    WireError,
    decode,
    encode,
)

SLOWEST = 0.050  # seconds for one message
MEGABYTES = 10.0  # that all of them may leave behind
LEARNING = 20_000  # inputs until caches are filled and growth counts

WHOLE = tuple(
    encode(message)
    for message in (
        Hello(3, "happy:0.6"),
        UserText(1, "What is the capital of France?", True),
        Commit(1),
        SayText(2, "Guten Tag, Grüße!"),
        SayPhrase(3, "greeting"),
        Performance(4, b"\0\1" * 20, 16_000, False),
        Interrupt(4, 4711),
        NewConversation(),
        Welcome(3, "maya", 5, 30.0, 24_000, {"llm": "x", "tts": "y"}, "mesh", "neutral", True),
        ReplyText(1, "Paris.", 0, "neutral"),
        PcmChunk(1, 0, b"\0\1" * 20),
        FaceFrame(1, 0, bytes(30)),
        TurnEnd(1, "Paris.", 20, 1, {"first_frame": 12.5}),
        Notice("warning", "The voice has changed."),
    )
)
# What once was slow or large, and what claims more than it holds.
HOSTILE = (
    b"\xdd\x00\x00\xff\xf0" + b"\x90" * 0xFFF0,  # a list of lists
    b"\xdf\x00\x00\x40\x00" + b"".join(b"\xa2" + bytes((65 + i // 128, i % 128)) + b"\x80" for i in range(0x4000)),
    b"\x81\xa1a" * 10_000,  # maps in maps
    b"\x91" * 100_000,
    *(head + b"\xff\xff\xff\xff" for head in (b"\xc6", b"\xc9", b"\xdb", b"\xdd", b"\xdf")),
    msgpack.packb({"type": "SayText", "turn": 1, "text": "a" * 200_000}),
    msgpack.packb({"type": "Interrupt", "turn": 2**64 - 1, "heard_samples": -(2**63)}),
    msgpack.packb(
        {"type": "TurnEnd", "turn": 1, "reply": "", "samples": 0, "frames": 0, "spans_ms": {"x": float("nan")}}
    ),
    msgpack.packb(msgpack.Timestamp(0, 0)),
)


def bent(data: bytes, count: int, seed: int) -> Iterator[bytes]:
    """``data`` with up to four pieces changed, cut out, doubled or replaced by some of another message."""
    chance = random.Random(seed)
    for _ in range(count):
        message = bytearray(data)
        for _ in range(chance.randint(1, 4)):
            _bend(message, chance)
        yield bytes(message)


def _bend(message: bytearray, chance: random.Random) -> None:
    start = chance.randint(0, len(message))
    end = min(len(message), start + chance.randint(1, 8))
    match chance.randint(0, 5):
        case 0:
            message[start:end] = chance.randbytes(end - start)
        case 1:
            del message[start:end]
        case 2:
            message[start:start] = message[start:end]
        case 3 if end > start:
            message[start] ^= 1 << chance.randint(0, 7)
        case 4 if end > start:
            message[start] = chance.choice(b"\x00\x7f\x80\x90\xc1\xc6\xc9\xcb\xd9\xdb\xdf\xff")
        case _:
            other = chance.choice(WHOLE)
            cut = chance.randint(0, len(other) - 1)
            message[start:end] = other[cut : cut + 12]


@dataclass
class Report:
    """What became of the inputs so far."""

    inputs: int = 0
    messages: int = 0  # that were some
    slowest: float = 0.0  # seconds
    settled: float = 0.0  # megabytes after LEARNING inputs
    grown: float = 0.0  # megabytes since
    seconds: float = 0.0
    failures: list[str] = field(default_factory=list)

    def examine(self, data: bytes) -> None:
        """Decode ``data``; what it must not do is written down."""
        began = time.thread_time()  # of this thread: the machine may be busy with something else
        try:
            message = decode(data)
        except WireError:
            message = None
        except BaseException as error:
            self.failures.append(f"{type(error).__name__}: {error}: {data[:200]!r}")
            raise
        took = time.thread_time() - began
        self.inputs += 1
        if message is not None:
            self.messages += 1
            if decode(encode(message)) != message:
                self.failures.append(f"another message came back: {data[:200]!r}")
        self.slowest = max(self.slowest, took)
        if took > SLOWEST:
            self.failures.append(f"took {took * 1000:.0f} ms: {data[:200]!r}")
        if self.inputs == LEARNING:
            self.settled = _megabytes()

    def finish(self) -> "Report":
        """The same with how much memory has been left behind."""
        self.grown = max(0.0, _megabytes() - self.settled) if self.settled else 0.0
        if self.grown > MEGABYTES:
            self.failures.append(f"grown by {self.grown:.0f} MB")
        return self

    def __str__(self) -> str:
        return (
            f"{self.inputs} inputs ({self.messages} of them messages) in {self.seconds:.0f} s: "
            f"{len(self.failures)} failures, slowest {self.slowest * 1000:.1f} ms, grown by {self.grown:.1f} MB"
        )


def _megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 if sys.platform == "darwin" else 1024) / 1024


def _search(seconds: int, folder: Path) -> None:
    """Let atheris look for inputs; it ends the process. Writes the report as it goes."""
    import atheris

    with atheris.instrument_imports(include=["demo.messages"]):
        import importlib

        import demo.messages

        globals()["decode"] = importlib.reload(demo.messages).decode
        globals()["encode"], globals()["WireError"] = demo.messages.encode, demo.messages.WireError
    report, began = Report(), time.monotonic()

    def one(data: bytes) -> None:
        report.examine(data)
        if report.inputs % 5000 == 0:
            report.seconds = time.monotonic() - began
            (folder / "report.json").write_text(json.dumps(asdict(report.finish())))

    corpus = folder / "corpus"
    corpus.mkdir()
    for number, data in enumerate((*WHOLE, *HOSTILE)):
        (corpus / str(number)).write_bytes(data)
    options = [
        f"-max_total_time={seconds}",
        "-max_len=4096",
        "-timeout=5",
        "-rss_limit_mb=1024",
        "-print_final_stats=1",
    ]
    atheris.Setup(["fuzz_messages", str(corpus), *options, f"-artifact_prefix={folder}/"], one)
    atheris.Fuzz()


def search(seconds: int) -> Report:
    """Search for ``seconds`` in a process of its own. Raises CalledProcessError where atheris found a crash."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "tests.fuzz_messages", "--seconds", str(seconds), "--folder", folder]
        subprocess.run(command, check=True, env=os.environ | {"PYTHONHASHSEED": "0"})
        values = json.loads((Path(folder) / "report.json").read_text())
        print(len(list((Path(folder) / "corpus").iterdir())), "inputs kept for the code they reach")
        return Report(**values)


def main() -> int:
    """The command line. Gives the exit status: 1 where something was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz_messages", description=__doc__)
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.folder:
        _search(options.seconds, options.folder)
        return 0
    report = search(options.seconds)
    print(report, *report.failures[:8], sep="\n    ")
    return int(bool(report.failures))


if __name__ == "__main__":
    sys.exit(main())
