"""What an examination found: one line each, as text for people and as JSON for programs."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum

from rich.console import Console
from rich.text import Text

_COLUMN = 15  # letters of the name of what was looked at


class Level(StrEnum):
    """How good something is."""

    GREEN = "ok"
    YELLOW = "weak"
    RED = "broken"


_STYLES = {Level.GREEN: "green", Level.YELLOW: "yellow", Level.RED: "bold red"}


@dataclass(frozen=True)
class Finding:
    """One line."""

    what: str  # was looked at
    level: Level
    text: str
    remedy: str = ""
    figures: dict[str, float] = field(default_factory=dict)  # what was measured, the unit in the name

    def line(self) -> Text:
        """The line in words, coloured where the terminal can."""
        words = f"{self.what:<{_COLUMN}} {self.text}" + (f" → {self.remedy}" if self.remedy else "")
        return Text.assemble((f"{self.level.value:<7}", _STYLES[self.level]), words)


def show(finding: Finding, console: Console) -> None:
    """Print the line, unbroken."""
    console.print(finding.line(), soft_wrap=True)


def exit_status(findings: Sequence[Finding]) -> int:
    """0 where all is well, 1 where something is weak, 2 where something is broken."""
    levels = {finding.level for finding in findings}
    return 2 if Level.RED in levels else int(Level.YELLOW in levels)


def as_json(findings: Sequence[Finding], seconds: float) -> str:
    """The whole examination as a document, version 1."""
    document = {
        "version": 1,
        "status": exit_status(findings),
        "seconds": round(seconds, 1),
        "findings": [asdict(finding) for finding in findings],
    }
    return json.dumps(document, indent=2, ensure_ascii=False)
