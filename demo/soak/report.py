"""An endurance run as a page and as a picture."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from demo.measure.sync import ALL_MS, MEDIAN_MS, MOST_MS
from demo.soak.judgement import (
    LATE_MS,
    MB_AN_HOUR,
    SOON_MS,
    Verdict,
    Windows,
    growths,
    parts,
    span,
    warm_at,
)
from demo.soak.record import PROCESSES, TURNS, Table, read_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MARKS = {True: "yes", False: "**no**", None: "cannot be told"}


def report(verdict: Verdict) -> str:
    """As a page."""
    machine = verdict.machine
    processes = [
        f"| {g.process} | {g.start_mb:.1f} | {g.end_mb:.1f} | {g.mb_an_hour:+.1f} | {span(*g.fds)} | "
        f"{span(*g.threads)} | {_MARKS[g.kept]} |"
        for g in verdict.growths
    ]
    return "\n".join(
        [
            f"{verdict.minutes:.0f} minutes, {verdict.turns} turns: {_in_a_word(verdict)}.",
            "",
            "| process | MB after warming up | MB at the end | MB an hour | file descriptors | threads | kept |",
            "|---|---|---|---|---|---|---|",
            *processes,
            "",
            "| what | measured | limit | kept |",
            "|---|---|---|---|",
            *(f"| {one.name} | {one.measured} | {one.limit} | {_MARKS[one.kept]} |" for one in verdict.findings),
            "",
            f"The machine meanwhile, this program included: load average {machine.load[0]:.1f} in the median, "
            f"{machine.load[1]:.1f} at 95 %; a sleeper of the judge's own woke up to {machine.late_ms[0]:.1f} ms too "
            f"late in the median of all ten seconds, {machine.late_ms[1]:.0f} ms in the worst. A fixed piece of work "
            f"took {machine.reference_ms[0]:.1f} ms of processor time at the beginning and "
            f"{machine.reference_ms[1]:.1f} at the end ({machine.slower:+.0%}).",
            "",
        ]
    )


def _in_a_word(verdict: Verdict) -> str:
    marks = [growth.kept for growth in verdict.growths] + [one.kept for one in verdict.findings]
    if broken := marks.count(False):
        return f"**{broken} of {len(marks)} limits broken**"
    untold = marks.count(None)
    return f"every limit kept, but for {untold} that cannot be told" if untold else "every limit kept"


def plot(out: Path, pictures: Path) -> Path:
    """Memory, latency, offset and the machine over time with their limits, as ``soak.png`` in ``pictures``."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    rows, turns = read_table(out / "processes.csv", PROCESSES), read_table(out / "turns.csv", TURNS)
    figure, axes = plt.subplots(4, 1, figsize=(8, 9), sharex=True, layout="constrained", height_ratios=(3, 3, 3, 1.5))
    memory, latency, offset, machine = axes
    _memory(memory, rows)
    _latency(latency, turns)
    _offset(offset, turns)
    _machine(machine, rows)
    for panel in axes:
        panel.grid(alpha=0.3)
    windows = Windows.of(float(rows["seconds"].max()))
    for panel in (latency, offset):
        for window in (windows.first, windows.last):
            panel.axvspan(window[0] / 60, window[1] / 60, color="tab:gray", alpha=0.1, linewidth=0)
    machine.set_xlabel("minutes (grey: what is compared, the beginning and the end)")
    pictures.mkdir(parents=True, exist_ok=True)
    figure.savefig(pictures / "soak.png", dpi=90)
    plt.close(figure)
    return pictures / "soak.png"


def _memory(panel: "Axes", rows: Table) -> None:
    for pid in parts(rows):
        chosen = rows["pid"] == pid
        panel.plot(rows["seconds"][chosen] / 60, rows["rss_mb"][chosen], label=rows["process"][chosen][0])
    ends = np.array([warm_at(rows), rows["seconds"].max()])
    for growth in growths(rows):
        allowed = growth.start_mb + MB_AN_HOUR * (ends - ends[0]) / 3600
        panel.plot(ends / 60, allowed, color="tab:red", linewidth=0.8, linestyle="--")
    panel.set_ylim(bottom=0)
    panel.set_ylabel("memory, MB\n(limit: growth)")
    _legend(panel)


def _latency(panel: "Axes", turns: Table) -> None:
    for alone, style, label in ((1, "o", "asked in a quiet hall"), (0, ".", "floods, babble, interruptions")):
        chosen = turns["alone"] == alone
        panel.plot(
            turns["seconds"][chosen] / 60,
            turns["voice_to_voice_ms"][chosen],
            style,
            color="tab:blue" if alone else "gray",
            markersize=4,
            label=label,
        )
    for limit in (SOON_MS, LATE_MS):
        panel.axhline(limit, color="tab:red", linewidth=0.8, linestyle="--")
    panel.set_ylim(bottom=0)
    panel.set_ylabel("voice to voice, ms\n(limits: median, 95 %)")
    _legend(panel)


def _offset(panel: "Axes", turns: Table) -> None:
    minutes = turns["seconds"] / 60
    panel.vlines(minutes, turns["offset_min_ms"], turns["offset_max_ms"], color="tab:blue", alpha=0.15, label="all")
    panel.vlines(minutes, turns["offset_p5_ms"], turns["offset_p95_ms"], color="tab:blue", alpha=0.6, label="5–95 %")
    panel.plot(minutes, turns["offset_p50_ms"], ".", color="tab:blue", markersize=4, label="median")
    for limit in (-MEDIAN_MS, MEDIAN_MS, *MOST_MS, *ALL_MS):
        panel.axhline(limit, color="tab:red", linewidth=0.8, linestyle="--")
    if np.isfinite(turns["offset_min_ms"]).any():
        panel.set_ylim(-70.0, max(50.0, min(np.nanmax(turns["offset_max_ms"]) + 5, 200.0)))
    panel.set_ylabel("offset, ms\n(positive: sound early)")
    _legend(panel)


def _machine(panel: "Axes", rows: Table) -> None:
    panel.plot(rows["seconds"] / 60, rows["load"], color="tab:gray", label="load average")
    panel.plot(rows["seconds"] / 60, rows["reference_ms"] / 10, color="tab:olive", label="a fixed piece of work, 10 ms")
    panel.set_ylim(bottom=0)
    panel.set_ylabel("machine")
    _legend(panel)


def _legend(panel: "Axes") -> None:
    """Above the panel, where it hides nothing."""
    panel.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=3, frameon=False, borderaxespad=0.1, fontsize="small")
