"""Figures that tests measure: told at the end of a run, and added to a table with ``--measured FILE``."""

import os
import platform
from collections.abc import Callable
from pathlib import Path

import pytest
from _pytest.terminal import TerminalReporter


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--measured",
        type=Path,
        metavar="FILE",
        help="add what the tests of this run measured to a Markdown table, as docs/measured/faults.md",
    )


@pytest.fixture
def measured(record_property) -> Callable[[str, float], float]:
    """Keep a figure of this test in seconds, and give it back: ``assert measured("noticed", seconds) < 0.5``."""

    def keep(what: str, seconds: float) -> float:
        record_property(what, f"{seconds * 1000:.0f} ms" if abs(seconds) < 1 else f"{seconds:.1f} s")
        return seconds

    return keep


def pytest_terminal_summary(terminalreporter: TerminalReporter, config: pytest.Config) -> None:
    """Everything kept, in the tests' order; of workers, too (their reports bring it along)."""
    reports = [report for outcome in ("passed", "failed") for report in terminalreporter.stats.get(outcome, [])]
    rows = {report.nodeid: report.user_properties for report in reports if report.user_properties}
    if not rows:
        return
    terminalreporter.section("measured")
    for test, figures in sorted(rows.items()):
        terminalreporter.line(f"{test}: {told(figures)}")
    if config.option.measured:
        config.option.measured.parent.mkdir(parents=True, exist_ok=True)
        with config.option.measured.open("a", encoding="utf-8") as file:
            file.write(table(rows))


def told(figures: list[tuple[str, object]]) -> str:
    """As a line."""
    return ", ".join(f"{what} {figure}" for what, figure in figures)


def table(rows: dict[str, list[tuple[str, object]]]) -> str:
    """With the machine, as Markdown."""
    load = f", load average {os.getloadavg()[0]:.1f} at the end" if hasattr(os, "getloadavg") else ""
    lines = [f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}{load}.", ""]
    lines += ["| test | measured |", "|---|---|"]
    lines += [f"| `{test.removeprefix('tests/')}` | {told(figures)} |" for test, figures in sorted(rows.items())]
    return "\n".join(lines) + "\n\n"
