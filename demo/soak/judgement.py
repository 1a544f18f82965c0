"""Whether an endurance run kept its limits: memory, files and threads, latency and synchrony, to the end."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from demo.measure.sync import ALL_MS, MEDIAN_MS, MOST_MS, WANDER_MS
from demo.soak.record import DEEDS, OFFSETS, PROCESSES, Table, alone, read_status, read_table, read_turns

WARM_SECONDS = 600.0  # before that caches fill
MB_AN_HOUR = 10.0
SPREAD = 2  # file descriptors, threads, temporary files: up or down
SOON_MS, LATE_MS = 800.0, 1200.0  # voice to voice: median, 95 %
WORSE_MS, WORSE_SHARE = 100.0, 0.10  # at the end than at the beginning: the greater of the two
ANSWERED = 0.9  # of the questions asked alone
_WINDOW_SECONDS = 3600.0  # beginning and end are a third each, or this
_FEW = 10  # with fewer turns a median says nothing
_BRIEF_SECONDS = 60.0  # a process that lives shorter is a tool, not a part of the program
_THIN = 1000  # points are enough for a slope
_TOLD_TO_END = 143  # exit status; with another it ended by itself


@dataclass(frozen=True)
class Finding:
    """One limit, and what was measured."""

    name: str
    measured: str
    limit: str
    kept: bool | None  # None: there was too little to judge by


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
class Machine:
    """How busy the machine was, with everything that ran on it, and how quick."""

    load: tuple[float, float]  # load average: median, 95 %
    late_ms: tuple[float, float]  # how much too late a sleeper woke, the worst of each ten seconds: median, worst
    reference_ms: tuple[float, float]  # processor time of a fixed piece of work: median at the beginning, at the end

    @property
    def slower(self) -> float:
        """By which share it was slower at the end than at the beginning."""
        return self.reference_ms[1] / self.reference_ms[0] - 1


@dataclass(frozen=True)
class Windows:
    """Beginning and end of a run, in seconds."""

    first: tuple[float, float]
    last: tuple[float, float]

    @classmethod
    def of(cls, seconds: float) -> "Windows":
        """A third each of what is left of a run when caches are full, at most an hour."""
        warm = min(WARM_SECONDS, seconds / 10)
        length = min((seconds - warm) / 3, _WINDOW_SECONDS)
        return cls((warm, warm + length), (seconds - length, seconds))


@dataclass(frozen=True)
class Verdict:
    """A whole run."""

    minutes: float
    turns: int
    growths: tuple[Growth, ...]
    findings: tuple[Finding, ...]
    machine: Machine

    @property
    def kept(self) -> bool:
        """Whether no limit was broken."""
        return all(growth.kept for growth in self.growths) and all(one.kept is not False for one in self.findings)


def judge(out: Path) -> Verdict:
    """All figures of the run in ``out``, also of one that was broken off. Raises SoakError where there is none."""
    status = read_status(out)
    rows, deeds = read_table(out / "processes.csv", PROCESSES), read_table(out / "deeds.csv", DEEDS)
    turns = read_turns(out)
    if status is None:  # the last reading may have been cut short, or show a program half ended
        rows = _cut(rows, (0.0, float(np.unique(rows["seconds"])[:-1].max(initial=0.0))))
    seconds = float(rows["seconds"].max())
    windows = Windows.of(seconds)
    asked = turns["alone"] == 1
    return Verdict(
        minutes=seconds / 60,
        turns=len(turns["turn"]),
        growths=tuple(growths(rows)),
        findings=(
            *lasting(rows, status),
            answered(deeds["seconds"][alone(deeds)], turns["seconds"][asked], windows),
            *latency(turns["seconds"][asked], turns["voice_to_voice_ms"][asked], windows),
            underruns(turns["underruns"], turns["starved_ms"]),
            *synchrony(turns, windows),
        ),
        machine=machine(rows),
    )


# --- processes -------------------------------------------------------------------------------------------------------


def growths(rows: Table) -> list[Growth]:
    """Of every part of the program that lived when its caches were full."""
    warm = warm_at(rows)
    return [_growth(rows, pid, warm) for pid in parts(rows) if _alive_at(rows, pid, warm)]


def lasting(rows: Table, status: int | None) -> tuple[Finding, ...]:
    """Whether the same processes lived from beginning to end, left nothing behind and ended when they were told to."""
    anew = sum(not _alive_to_the_end(rows, pid) or not _alive_at(rows, pid, 120.0) for pid in parts(rows))
    files = rows["temporary_files"][rows["seconds"] >= warm_at(rows)]
    least, most = int(files.min()), int(files.max())
    ended = "the run was broken off" if status is None else f"exit status {status}"
    return (
        Finding("processes that ended or began anew", f"{anew}", "0", anew == 0),
        Finding("temporary files", span(least, most), f"± {SPREAD}", most - least <= 2 * SPREAD),
        Finding("ends when told to", ended, f"{_TOLD_TO_END}", None if status is None else status == _TOLD_TO_END),
    )


def machine(rows: Table) -> Machine:
    """How busy it was, and how quick: in the first and the last third of a run once it is warm."""
    load, late = rows["load"], rows["late_ms"]
    reference = rows["reference_ms"][rows["seconds"] >= warm_at(rows)]
    third = -(-len(reference) // 3)  # at least one reading
    first, last = float(np.median(reference[:third])), float(np.median(reference[-third:]))
    return Machine(
        (float(np.median(load)), float(np.percentile(load, 95))),
        (float(np.median(late)), float(late.max())),
        (first, last),
    )


def parts(rows: Table) -> list[int]:
    """The pids of processes that are parts of the program."""
    spans = {int(pid): np.ptp(rows["seconds"][rows["pid"] == pid]) for pid in np.unique(rows["pid"])}
    return [pid for pid, seconds in spans.items() if seconds >= _BRIEF_SECONDS]


def slope(x: np.ndarray, y: np.ndarray) -> float:
    """Theil and Sen's: the median of all slopes between two points, which a few outliers do not move."""
    every = -(-len(x) // _THIN)  # all pairs of a day would not fit into memory
    x, y = x[::every], y[::every]
    first, second = np.triu_indices(len(x), 1)
    return float(np.median((y[second] - y[first]) / (x[second] - x[first]))) if len(first) else 0.0


def warm_at(rows: Table) -> float:
    """The second from which on memory, files and threads are judged."""
    return min(WARM_SECONDS, float(rows["seconds"].max()) / 2)


def span(least: int, most: int) -> str:
    """From least to most, in words."""
    return f"{least}" if least == most else f"{least} to {most}"


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


# --- latency ---------------------------------------------------------------------------------------------------------


def answered(asked: np.ndarray, begun: np.ndarray, windows: Windows) -> Finding:
    """Questions ``asked`` alone and turns ``begun`` alone, seconds [n] and [m]: who is mute is never late.

    Of one question a pause may make two turns.
    """
    late, question_of = _within(asked, windows.last), np.searchsorted(asked, begun, "right") - 1
    questions, answers = int(late.sum()), int(late[np.unique(question_of[question_of >= 0])].sum())
    kept = answers >= ANSWERED * questions if questions else None
    return Finding("questions answered at the end", f"{answers} of {questions}", f"{ANSWERED:.0%}", kept)


def latency(seconds: np.ndarray, ms: np.ndarray, windows: Windows) -> tuple[Finding, ...]:
    """Voice to voice of turns that began at ``seconds`` [n] and took ``ms`` [n], NaN where nothing was heard."""
    seconds, ms = seconds[~np.isnan(ms)], ms[~np.isnan(ms)]
    first, last = ms[_within(seconds, windows.first)], ms[_within(seconds, windows.last)]
    kinds = (("median", 50, SOON_MS), ("95 %", 95, LATE_MS))
    return (
        *(_soon(f"voice to voice at the end, {name}", last, share, limit) for name, share, limit in kinds),
        *(_no_worse(f"voice to voice since the beginning, {name}", first, last, share) for name, share, _ in kinds),
    )


def underruns(times: np.ndarray, starved_ms: np.ndarray) -> Finding:
    """How many ``times`` [turns] the voice came too late once it was heard, with ``starved_ms`` of silence for it."""
    turns, count, silence = int((times > 0).sum()), int(times.sum()), float(starved_ms.sum())
    measured = f"{count} in {turns} turns, {silence:.0f} ms of silence" if count or silence else "0"
    return Finding("sound that came too late", measured, "0", not (count or silence))


def _soon(name: str, ms: np.ndarray, share: float, limit: float) -> Finding:
    if not len(ms):
        return Finding(name, "nothing was heard", f"{limit:.0f} ms", None)
    at = float(np.percentile(ms, share))
    return Finding(name, f"{at:.0f} ms of {len(ms)} turns", f"{limit:.0f} ms", at <= limit)


def _no_worse(name: str, first: np.ndarray, last: np.ndarray, share: float) -> Finding:
    limit = f"+{WORSE_MS:.0f} ms or +{WORSE_SHARE:.0%}"
    if min(len(first), len(last)) < _FEW:
        return Finding(name, f"{len(first)} and {len(last)} turns are too few to tell", limit, None)
    before, after = float(np.percentile(first, share)), float(np.percentile(last, share))
    kept = after - before <= max(WORSE_MS, WORSE_SHARE * before)
    return Finding(name, f"{before:.0f} → {after:.0f} ms ({after - before:+.0f} ms)", limit, kept)


# --- synchrony -------------------------------------------------------------------------------------------------------


def synchrony(turns: Table, windows: Windows) -> tuple[Finding, ...]:
    """How far pictures were from their sound; positive: the sound was early, the picture late."""
    shown = {name: column[~np.isnan(turns["offset_p50_ms"])] for name, column in turns.items()}
    limits = f"± {MEDIAN_MS:.0f} ms", _limits(MOST_MS), _limits(ALL_MS)
    names = "offset, median", "offset, 5–95 %", "offset, all"
    if not len(shown["turn"]):
        unseen = tuple(Finding(*row, None) for row in zip(names, ("no pictures",) * 3, limits, strict=True))
        return (*unseen, _moved(shown, windows))
    low, middle, high = quantiles(shown, (0.05, 0.5, 0.95))
    least, most = float(shown["offset_min_ms"].min()), float(shown["offset_max_ms"].max())
    return (
        Finding(names[0], f"{middle:+.1f} ms", limits[0], abs(middle) <= MEDIAN_MS),
        Finding(names[1], f"{low:+.1f} to {high:+.1f} ms", limits[1], MOST_MS[0] <= low and high <= MOST_MS[1]),
        Finding(names[2], f"{least:+.1f} to {most:+.1f} ms{_outside(shown)}", limits[2], not _outside(shown)),
        _moved(shown, windows),
    )


def quantiles(turns: Table, shares: tuple[float, ...]) -> tuple[float, ...]:
    """Of all pictures of ``turns``, from each turn's own five quantiles, straight lines between them, and its number.

    Closer than the median of medians: a turn that was broken off after three pictures does not count like a long one.
    """
    known = np.stack([turns[name] for name in OFFSETS], 1)
    weights = np.maximum(turns["pictures"], 1)
    ms = np.unique(known)
    below = sum(
        weight * np.interp(ms, five, (0, 0.05, 0.5, 0.95, 1)) for five, weight in zip(known, weights, strict=True)
    )
    return tuple(float(value) for value in np.interp(shares, below / weights.sum(), ms))


def _moved(shown: Table, windows: Windows) -> Finding:
    name, limit = "offset since the beginning, median", f"± {WANDER_MS:.0f} ms"
    first, last = (_cut(shown, window) for window in (windows.first, windows.last))
    counts = len(first["turn"]), len(last["turn"])
    if min(counts) < _FEW:
        return Finding(name, f"{counts[0]} and {counts[1]} turns are too few to tell", limit, None)
    moved = quantiles(last, (0.5,))[0] - quantiles(first, (0.5,))[0]
    return Finding(name, f"{moved:+.1f} ms", limit, abs(moved) <= WANDER_MS)


def _outside(turns: Table) -> str:
    beyond = (turns["offset_min_ms"] < ALL_MS[0]) | (turns["offset_max_ms"] > ALL_MS[1])
    return f", beyond it in {beyond.sum()} of {len(beyond)} turns" if beyond.any() else ""


def _limits(pair: tuple[float, float]) -> str:
    return f"{pair[0]:+.0f} to {pair[1]:+.0f} ms"


def _cut(turns: Table, window: tuple[float, float]) -> Table:
    inside = _within(turns["seconds"], window)
    return {name: column[inside] for name, column in turns.items()}


def _within(seconds: np.ndarray, window: tuple[float, float]) -> np.ndarray:
    return (window[0] <= seconds) & (seconds <= window[1])
