"""What a program and its children take from the machine, read from Linux' /proc."""

import os
from dataclasses import dataclass
from pathlib import Path

_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 1e6 if hasattr(os, "sysconf") else 0.0
_PROC = Path("/proc")


@dataclass(frozen=True)
class Reading:
    """One process at one moment."""

    pid: int
    name: str  # what it is in the program
    rss_mb: float  # resident memory
    fds: int  # open file descriptors
    threads: int
    cpu_seconds: float  # used since it began


def family(pid: int) -> list[int]:
    """``pid`` and all that descend from it and live, ascending; empty where it has ended."""
    if not (_PROC / str(pid)).exists():
        return []
    children = [int(child) for task in _tasks(pid) for child in _text(task / "children").split()]
    return sorted([pid, *(found for child in children for found in family(child))])


def read_family(pid: int) -> list[Reading]:
    """Every process of the family; those that end meanwhile are left out."""
    return [reading for member in family(pid) if (reading := _read(member, member == pid)) is not None]


def count_files(folder: Path) -> int:
    """Files below ``folder``."""
    return sum(len(files) for _, _, files in os.walk(folder))


def _read(pid: int, first: bool) -> Reading | None:
    home = _PROC / str(pid)
    try:
        statm = (home / "statm").read_text().split()
        after_name = (home / "stat").read_text().rpartition(")")[2].split()
        fds = sum(1 for _ in (home / "fd").iterdir())
    except (OSError, IndexError):
        return None
    ticks = int(after_name[11]) + int(after_name[12])
    rss, threads = int(statm[1]) * _PAGE_MB, int(after_name[17])
    return Reading(pid, "window" if first else _name(home), rss, fds, threads, ticks / os.sysconf("SC_CLK_TCK"))


def _name(home: Path) -> str:
    """What a child is: its command line tells."""
    line = _text(home / "cmdline").replace("\0", " ")
    names = {"resource_tracker": "tracker", "spawn_main": "server"}
    return next((name for sign, name in names.items() if sign in line), line.split(" ")[0].rpartition("/")[2])


def _tasks(pid: int) -> list[Path]:
    try:
        return list((_PROC / str(pid) / "task").iterdir())
    except OSError:
        return []


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
