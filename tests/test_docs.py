"""The documents: what they point to exists, and what exists is pointed to."""

import itertools
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
README = REPOSITORY / "README.md"
DOCUMENTS = [README, *sorted((REPOSITORY / "docs").glob("*.md")), *sorted((REPOSITORY / "assets").rglob("README.md"))]
LINK = re.compile(r"\]\(([^)\s]+)")


def name(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


def tree() -> dict[str, list[str]]:
    """The words of README's tree under each of its folders, without what is said about them."""
    block = README.read_text("utf-8").split("## What is where")[1].split("```")[1]
    folders: dict[str, list[str]] = {}
    for line in block.splitlines():
        if line and not line.startswith(" "):
            words = folders.setdefault(line.split()[0].rstrip("/"), [])
        elif line:
            words.extend(re.findall(r"[\w/]+\.py\b", line))
    return folders


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_relative_links_lead_somewhere(document):
    targets = [target.partition("#")[0] for target in LINK.findall(document.read_text("utf-8")) if "://" not in target]
    assert [target for target in targets if target and not (document.parent / target).exists()] == []


def test_the_documents_were_found_and_have_links():
    assert {"README.md", "docs/architecture.md", "assets/weights/README.md"} <= set(map(name, DOCUMENTS))
    assert len(LINK.findall(README.read_text("utf-8"))) > 4


@pytest.mark.parametrize("folder", ["demo", "streamingtalker"])
def test_the_tree_names_every_module(folder):
    modules = {path.name for path in (REPOSITORY / folder).glob("*.py")} - {"__init__.py"}
    named = tree()[folder]
    assert sorted(modules - set(named)) == []
    assert [word for word in named if word not in modules] == []
    assert [word for word, group in itertools.groupby(sorted(named)) if len(list(group)) > 1] == []
