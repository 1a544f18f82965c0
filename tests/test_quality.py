"""The choice of quality in manual time: down before pictures are missed, up again, and no swinging to and fro."""

import itertools
import logging
from dataclasses import replace

import pytest

from demo.quality import HIGH, LOW, LOWEST, MEDIUM, QUALITIES, Governor, Quality

STEP = 1 / 30
COSTS = {LOWEST: 0.008, LOW: 0.012, MEDIUM: 0.016, HIGH: 0.080}  # seconds on a quiet machine


class Machine:
    """Draws at the pace of the costs above, times how busy it is."""

    def __init__(self, ceiling: Quality = MEDIUM, start: Quality | None = None) -> None:
        self.governor = Governor(STEP, ceiling, start)
        self.seconds = 0.0
        self.changes: list[Quality] = []

    def run(self, seconds: float, load: float = 1.0, threatened: bool = False, spike: int = 0) -> None:
        """``spike``: every so many pictures, one takes a tenth of a second."""
        end, count = self.seconds + seconds, 0
        while self.seconds < end:
            before, count = self.governor.quality, count + 1
            took = 0.1 if spike and count % spike == 0 else COSTS[before] * load
            self.seconds += max(took, STEP)
            if self.governor.drawn(self.seconds, took, threatened) is not before:
                self.changes.append(self.governor.quality)


def test_the_table_is_ordered_and_named():
    assert [quality.name for quality in QUALITIES] == ["lowest", "low", "medium", "high"]
    assert all(cheap.most_pixels <= dear.most_pixels for cheap, dear in itertools.pairwise(QUALITIES))


def test_what_is_affordable_stays():
    machine = Machine()
    machine.run(600)
    assert machine.changes == [] and machine.governor.quality is MEDIUM


def test_too_slow_pictures_get_cheaper_within_seconds_and_only_as_far_as_needed():
    machine = Machine()
    machine.run(0.5, load=2.2)
    assert machine.changes == [], "not at once: a busy moment passes"
    machine.run(3.0, load=2.2)
    assert machine.changes == [LOW]


def test_below_the_lowest_there_is_nothing():
    machine = Machine(HIGH)
    machine.run(60, load=20)
    assert machine.changes == [MEDIUM, LOW, LOWEST]


def test_the_load_of_the_start_does_not_condemn_the_picture():
    machine = Machine()
    machine.run(10, load=8)
    assert machine.governor.quality is LOWEST
    machine.run(15)
    assert machine.governor.quality is MEDIUM


def test_single_long_pictures_change_nothing():
    machine = Machine()
    machine.run(120, spike=20)
    assert machine.changes == []


def test_it_does_not_swing_to_and_fro():
    """Cheap enough at one level, too dear at the next: the next one is tried, and ever more seldom."""
    machine = Machine(HIGH, start=MEDIUM)
    machine.run(60)
    early = len(machine.changes)
    assert machine.changes[:2] == [HIGH, MEDIUM]
    machine.run(540)
    assert machine.governor.quality is MEDIUM
    assert early <= 8 and len(machine.changes) - early <= 14


def test_a_trial_that_fails_is_short():
    machine = Machine(HIGH, start=MEDIUM)
    while machine.governor.quality is MEDIUM:
        machine.run(STEP)
    tried = machine.seconds
    while machine.governor.quality is HIGH:
        machine.run(STEP)
    assert machine.seconds - tried < 1.0


def test_after_a_long_time_that_held_failures_are_forgiven():
    machine = Machine()
    for _ in range(3):  # each raise is followed by new load
        machine.run(3, load=2.2)
        while machine.governor.quality is not MEDIUM:
            machine.run(STEP)
    assert machine.governor.quality is MEDIUM
    machine.run(40)
    machine.run(3, load=2.2)
    assert machine.governor.quality is LOW
    machine.run(6)
    assert machine.governor.quality is MEDIUM


def test_a_threatened_sound_counts_even_where_pictures_are_quick():
    machine = Machine()
    machine.run(0.3, threatened=True)
    assert machine.changes == []
    machine.run(0.3, threatened=True)
    assert machine.changes == [LOW]
    machine.run(30, threatened=True)
    assert machine.governor.quality is LOWEST


@pytest.mark.parametrize("ceiling", [LOWEST, LOW])
def test_no_level_above_the_ceiling_is_chosen(ceiling):
    machine = Machine(ceiling)
    machine.run(300, load=0.1)
    assert machine.changes == []


def test_a_level_of_one_s_own_stays():
    own = replace(HIGH, most_pixels=1000)
    governor = Governor(STEP, own)
    assert {governor.drawn(index * 0.1, 1.0) for index in range(100)} == {own}


def test_the_choice_is_told_once(caplog):
    machine = Machine()
    with caplog.at_level(logging.INFO):
        machine.run(3, load=2.2)
        machine.run(100, load=1.0)
        machine.run(3, load=2.2)
        machine.run(30, load=2.2)
    told = [record.message for record in caplog.records]
    assert told == ["Pictures are drawn at medium quality."]
