"""What is installed: every package pinned by hash, the same versions everywhere, and its licence known."""

import importlib.metadata
import re
from pathlib import Path

import pytest

from tests.licences import LOCK, TABLE, hashes, licence, pins, table

REQUIREMENTS = LOCK.parent / "requirements.txt"
_REQUIREMENT = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;]+)", re.MULTILINE)


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


LOCKED = pins(LOCK.read_text("utf-8"))
VERSIONS = {(normal(name), version) for name, version, _ in LOCKED}


def test_everything_is_locked_by_its_hash():
    text = LOCK.read_text("utf-8")
    assert len(LOCKED) > 80 and all(count > 0 for count in hashes(text))
    beginnings = [line for line in text.splitlines() if line and not line.startswith(("#", " "))]
    assert len(beginnings) == len(hashes(text)), "nothing but pins"
    assert "://" not in text and "file:" not in text, "from the usual registry"


def test_the_lock_is_of_these_requirements():
    wanted = {(normal(name), version) for name, version in _REQUIREMENT.findall(REQUIREMENTS.read_text("utf-8"))}
    assert len(wanted) > 20
    assert sorted(wanted - VERSIONS) == [], "run the command at the top of requirements.lock"


def test_what_runs_here_is_what_is_locked():
    """Of what the demo asks for by name."""
    for name, _ in _REQUIREMENT.findall(REQUIREMENTS.read_text("utf-8")):
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # not on this system
        assert (normal(name), version.partition("+")[0]) in VERSIONS, f"{name} {version}"


def test_the_table_of_licences_is_true():
    rows = re.findall(r"^\| (\S+) \| (\S+) \| (.+) \|$", TABLE.read_text("utf-8"), re.MULTILINE)
    rows = [row for row in rows if row[0] != "package" and not row[0].startswith("-")]
    assert [row[:2] for row in rows] == sorted({(name, version) for name, version, _ in LOCKED})
    assert all(named and named != "see its files" for _, _, named in rows)
    made = set(re.findall(r"^\| (\S+) \| (\S+) \| (.+) \|$", table(), re.MULTILINE))
    installed = [row for row in rows if licence(row[0]) is not None]
    assert [row for row in installed if row not in made] == [], "run 'python -m tests.licences > docs/licences.md'"


def test_no_licence_forbids_to_pass_the_program_on():
    text = TABLE.read_text("utf-8")
    assert not re.search(r"(?<![L])GPL|General Public License(?! v?2 or later \(LGPL)|SSPL|Commons Clause", text)


@pytest.mark.parametrize(
    ("lock", "count"),
    [
        ("a==1 \\\n    --hash=sha256:" + "0" * 64 + "\n", [1]),
        ("a==1 \\\nb==2 \\\n    --hash=sha256:" + "0" * 64, [0, 1]),
    ],
)
def test_a_missing_hash_is_found(lock, count):
    assert hashes(lock) == count


def test_the_program_takes_what_the_lock_takes():
    """The plain file stays the one that people install from; the lock only adds hashes."""
    assert "--hash" not in REQUIREMENTS.read_text("utf-8")
    assert Path(LOCK).name in (LOCK.parent / "docs" / "reliability.md").read_text("utf-8")
