"""The licences of what is installed with the demo: ``python -m tests.licences > docs/licences.md``.

What is listed is requirements.lock; a licence is what a package says of itself in its metadata.
"""

import importlib.metadata
import itertools
import re
from pathlib import Path

LOCK = Path(__file__).resolve().parent.parent / "requirements.lock"
TABLE = LOCK.parent / "docs" / "licences.md"
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)(?: ; (.*?))? \\$", re.MULTILINE)
_HASH = re.compile(r"^    --hash=sha256:[0-9a-f]{64}(?: \\)?$", re.MULTILINE)
_SILENT = "see its files"
# Of packages whose metadata name none, and of those that not every machine gets.
_KNOWN = {"audioop-lts": "PSF-2.0", "colorama": "BSD-3-Clause", "pyglet": "BSD-3-Clause", "triton": "MIT"}
_HEAD = """# Licences of what is installed

Everything in requirements.lock, with the licence that its metadata names. Made by `python -m tests.licences`; a test
keeps it true. What the project ships itself is in [assets/LICENSES.md](../assets/LICENSES.md). Packages of NVIDIA come
with PyTorch on Linux, are not needed without its graphics cards, and can be left out by installing PyTorch for
processors alone.

| package | version | licence |
|---|---|---|
"""


def pins(lock: str) -> list[tuple[str, str, str]]:
    """Name, version and condition of every package in ``lock``, but those for browsers."""
    return [pin for pin in _PIN.findall(lock) if "== 'emscripten'" not in pin[2]]


def hashes(lock: str) -> list[int]:
    """How many SHA-256 sums each package in ``lock`` has, in the order of ``pins``."""
    starts = [match.start() for match in _PIN.finditer(lock)] + [len(lock)]
    return [len(_HASH.findall(lock[start:end])) for start, end in itertools.pairwise(starts)]


def licence(package: str) -> str | None:
    """What the metadata of an installed ``package`` names; None where it is not installed."""
    try:
        metadata = importlib.metadata.metadata(package)
    except importlib.metadata.PackageNotFoundError:
        return None
    expression, text = metadata.get("License-Expression"), (metadata.get("License") or "").strip()
    classified = [
        line.rpartition(" :: ")[2] for line in metadata.get_all("Classifier", []) if line.startswith("License :: ")
    ]
    short = text if text and "\n" not in text and len(text) < 60 else ""
    return expression or ", ".join(one for one in classified if one != "OSI Approved") or short or _SILENT


def table() -> str:
    """The document."""
    rows = sorted({(name, version) for name, version, _ in pins(LOCK.read_text("utf-8"))})
    return _HEAD + "".join(f"| {name} | {version} | {_KNOWN.get(name) or _named(name)} |\n" for name, version in rows)


def _named(package: str) -> str:
    if package.startswith(("nvidia-", "cuda-")):  # not everywhere
        return f"NVIDIA's, {_SILENT}"
    return licence(package) or _SILENT


if __name__ == "__main__":
    print(table(), end="")
