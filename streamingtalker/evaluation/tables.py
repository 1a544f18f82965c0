"""Scores as a JSON report that says what it measured, and reports side by side as one Markdown table."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from streamingtalker.errors import UserError, command_line
from streamingtalker.evaluation.figures import Score, SequenceMetrics
from streamingtalker.evaluation.sequences import TestBed
from streamingtalker.places import writing

VERSION = 1
AGGREGATION = (
    "mean over the frames of a sequence, then over its seeds and identities, then over sequences; "
    "'pooled' weights sequences by their frames instead"
)
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Column:
    """One figure in a table."""

    name: str
    part: str  # of the report
    key: str  # in that part
    power: int  # of ten it is shown in
    biwi_power: int
    unit: str  # where lengths are metres

    def exponent(self, kind: str) -> int:
        """The power of ten for that kind of data; the paper's for LVE and FDD."""
        return self.biwi_power if kind == "biwi" else self.power

    def heading(self, document: dict[str, Any]) -> str:
        """Name, power and unit."""
        power = str(self.exponent(document["data"]["kind"])).translate(_RAISED)
        return f"{self.name} (10{power}{f' {self.unit}' if document['units']['length'] == 'm' else ''})"

    def cell(self, document: dict[str, Any], row: dict[str, Any] | None = None) -> str:
        """The figure in that power; of a ``row`` (a tenth) where there is one."""
        value = (row or document[self.part])[self.key]
        return "–" if value is None else f"{value / 10 ** self.exponent(document['data']['kind']):.4f}"


FIGURES = (
    Column("LVE ↓", "figures", "lve", -5, -4, "m²"),
    Column("FDD", "figures", "fdd", -6, -5, "m²"),
    Column("abs. FDD ↓", "figures", "fdd_absolute", -6, -5, "m²"),
    Column("MOD ↓", "figures", "mod", -3, -3, "m"),
)
COLUMNS = (*FIGURES, Column("diversity of lips", "diversity", "lips", -3, -3, "m"))


class ReportError(UserError):
    """A report that cannot be read, or does not belong beside another."""


def report(bed: TestBed, method: str, split: str, seeds: Sequence[int], policy: str, scores: Sequence[Score]) -> dict:
    """Everything that was measured and everything one must know to compare it. JSON."""
    frames = sum(score.frames for score in scores)
    return {
        "version": VERSION,
        "method": method,
        "data": {
            "path": str(bed.corpus.path),
            "kind": bed.kind,
            "split": split,
            "fps": bed.corpus.fps,
            "sequences": len(scores),
            "frames": frames,
            "seconds": frames / bed.corpus.fps,
            "frames_without_prediction": sum(score.cut for score in scores),
        },
        "units": _units(bed),
        "regions": bed.regions,
        "identity_policy": policy,
        "identities": len({score.identity for score in scores if score.identity >= 0}),
        "conditions": sorted({condition for score in scores for condition in score.conditions}),
        "seeds": list(seeds),
        "aggregation": AGGREGATION,
        "figures": asdict(SequenceMetrics.mean([score.figures for score in scores])),
        "spread_over_sequences": _spread([score.figures for score in scores]),
        "spread_over_seeds": _spread(
            [SequenceMetrics.mean(row) for row in zip(*(s.by_seed for s in scores), strict=True)]
        ),
        "pooled": _pooled(scores),
        "still_face": asdict(SequenceMetrics.mean([score.still for score in scores])),
        "diversity": {
            "lips": _number(float(np.mean([score.diversity_lips for score in scores]))),
            "upper_face": _number(float(np.mean([score.diversity_upper for score in scores]))),
        },
        "mean_vertex_error": float(np.mean([score.vertex_errors.mean() for score in scores])),
        **({"tenths": _tenths(scores)} if scores[0].tenths else {}),
        "sequences": [_row(score) for score in scores],
    }


def table(documents: Sequence[dict[str, Any]]) -> str:
    """One Markdown table of several reports. Raises ReportError where they are not of one kind of data."""
    kinds = {document["data"]["kind"] for document in documents}
    if len(kinds) > 1:
        raise ReportError(f"Reports of different data ({', '.join(sorted(kinds))}) do not fit into one table.")
    heads = " | ".join(column.heading(documents[0]) for column in COLUMNS)
    lines = [f"| method | split | sequences | frames | {heads} |", f"|---|---|{'---:|' * (2 + len(COLUMNS))}"]
    for document in documents:
        data = document["data"]
        cells = " | ".join(column.cell(document) for column in COLUMNS)
        lines.append(f"| {document['method']} | {data['split']} | {data['sequences']} | {data['frames']} | {cells} |")
    return "\n".join([*lines, "", *_notes(documents)])


def tenths_table(document: dict[str, Any]) -> str:
    """The figures along the sequences, a tenth a row, in Markdown."""
    heads = " | ".join(column.heading(document) for column in FIGURES)
    lines = [f"| tenth | {heads} |", f"|---:|{'---:|' * len(FIGURES)}"]
    for number, row in enumerate(document["tenths"], 1):
        lines.append(f"| {number} | {' | '.join(column.cell(document, row) for column in FIGURES)} |")
    return "\n".join(lines)


def write(path: Path, document: dict[str, Any]) -> None:
    """As JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with writing(path):
        path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", "utf-8")


def read(path: Path) -> dict[str, Any]:
    """A report written by ``write``. Raises ReportError."""
    try:
        document = json.loads(path.read_text("utf-8"))
        if document["version"] != VERSION:
            raise ReportError(f"{path} is a report of another version; evaluate again.")
        for part in ("method", "data", "figures", "diversity", "units", "regions"):
            document[part]
        return dict(document)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ReportError(f"{path} is no report of an evaluation ({error!r}); evaluate again.") from error


@command_line
def main(argv: list[str] | None = None) -> int:
    """The command line of ``--table``."""
    parser = argparse.ArgumentParser(
        prog="python -m streamingtalker.evaluate", description="Reports side by side, as a Markdown table."
    )
    parser.add_argument("--table", type=Path, nargs="+", required=True, metavar="REPORT.json")
    print(table([read(path) for path in parser.parse_args(argv).table]))
    return 0


def _units(bed: TestBed) -> dict[str, str]:
    length = "m" if bed.units == "m" else "normalised (the surface of a face is 1)"
    square = "m²" if bed.units == "m" else "normalised, squared"
    return {"length": length, "lve": square, "fdd": square, "fdd_absolute": square, "mod": length, "diversity": length}


def _spread(rows: Sequence[SequenceMetrics]) -> dict[str, float]:
    values = np.array([list(asdict(row).values()) for row in rows])
    return dict(zip(asdict(rows[0]), values.std(0).tolist(), strict=True))


def _pooled(scores: Sequence[Score]) -> dict[str, float]:
    frames = np.array([score.frames for score in scores])
    return {
        name: float(np.average([getattr(score.figures, name) for score in scores], weights=frames))
        for name in ("lve", "mod", "lip_distance")
    }


def _tenths(scores: Sequence[Score]) -> list[dict[str, float]]:
    return [asdict(SequenceMetrics.mean(row)) for row in zip(*(score.tenths for score in scores), strict=True)]


def _row(score: Score) -> dict[str, Any]:
    return {
        "name": score.name,
        "identity": score.identity,
        "frames": score.frames,
        **asdict(score.figures),
        "diversity_lips": _number(score.diversity_lips),
    }


def _number(value: float) -> float | None:
    """JSON has no NaN."""
    return None if np.isnan(value) else float(value)


def _notes(documents: Sequence[dict[str, Any]]) -> list[str]:
    """What the table does not show, once each."""
    notes = {}
    for document in documents:
        regions = ", ".join(
            f"{name} {r['vertices']} vertices of {r['source']}" for name, r in document["regions"].items()
        )
        notes[
            f"Lengths: {document['units']['length']}. Regions: {regions}. Identities: {document['identity_policy']}. "
            f"Seeds: {', '.join(map(str, document['seeds']))}. Average: {document['aggregation']}."
        ] = document["method"]
    if len(notes) == 1:
        return list(notes)
    return [f"{method}: {note}" for note, method in notes.items()]
