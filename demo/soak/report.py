"""What an endurance run shows: growth, latency and synchrony against their limits, as plots and as a table."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from demo.soak.stand import SoakError

COLUMNS = ("seconds", "pid", "process", "rss_mb", "fds", "threads", "cpu_seconds", "temporary_files")
TURNS = ("seconds", "turn", "voice_to_voice_ms", "offset_p5_ms", "offset_p50_ms", "offset_p95_ms", "offset_worst_ms")

WARM_SECONDS = 600.0  # before that caches fill
MB_AN_HOUR = 10.0
SPREAD = 2  # file descriptors, threads, temporary files: up or down
_BRIEF_SECONDS = 60.0  # a process that lives shorter is a tool, not a part of the program

Table = dict[str, np.ndarray]  # column: float64 [n], or str [n]


@dataclass(frozen=True)
class Growth:
    """One process after its caches were filled."""

    process: str
    start_mb: float
    end_mb: float
    mb_an_hour: float
    fds: tuple[int, int]  # least, most
    threads: tuple[int, int]

    @property
    def kept(self) -> bool:
        """Whether it is within the limits."""
        steady = all(most - least <= 2 * SPREAD for least, most in (self.fds, self.threads))
        return steady and self.mb_an_hour <= MB_AN_HOUR


@dataclass(frozen=True)
class Verdict:
    """A whole run."""

    minutes: float
    turns: int
    growths: tuple[Growth, ...]
    restarts: int
    status: int
    temporary_files: tuple[int, int]
    voice_to_voice: tuple[float, float, float]  # ms: median of the first half, of the second, 95 % of all
    offset: tuple[float, float, float]  # ms: the turns' medians: median of the first half, of the second; worst turn

    @property
    def kept(self) -> bool:
        """Whether everything that is a limit was kept."""
        steady = all(growth.kept for growth in self.growths)
        files = self.temporary_files[1] - self.temporary_files[0] <= 2 * SPREAD
        return steady and files and self.restarts == 0 and self.status in (0, 143) and self.turns > 0


def turns_of(out: Path, over: dict[int, float]) -> None:
    """Write turns.csv from the trace, each turn at the second when it was ``over``. Raises SoakError."""
    try:
        trace = json.loads((out / "trace.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise SoakError(f"The program left no trace in {out} ({error}); its log tells what happened.") from error
    with (out / "turns.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(TURNS)
        for turn in trace["turns"]:
            offset = turn["av_offset_ms"]
            figures = (turn["spans_ms"].get("voice_to_voice", ""), *(offset.get(k, "") for k in ("p5", "p50", "p95")))
            table.writerow((round(over.get(turn["turn"], 0.0), 1), turn["turn"], *figures, offset.get("max_abs", "")))


def read_table(path: Path) -> Table:
    """A CSV's columns; what is no number stays text, what is missing is NaN. Raises SoakError."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))
    except OSError as error:
        raise SoakError(f"{path} cannot be read ({error.strerror}); run python -m demo.soak first.") from error
    return {name: _column([row[k] for row in rows[1:]]) for k, name in enumerate(rows[0])}


def _column(values: list[str]) -> np.ndarray:
    try:
        return np.array([float(value or "nan") for value in values])
    except ValueError:
        return np.array(values)


def judge(out: Path) -> Verdict:
    """All figures of the run in ``out``. Raises SoakError where there is none."""
    rows, turns = read_table(out / "processes.csv"), read_table(out / "turns.csv")
    seconds = rows["seconds"]
    warm = min(WARM_SECONDS, float(seconds.max()) / 2)
    files = rows["temporary_files"][seconds >= warm]
    lasting = _lasting(rows)
    return Verdict(
        minutes=float(seconds.max()) / 60,
        turns=len(turns["turn"]),
        growths=tuple(_growth(rows, pid, warm) for pid in lasting if _alive_at(rows, pid, warm)),
        restarts=sum(not _alive_to_the_end(rows, pid) or not _alive_at(rows, pid, 120.0) for pid in lasting),
        status=int((out / "status.txt").read_text()),
        temporary_files=(int(files.min()), int(files.max())),
        voice_to_voice=_halves(turns["seconds"], turns["voice_to_voice_ms"], 95),
        offset=_halves(turns["seconds"], turns["offset_p50_ms"], None),
    )


def _lasting(rows: Table) -> list[int]:
    """Processes that are parts of the program."""
    spans = {int(pid): np.ptp(rows["seconds"][rows["pid"] == pid]) for pid in np.unique(rows["pid"])}
    return [pid for pid, span in spans.items() if span >= _BRIEF_SECONDS]


def _alive_at(rows: Table, pid: int, second: float) -> bool:
    return bool(rows["seconds"][rows["pid"] == pid].min() <= second)


def _alive_to_the_end(rows: Table, pid: int) -> bool:
    return bool(rows["seconds"][rows["pid"] == pid].max() >= rows["seconds"].max() - 1)


def _growth(rows: Table, pid: int, warm: float) -> Growth:
    chosen = (rows["pid"] == pid) & (rows["seconds"] >= warm)
    seconds, mb = rows["seconds"][chosen], rows["rss_mb"][chosen]
    few = max(1, len(mb) // 10)
    return Growth(
        str(rows["process"][chosen][0]),
        float(np.median(mb[:few])),
        float(np.median(mb[-few:])),
        slope(seconds / 3600, mb),
        (int(rows["fds"][chosen].min()), int(rows["fds"][chosen].max())),
        (int(rows["threads"][chosen].min()), int(rows["threads"][chosen].max())),
    )


def slope(x: np.ndarray, y: np.ndarray) -> float:
    """Theil and Sen's: the median of all slopes between two points, which a few outliers do not move."""
    first, second = np.triu_indices(len(x), 1)
    return float(np.median((y[second] - y[first]) / (x[second] - x[first]))) if len(first) else 0.0


def _halves(seconds: np.ndarray, values: np.ndarray, percentile: float | None) -> tuple[float, float, float]:
    """Median of the first half, of the second, and a percentile of all, or the one farthest from zero."""
    known = ~np.isnan(values)
    seconds, values = seconds[known], values[known]
    if len(values) < 2:
        return (float("nan"),) * 3
    early = seconds <= np.median(seconds)
    extreme = values[np.abs(values).argmax()] if percentile is None else np.percentile(values, percentile)
    return float(np.median(values[early])), float(np.median(values[~early])), float(extreme)


def report(verdict: Verdict) -> str:
    """As a page."""
    first, second, late = verdict.voice_to_voice
    offset_first, offset_second, offset_worst = verdict.offset
    rows = [
        f"| {g.process} | {g.start_mb:.1f} | {g.end_mb:.1f} | {g.mb_an_hour:+.1f} | {_range(g.fds)} | "
        f"{_range(g.threads)} | {'yes' if g.kept else '**no**'} |"
        for g in verdict.growths
    ]
    return "\n".join(
        [
            f"{verdict.minutes:.0f} minutes, {verdict.turns} turns, {verdict.restarts} restarts, exit status "
            f"{verdict.status}, temporary files {_range(verdict.temporary_files)}: "
            f"{'every limit kept' if verdict.kept else '**a limit was broken**'}.",
            "",
            "| process | MB after warming up | MB at the end | MB an hour | file descriptors | threads | kept |",
            "|---|---|---|---|---|---|---|",
            *rows,
            "",
            f"Voice to voice: median {first:.0f} ms in the first half, {second:.0f} ms in the second, 95 % within "
            f"{late:.0f} ms. Offset of the pictures (a turn's median): {offset_first:+.1f} ms in the first half, "
            f"{offset_second:+.1f} ms in the second, worst turn {offset_worst:+.1f} ms.",
            "",
        ]
    )


def _range(pair: tuple[int, int]) -> str:
    return f"{pair[0]}" if pair[0] == pair[1] else f"{pair[0]} to {pair[1]}"


def plot(out: Path, pictures: Path) -> Path:
    """Memory, latency and offset over time, as ``soak.png`` in ``pictures``."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    rows, turns = read_table(out / "processes.csv"), read_table(out / "turns.csv")
    figure, (memory, latency, offset) = plt.subplots(3, 1, figsize=(8, 7), sharex=True, layout="constrained")
    for pid in _lasting(rows):
        chosen = rows["pid"] == pid
        memory.plot(rows["seconds"][chosen] / 60, rows["rss_mb"][chosen], label=rows["process"][chosen][0])
    memory.legend(loc="center right")
    minutes = turns["seconds"] / 60
    latency.plot(minutes, turns["voice_to_voice_ms"], ".")
    offset.fill_between(minutes, turns["offset_p5_ms"], turns["offset_p95_ms"], alpha=0.3, label="5–95 %")
    offset.plot(minutes, turns["offset_p50_ms"], ".-", label="median")
    offset.legend(loc="upper right")
    for axes, name in ((memory, "memory, MB"), (latency, "voice to voice, ms"), (offset, "offset, ms")):
        axes.set_ylabel(name)
        axes.grid(alpha=0.3)
    memory.set_ylim(bottom=0)
    latency.set_ylim(bottom=0)
    offset.set_xlabel("minutes")
    pictures.mkdir(parents=True, exist_ok=True)
    figure.savefig(pictures / "soak.png", dpi=90)
    plt.close(figure)
    return pictures / "soak.png"
