"""Endurance: ``python -m demo.soak --minutes 20 --out runs/soak``, or ``make soak``.

Starts the whole program on a virtual screen and sound server, sends a seeded crowd, reads every ten seconds what each
process takes, and judges. Everything after ``--`` are options of ``run_demo.py``.
"""

import argparse
import csv
import os
import signal
import sys
import threading
import time
from pathlib import Path

from demo.measure.rig import sound_server, virtual_screen
from demo.soak.crowd import Crowd, record_sounds
from demo.soak.judgement import judge
from demo.soak.processes import count_files, read_family
from demo.soak.record import DEEDS, PROCESSES, clear
from demo.soak.report import plot, report
from demo.soak.stand import Stand
from streamingtalker.errors import UserError

_EVERY = 10.0  # seconds between readings
_NAP = 0.25  # how late a sleeper wakes from it tells how busy the machine is
_REFERENCE = 200_000  # rounds of a fixed piece of work: what they take tells how quick the machine is


def main(argv: list[str] | None = None) -> int:
    """The command line: 0 where every limit was kept, 1 where not, 2 where it could not be measured."""
    options = _parser().parse_args(argv)
    out: Path = options.out
    try:
        if not options.judge:
            run(out, options.minutes, options.seed, tuple(options.program))
        verdict = judge(out)
        plot(out, options.pictures or out)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"Broken off; python -m demo.soak --judge --out {out} judges what there is.", file=sys.stderr)
        return 130
    text = report(verdict)
    (out / "report.md").write_text(text, "utf-8")
    print(text)
    return 0 if verdict.kept else 1


def run(out: Path, minutes: float, seed: int, program: tuple[str, ...]) -> None:
    """The crowd for so many minutes; ``demo.soak.record`` tells what it leaves in ``out``, all of it as it goes.

    Raises UserError where the program does not start, KeyboardInterrupt also where it is told to end.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # else the program would outlive its judge
    clear(out)
    for folder in (out / "pulse", out / "sounds"):
        folder.mkdir(parents=True, exist_ok=True)
    sounds = record_sounds(out / "sounds", seed)
    with virtual_screen() as screen, sound_server((out / "pulse").resolve()) as sound:
        stand = Stand(screen, sound, out.resolve(), program)
        try:
            stand.wait_until_ready()
            began = time.monotonic()
            with _Sampling(stand, out / "processes.csv", began):
                _visit(Crowd(stand, sounds, seed), stand, out / "deeds.csv", began, minutes)
        finally:
            status = stand.end()
    (out / "status.txt").write_text(f"{status}\n", "utf-8")


def _visit(crowd: Crowd, stand: Stand, path: Path, began: float, minutes: float) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        deeds = csv.writer(file)
        deeds.writerow(DEEDS)
        while (passed := time.monotonic() - began) < 60 * minutes and stand.alive:
            deed = crowd.act()
            deeds.writerow((round(passed, 1), round(time.monotonic() - began, 1), deed))
            file.flush()


class _Sampling:
    """Reads all processes every ten seconds, in a thread, while the block runs."""

    def __init__(self, stand: Stand, path: Path, began: float) -> None:
        self._stand, self._path, self._began = stand, path, began
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampling", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        with self._path.open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(PROCESSES)
            late: float | None = 0.0
            while late is not None:
                at, files = round(time.monotonic() - self._began, 1), count_files(self._stand.temporary)
                machine = round(os.getloadavg()[0], 2), round(1000 * late, 1), round(1000 * _reference(), 2)
                for one in read_family(self._stand.process.pid):
                    row = (one.pid, one.name, round(one.rss_mb, 2), one.fds, one.threads, round(one.cpu_seconds, 2))
                    table.writerow((at, *row, files, *machine))
                file.flush()
                late = self._rest()

    def _rest(self) -> float | None:
        """Until the next reading; the most seconds by which a nap meanwhile was too long, None where it is all over."""
        late = 0.0
        for _ in range(round(_EVERY / _NAP)):
            began = time.monotonic()
            if self._over.wait(_NAP):
                return None
            late = max(late, time.monotonic() - began - _NAP)
        return late


def _reference() -> float:
    """Processor seconds of a fixed piece of work; that others had the processor meanwhile does not count."""
    began = time.thread_time()
    total = 0
    for k in range(_REFERENCE):
        total += k * k
    return time.thread_time() - began


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m demo.soak", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--minutes", type=float, default=20.0, help="how long (default: 20)")
    parser.add_argument("--seed", type=int, default=0, help="of the crowd (default: 0)")
    parser.add_argument("--out", type=Path, default=Path("runs/soak"), help="folder (default: runs/soak)")
    parser.add_argument("--pictures", type=Path, help="where the plots go (default: --out)")
    parser.add_argument("--judge", action="store_true", help="only judge and plot what lies in --out")
    parser.add_argument("program", nargs="*", help="options of run_demo.py, after --")
    return parser


if __name__ == "__main__":
    sys.exit(main())
