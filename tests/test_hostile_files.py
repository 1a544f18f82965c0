"""A small part of ``make fuzz``: damaged files of every kind are opened, or refused by name."""

from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool

import pytest

from tests.hostile_files import KINDS, Kind, attack, damaged, survived


@pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS])
def test_damaged_files_are_opened_or_refused_by_name(kind, tmp_path):
    report = attack(kind, tmp_path, flips=20, cuts=10)
    assert report.failures == []
    assert report.opened + report.refused == 30 and report.refused > 0


def test_what_counts_as_a_failure(tmp_path):
    """An opener that fails in a way of its own, or does not name the file, is found."""

    def fails(path):
        if len(path.read_bytes()) < 4:
            raise KeyError(path.name)

    report = attack(Kind("x.bin", lambda path: path.write_bytes(b"whole"), fails), tmp_path, flips=0, cuts=5)
    assert report.opened == 1 and len(report.failures) == 4 and "KeyError" in report.failures[0]


def test_every_damage_is_one_bit_or_a_beginning():
    versions = [data for _, data in damaged(bytes(range(64)), 50, 4)]
    assert all(sum((a ^ b).bit_count() for a, b in zip(data, range(64), strict=True)) == 1 for data in versions[:50])
    assert [len(data) for data in versions[50:]] == [0, 16, 32, 48]


def test_a_decoder_that_crashes_is_a_failure_of_every_kind_that_is_not_finished():
    crashed: Future = Future()
    crashed.set_exception(BrokenProcessPool())
    assert survived(crashed, "speech.mp3").kind == "speech.mp3" and survived(crashed, "speech.mp3").failures
