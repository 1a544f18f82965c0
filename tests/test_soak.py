"""The crowd, the reading of processes, and the judgement of an endurance run."""

import csv
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from demo.soak.crowd import Crowd, Sounds
from demo.soak.judgement import (
    Machine,
    Windows,
    answered,
    judge,
    latency,
    quantiles,
    slope,
    synchrony,
    underruns,
)
from demo.soak.processes import count_files, family, read_family
from demo.soak.record import DEEDS, PROCESSES, SoakError, asked_alone, clear
from demo.soak.report import plot, report


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


MINUTES = 30


def a_run(folder, *, growth=0.0, fds=lambda k: 40, files=lambda k: 1, restart_at=None, status=143, turn=lambda k: {}):
    """Thirty minutes of two processes and 60 questions; ``growth`` of the server in MB an hour."""
    rng = np.random.default_rng(0)
    with (folder / "processes.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(PROCESSES)
        for k in range(6 * MINUTES):
            machine = files(k), 1.5, 0.4 if k else 30.0, 10.0 if k < 100 else 12.5
            table.writerow((k * 10, 1, "window", 500 + rng.normal(), fds(k), 20, k, *machine))
            pid = 2 if restart_at is None or k < restart_at else 3
            table.writerow((k * 10, pid, "server", 700 + growth * k / 360, 17, 17, k, *machine))
    numbers = range(2, 2 * MINUTES + 2)
    deeds = [f"{at},{at + 29},ask" for at in (30 * (number - 2) for number in numbers)]
    (folder / "deeds.csv").write_text("\n".join([",".join(DEEDS), *deeds]) + "\n")
    said = ["100.000 Answer 1 (2.6 s): Hello"]
    for number in numbers:
        at = 100 + 30 * (number - 2)
        said += [f"{at + 5:.3f} Turn {number}: Who are you?", f"{at + 12:.3f} Answer {number} (5.1 s): Maya"]
    (folder / "log.txt").write_text("\n".join(said) + "\n")
    turns = [a_turn(number) | turn(number) for number in numbers]
    (folder / "trace.json").write_text(json.dumps({"turns": turns}))
    if status is not None:
        (folder / "status.txt").write_text(str(status))
    return judge(folder)


def a_turn(number, voice_to_voice=700.0, **offset):
    return {
        "turn": number,
        "spans_ms": {"voice_to_voice": voice_to_voice},
        "underruns": 0,
        "starved_ms": 0.0,
        "frames_rendered": 100,
        "av_offset_ms": {"min": -9.0, "p5": -3.0, "p50": -0.5, "p95": 2.0, "max": 8.0} | offset,
    }


def test_a_steady_run_is_within_every_limit(tmp_path):
    verdict = a_run(tmp_path)
    assert verdict.kept and verdict.turns == 60 and all(one.kept for one in verdict.findings)
    assert verdict.machine == Machine((1.5, 1.5), (0.4, 30.0), (10.0, 12.5))
    assert "every limit kept." in report(verdict) and "load average 1.5" in report(verdict)
    assert "10.0 ms of processor time at the beginning and 12.5 at the end (+25%)" in report(verdict)
    assert plot(tmp_path, tmp_path).stat().st_size > 5000


@pytest.mark.parametrize(
    "fault",
    [
        {"growth": 11.0},
        {"fds": lambda k: 40 + k // 20},
        {"files": lambda k: k // 20},
        {"restart_at": 100},
        {"status": 1},
        {"status": 0},
        {"turn": lambda k: {"underruns": int(k == 7)}},
        {"turn": lambda k: {"starved_ms": 20.0 * (k == 7)}},
        {"turn": lambda k: a_turn(k, 801.0)},
        {"turn": lambda k: a_turn(k, 550.0 if k < 40 else 651.0)},
        {"turn": lambda k: a_turn(k, min=-41.0) if k == 7 else {}},
    ],
    ids=lambda fault: next(iter(fault)),
)
def test_each_broken_limit_is_found(tmp_path, fault):
    verdict = a_run(tmp_path, **fault)
    assert not verdict.kept and "broken" in report(verdict) and "**no**" in report(verdict)


def test_a_picture_that_came_late_is_sound_that_was_early(tmp_path):
    rows = a_run(tmp_path, turn=lambda k: a_turn(k, min=-30.0, p5=-16.0)).findings
    measured = {one.name: (one.measured, one.kept) for one in rows}
    assert measured["offset, 5–95 %"] == ("-2.0 to +16.0 ms", False)
    assert measured["offset, all"] == ("-8.0 to +30.0 ms", True)


def test_a_run_that_was_broken_off_is_judged(tmp_path):
    a_run(tmp_path)
    turns = json.loads((tmp_path / "trace.json").read_text())["turns"]
    lines = "\n".join(json.dumps(turn) for turn in turns)
    (tmp_path / "trace.jsonl").write_text(lines[:-20])  # killed while it wrote
    for name in ("trace.json", "status.txt"):
        (tmp_path / name).unlink()
    for name in ("processes.csv", "deeds.csv"):
        (tmp_path / name).write_text((tmp_path / name).read_text()[:-9])
    verdict = judge(tmp_path)
    assert verdict.turns == 59 and verdict.kept
    (untold,) = (one for one in verdict.findings if one.kept is None)
    assert untold.measured == "the run was broken off"
    assert "every limit kept, but for 1 that cannot be told." in report(verdict)


def test_a_new_run_takes_nothing_from_an_old_one(tmp_path):
    a_run(tmp_path)
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tmp" / "left.wav").touch()
    (tmp_path / "sounds").mkdir()
    clear(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["sounds"]


def test_growth_within_the_limit_is_measured(tmp_path):
    server = a_run(tmp_path, growth=9.0).growths[1]
    assert server.mb_an_hour == pytest.approx(9.0) and server.kept


# --- latency ---------------------------------------------------------------------------------------------------------


def test_beginning_and_end_are_a_third_of_what_is_left_or_an_hour():
    assert Windows.of(1200) == Windows((120, 480), (840, 1200))
    assert Windows.of(7200) == Windows((600, 2800), (5000, 7200))
    assert Windows.of(8 * 3600) == Windows((600, 4200), (25200, 28800))


def test_only_who_asked_in_a_quiet_hall_and_waited_counts():
    deeds = {
        "seconds": np.array([0.0, 10, 20, 30, 50, 70]),
        "until": np.array([9.0, 19, 29, 49, 69, 79]),
        "deed": np.array(["ask", "flood", "ask", "ask", "ask_in_babble", "ask"]),
    }
    turns = [(-1.0, 1.0), (3.0, 8.0), (8.0, 12.0), (13.0, 15.0), (23.0, 25.0), (33.0, 40.0), (53.0, 60.0), (73.0, 75.0)]
    assert [asked_alone(deeds, *turn) for turn in turns] == [False, True, False, False, False, True, False, False]
    assert not asked_alone(deeds, 83.0, 85.0)  # of a deed that was never finished


HOUR = Windows((0.0, 1000.0), (2000.0, 3000.0))


def in_both(first, last):
    """Turns of ``first`` ms at the beginning, of 5 s in the middle, of ``last`` ms at the end."""
    seconds = np.concatenate([np.linspace(0, 1000, len(first)), [1500.0], np.linspace(2000, 3000, len(last))])
    return latency(seconds, np.array([*first, 5000.0, *last]), HOUR)


@pytest.mark.parametrize(
    ("first", "last", "kept"),
    [
        ([700] * 20, [800] * 20, [True, True, True, True]),
        ([700] * 20, [801] * 20, [False, True, False, False]),
        ([700] * 20, [600] * 18 + [1300] * 2, [True, False, True, False]),
        ([1100] * 20, [1200] * 20, [False, True, True, True]),  # 110 ms are ten per cent
        ([1100] * 20, [1211] * 20, [False, False, False, False]),
        ([700] * 9, [700] * 20, [True, True, None, None]),
        ([700] * 20, [], [None, None, None, None]),
        ([700] * 20, [700] * 20 + [np.nan], [True, True, True, True]),
    ],
)
def test_latency_is_held_to_the_end(first, last, kept):
    assert [one.kept for one in in_both(first, last)] == kept


def test_a_program_that_no_longer_answers_is_found():
    asked = np.arange(0, 3000, 100.0)
    assert answered(asked, asked + 3, HOUR).kept
    mute = answered(asked, asked[asked < 2200] + 3, HOUR)
    assert mute.kept is False and mute.measured == "2 of 10"
    begun = np.sort(np.concatenate([asked + 3, asked[asked < 2600] + 5]))  # pauses make two turns of a question
    assert answered(asked, begun, HOUR).measured == "10 of 10"
    assert answered(asked, begun[begun < 2600], HOUR).measured == "6 of 10"
    assert answered(asked[:3], asked[:3], HOUR).kept is None


def test_sound_that_came_too_late_is_counted():
    finding = underruns(np.array([0, 2, 1]), np.array([0.0, 30.0, 12.0]))
    assert finding.kept is False and finding.measured == "3 in 2 turns, 42 ms of silence"
    assert underruns(np.zeros(3), np.zeros(3)).kept


# --- synchrony -------------------------------------------------------------------------------------------------------


def pictures(offsets, shown=100):
    """Turns spread over the run; each of ``offsets`` is a turn's min, 5 %, median, 95 %, max in ms."""
    offsets = np.array(offsets, float)
    names = ("min", "p5", "p50", "p95", "max")
    columns = {f"offset_{name}_ms": offsets[:, k] for k, name in enumerate(names)}
    seconds = np.linspace(0, 3000, len(offsets))
    return columns | {
        "seconds": seconds,
        "turn": np.arange(len(offsets)),
        "pictures": np.broadcast_to(shown, len(offsets)),
    }


GOOD = (-20, -10, 0, 5, 10)


@pytest.mark.parametrize(
    ("offsets", "kept"),
    [
        ([GOOD] * 60, [True, True, True, True]),
        ([(-20, -10, 11, 12, 13)] * 60, [False, True, True, True]),
        ([(-50, -46, 0, 5, 10)] * 60, [True, False, True, True]),
        ([(-20, -10, 0, 16, 30)] * 60, [True, False, True, True]),
        ([GOOD] * 59 + [(-61, -10, 0, 5, 10)], [True, True, False, True]),
        ([GOOD] * 59 + [(-20, -10, 0, 5, 41)], [True, True, False, True]),
        ([GOOD] * 30 + [(-20, -10, 4.9, 5, 10)] * 30, [True, True, True, True]),
        ([GOOD] * 30 + [(-20, -10, 5.1, 6, 10)] * 30, [True, True, True, False]),
        ([GOOD] * 9, [True, True, True, None]),
        ([(np.nan,) * 5] * 60, [None, None, None, None]),
    ],
)
def test_pictures_are_in_step_to_the_end(offsets, kept):
    assert [one.kept for one in synchrony(pictures(offsets), HOUR)] == kept


def test_a_turn_weighs_what_it_showed():
    turns = pictures([GOOD, (-100, -100, -100, -100, -100)], [990, 10])
    low, middle, high = quantiles(turns, (0.05, 0.5, 0.95))
    assert low > -20 and middle == pytest.approx(0, abs=0.5) and high == pytest.approx(5, abs=0.5)
    assert quantiles(pictures([GOOD] * 3), (0.05, 0.5, 0.95)) == pytest.approx((-10, 0, 5), abs=0.5)


# --- the rest --------------------------------------------------------------------------------------------------------


def test_a_few_outliers_do_not_move_the_slope():
    x = np.arange(50.0)
    y = 2 * x
    y[[5, 25, 49]] += 500
    assert slope(x, y) == pytest.approx(2, abs=0.2)


def test_the_slope_of_a_day_needs_little_memory():
    x = np.arange(9000.0)
    assert slope(x, 3 * x) == pytest.approx(3)


def test_a_run_without_a_trace_is_told(tmp_path):
    a_run(tmp_path)
    (tmp_path / "trace.json").unlink()
    with pytest.raises(SoakError, match="left no trace"):
        judge(tmp_path)


def test_what_an_older_version_left_is_not_judged(tmp_path):
    a_run(tmp_path)
    (tmp_path / "deeds.csv").write_text("seconds,deed\n0.0,ask\n")
    with pytest.raises(SoakError, match="run it again"):
        judge(tmp_path)
