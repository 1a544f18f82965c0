"""The crowd, the reading of processes, and the judgement of an endurance run."""

import csv
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from demo.soak.crowd import Crowd, Sounds
from demo.soak.processes import count_files, family, read_family
from demo.soak.report import COLUMNS, judge, plot, report, slope, turns_of
from demo.soak.stand import SoakError


class Hall:
    """Writes down what happens in it."""

    def __init__(self):
        self.seen = []

    def play(self, wav, volume=1.0, *, wait=True):
        self.seen.append(("play", wav, round(volume, 6), wait))

    def answering(self, seconds):
        self.seen.append("answering")
        return True

    def answered(self, seconds):
        self.seen.append("answered")
        return True

    def rest(self, seconds):
        self.seen.append(("rest", round(seconds, 6)))


def visit(seed, deeds=60):
    hall = Hall()
    crowd = Crowd(hall, Sounds(("q1", "q2", "q3"), ("hall",), ("clap", "cough")), seed)
    return [crowd.act() for _ in range(deeds)], hall.seen


def test_the_same_seed_is_the_same_crowd():
    assert visit(3) == visit(3) != visit(4)


def test_a_crowd_does_everything_that_people_do():
    deeds, _ = visit(0, 200)
    assert set(deeds) == {"ask", "interrupt", "flood", "babble", "ask_in_babble", "noise", "silence"}
    assert deeds.count("ask") > 60


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_family_is_read_with_its_children():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert {os.getpid(), child.pid} <= set(family(os.getpid()))
        mine = next(one for one in read_family(os.getpid()) if one.pid == os.getpid())
        assert mine.name == "window" and mine.rss_mb > 20 and mine.fds > 2 and mine.threads >= 1
    finally:
        child.communicate(b"\n")
    assert family(child.pid) == []


def test_files_are_counted_at_every_depth(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    for name in ("1", "a/2", "a/b/3"):
        (tmp_path / name).touch()
    assert count_files(tmp_path) == 3


def a_run(folder, *, growth=0.0, fds=lambda k: 40, files=lambda k: 1, restart_at=None, status=0):
    """Thirty minutes of two processes; ``growth`` of the server in MB an hour."""
    rng = np.random.default_rng(0)
    with (folder / "processes.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for k in range(180):
            table.writerow((k * 10, 1, "window", 500 + rng.normal(), fds(k), 20, k, files(k)))
            pid = 2 if restart_at is None or k < restart_at else 3
            table.writerow((k * 10, pid, "server", 700 + growth * k / 360, 17, 17, k, files(k)))
    turn = {
        "spans_ms": {"voice_to_voice": 900.0},
        "av_offset_ms": {"p5": -3.0, "p50": -0.5, "p95": 2.0, "max_abs": 9.0},
    }
    trace = {"turns": [turn | {"turn": k} for k in range(1, 21)]}
    (folder / "trace.json").write_text(json.dumps(trace))
    (folder / "status.txt").write_text(str(status))
    turns_of(folder, {k: 60.0 * k for k in range(1, 21)})
    return judge(folder)


def test_a_steady_run_is_within_every_limit(tmp_path):
    verdict = a_run(tmp_path)
    assert verdict.kept and verdict.turns == 20 and verdict.restarts == 0
    assert verdict.voice_to_voice == (900.0, 900.0, 900.0)
    assert "every limit kept" in report(verdict)
    assert plot(tmp_path, tmp_path).stat().st_size > 5000


@pytest.mark.parametrize(
    "fault",
    [
        {"growth": 11.0},
        {"fds": lambda k: 40 + k // 20},
        {"files": lambda k: k // 20},
        {"restart_at": 100},
        {"status": 1},
    ],
    ids=lambda fault: next(iter(fault)),
)
def test_each_broken_limit_is_found(tmp_path, fault):
    verdict = a_run(tmp_path, **fault)
    assert not verdict.kept and "broken" in report(verdict)


def test_growth_within_the_limit_is_measured(tmp_path):
    server = a_run(tmp_path, growth=9.0).growths[1]
    assert server.mb_an_hour == pytest.approx(9.0) and server.kept


def test_a_few_outliers_do_not_move_the_slope():
    x = np.arange(50.0)
    y = 2 * x
    y[[5, 25, 49]] += 500
    assert slope(x, y) == pytest.approx(2, abs=0.2)


def test_a_run_without_a_trace_is_told(tmp_path):
    with pytest.raises(SoakError, match="left no trace"):
        turns_of(tmp_path, {})
