"""What an endurance run leaves in its folder, read as tables; also what is left of one that was broken off.

processes.csv  what each process took, and how busy and how quick the machine was, every ten seconds
deeds.csv      what the crowd did, from when until when
log.txt        the program's log, each line with its monotonic second
trace.json     latency and synchrony of every turn; trace.jsonl, a line each, where there was no time to write it
status.txt     how the program ended
"""

import csv
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from streamingtalker.errors import UserError

PROCESSES = (
    "seconds",
    "pid",
    "process",
    "rss_mb",
    "fds",
    "threads",
    "cpu_seconds",
    "temporary_files",
    "load",
    "late_ms",
    "reference_ms",
)
DEEDS = ("seconds", "until", "deed")
OFFSETS = tuple(f"offset_{name}_ms" for name in ("min", "p5", "p50", "p95", "max"))  # positive: sound early
TURNS = ("seconds", "turn", "alone", "voice_to_voice_ms", "underruns", "starved_ms", "pictures", *OFFSETS)

BEGUN = re.compile(r"\bTurn (\d+):")
OVER = re.compile(r"\bAnswer (\d+) ")
_FROM_TRACE = ("max", "p95", "p50", "p5", "min")  # there positive is a picture that came early: the other way round
_LINGERING = ("flood", "ask_in_babble")  # their sound may still be heard in the next deed

Table = dict[str, np.ndarray]  # column: float64 [n], or str [n]


class SoakError(UserError):
    """The program did not last."""


def clear(out: Path) -> None:
    """Remove what an earlier run left, lest two be judged as one."""
    left = "processes.csv deeds.csv turns.csv log.txt trace.json trace.jsonl status.txt report.md soak.png"
    for name in left.split():
        (out / name).unlink(missing_ok=True)
    shutil.rmtree(out / "tmp", ignore_errors=True)


def read_table(path: Path, columns: tuple[str, ...]) -> Table:
    """A CSV's columns; what is no number stays text, what is missing is NaN, a row cut short is left out.

    Raises SoakError where there is no row or another program's columns.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.reader(file) if len(row) == len(columns)]
    except OSError as error:
        raise SoakError(f"{path} cannot be read ({error.strerror}); run python -m demo.soak first.") from error
    if len(rows) < 2 or tuple(rows[0]) != columns:
        raise SoakError(f"{path} holds nothing of this version of python -m demo.soak; run it again.")
    return {name: _column([row[k] for row in rows[1:]]) for k, name in enumerate(columns)}


def _column(values: list[str]) -> np.ndarray:
    try:
        return np.array([float(value or "nan") for value in values])
    except ValueError:
        return np.array(values)


def read_turns(out: Path) -> Table:
    """The turns from the trace, each at the second when it began; also written to turns.csv. Raises SoakError."""
    deeds = read_table(out / "deeds.csv", DEEDS)
    begun, over = _moments(out / "log.txt")
    with (out / "turns.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(TURNS)
        for turn in _traced(out):
            number, offset = turn["turn"], turn["av_offset_ms"]
            if number in begun and number in over:
                table.writerow(
                    (
                        round(begun[number], 1),
                        number,
                        int(asked_alone(deeds, begun[number], over[number])),
                        turn["spans_ms"].get("voice_to_voice", ""),
                        turn["underruns"],
                        turn["starved_ms"],
                        turn["frames_rendered"],
                        *(-offset[name] if offset else "" for name in _FROM_TRACE),
                    )
                )
    return read_table(out / "turns.csv", TURNS)


def asked_alone(deeds: Table, begun: float, over: float) -> bool:
    """Whether a turn is the answer to somebody who asked in a quiet hall and waited; in seconds of the run."""
    k = int(np.searchsorted(deeds["seconds"], begun, "right")) - 1
    return k >= 0 and bool(alone(deeds)[k]) and over <= deeds["until"][k]


def alone(deeds: Table) -> np.ndarray:
    """Which deeds are questions in a quiet hall, bool [n]."""
    before = np.concatenate([[""], deeds["deed"][:-1]])
    return (deeds["deed"] == "ask") & ~np.isin(before, _LINGERING)


def read_status(out: Path) -> int | None:
    """With which status the program ended; None where the run was broken off."""
    try:
        return int((out / "status.txt").read_text("utf-8"))
    except (OSError, ValueError):
        return None


def _moments(log: Path) -> tuple[dict[int, float], dict[int, float]]:
    """When each turn began and was over, in seconds since the end of the greeting, when the run begins."""
    begun: dict[int, float] = {}
    over: dict[int, float] = {}
    zero = None
    try:
        lines = log.read_text("utf-8", errors="replace").splitlines()
    except OSError as error:
        raise SoakError(f"{log} cannot be read ({error.strerror}); run python -m demo.soak first.") from error
    for line in lines:
        at, _, said = line.partition(" ")
        if found := OVER.search(said):
            zero = float(at) if zero is None else zero
            over[int(found[1])] = float(at)
        elif found := BEGUN.search(said):
            begun[int(found[1])] = float(at)
    return tuple({turn: at - (zero or 0.0) for turn, at in table.items()} for table in (begun, over))  # type: ignore[return-value]


def _traced(out: Path) -> Iterator[dict]:
    try:
        yield from json.loads((out / "trace.json").read_text("utf-8"))["turns"]
        return
    except (OSError, ValueError):
        pass  # the program was killed: then it is in the other one
    try:
        lines = (out / "trace.jsonl").read_text("utf-8").splitlines()
    except OSError as error:
        raise SoakError(f"The program left no trace in {out} ({error}); its log tells what happened.") from error
    for line in lines:
        try:
            yield json.loads(line)
        except ValueError:
            return  # the last one, cut short
