"""The tables of articulation as Markdown, from the document a run leaves and nothing else."""

import math
from typing import Any

from streamingtalker.evaluation.measures import MEASURES, SEEN, UNSEEN, Measure

GROUPS = {SEEN: "voices heard in training", UNSEEN: "new voices"}
DRIFT, SHUT = 0.05, 1.0  # what endless speech may change; how far, in mm, the mouth may open without speech
PASSED, FAILED = "✓", "✗"


def markdown(document: dict[str, Any]) -> str:
    """The whole report."""
    sections = [_head(document)]
    sections += [_group(document, group) for group in GROUPS if group in _main(document)]
    sections += [_voices(document), _drift(document), _quiet(document)]
    sections += [_moods(document)] if "moods" in document else []
    sections += [_method(document)]
    return "\n\n".join(sections)


def _main(document: dict[str, Any]) -> dict[str, Any]:
    return next(iter(document["tables"].values()))


def _head(document: dict[str, Any]) -> str:
    spoken = ", ".join(f"{voice} {count}" for voice, count in document["sentences"].items())
    return (
        "# Articulation\n\n"
        f"`{document['command']}` ({document['seconds']} s), {document['frames']} frames of test sentences: {spoken}. "
        f"New voices, never trained or tuned on: {', '.join(document['new_voices']) or 'none'}. Means over "
        f"{document['seeds']} seeds with half of the 95 % interval. {PASSED} the goal is met, {FAILED} it is not."
    )


def _group(document: dict[str, Any], group: str) -> str:
    columns = {name: table[group] for name, table in document["tables"].items() if group in table}
    lines = [f"## {GROUPS[group].capitalize()}", "", _row(["", "goal", *columns]), _row(["---"] * (2 + len(columns)))]
    for measure in MEASURES:
        cells = [_cell(measure, table[measure.key], group, name) for name, table in columns.items()]
        lines.append(_row([measure.title, measure.goal(group), *cells]))
    return "\n".join(lines)


def _cell(measure: Measure, value: dict[str, float], group: str, name: str) -> str:
    mean, half = _number(value["mean"]), value["interval"]
    text = measure.write(mean) + (f" {measure.write_spread(half)}" if half and not math.isnan(mean) else "")
    passed = measure.passes(mean, group)
    marked = name not in ("still face", "shuffled audio", "target") and passed is not None and not math.isnan(mean)
    return f"{text} {PASSED if passed else FAILED}" if marked else text


def _voices(document: dict[str, Any]) -> str:
    table = _main(document)
    voices = [name for name in table if name not in GROUPS]
    shown = [measure for measure in MEASURES if measure.goal(SEEN)]
    name = next(iter(document["tables"]))
    lines = [f"## Voice by voice ({name})", "", _row(["voice", "sentences", *(each.title for each in shown)])]
    lines.append(_row(["---"] * (2 + len(shown))))
    for voice in voices:
        cells = [each.write(_number(table[voice][each.key]["mean"])) for each in shown]
        new = " (new)" if voice in document["new_voices"] else ""
        lines.append(_row([voice + new, str(document["sentences"][voice]), *cells]))
    return "\n".join(lines)


def _drift(document: dict[str, Any]) -> str:
    lines = [
        "## 6000 frames without a stop",
        "",
        "Ten times the same 600 frames of sentences, one stream: the first tenth and the last say the same. The change",
        "is a share of the first value for errors, correlation and ratios, a difference for percentages and frames;",
        f"the goal is a mean change within {DRIFT:.0%}. ≈: its interval reaches there.",
        "",
    ]
    groups = document["drift"]
    titles = [f"{GROUPS[group]}: {what}" for group in groups for what in ("first", "last", "change")]
    lines += [_row(["", *titles]), _row(["---"] * (1 + len(titles)))]
    for measure in MEASURES:
        cells: list[str] = []
        for table in groups.values():
            cells += _change(measure, table[measure.key])
        lines.append(_row([measure.title, *cells]))
    return "\n".join(lines)


def _change(measure: Measure, value: dict[str, float]) -> list[str]:
    change, half = _number(value["change"]), value["interval"]
    if math.isnan(change):
        return [measure.write(_number(value["first"])), measure.write(_number(value["last"])), "–"]
    mark = PASSED if abs(change) <= DRIFT else "≈" if abs(change) - half <= DRIFT else FAILED
    shown = f"{change:+.2f} ± {half:.2f}" if measure.unit == "frames" else f"{100 * change:+.1f} ± {100 * half:.1f} %"
    return [measure.write(value["first"]), measure.write(value["last"]), f"{shown} {mark}"]


def _quiet(document: dict[str, Any]) -> str:
    lines = [
        "## Sounds without speech",
        "",
        f"Distance between the lips, mean of five pairs; goal: below {SHUT:.0f} mm in 99 % of the frames.",
        "",
        _row(["", *document["quiet"]]),
        _row(["---"] * (1 + len(document["quiet"]))),
    ]
    for key, title in (("p99", "99 % of the frames below"), ("mean", "mean")):
        cells = [f"{table[key]:.2f} mm" for table in document["quiet"].values()]
        if key == "p99":
            marks = [PASSED if table[key] < SHUT else FAILED for table in document["quiet"].values()]
            cells = [f"{cell} {mark}" for cell, mark in zip(cells, marks, strict=True)]
        lines.append(_row([title, *cells]))
    return "\n".join(lines)


def _moods(document: dict[str, Any]) -> str:
    kept = {measure.key: measure for measure in MEASURES}
    rows = document["moods"]
    shown = [key for key in next(iter(rows.values())) if key in kept]
    lines = [
        "## Moods",
        "",
        "Test sentences spoken all along in each mood at full intensity. *Recognised*: their mean face is nearer to",
        "the targets' mean face in that mood than to those in others.",
        "",
        _row(["", "recognised", *(kept[key].title for key in shown)]),
        _row(["---"] * (2 + len(shown))),
    ]
    for mood, values in rows.items():
        cells = [kept[key].write(_number(values[key])) for key in shown]
        lines.append(_row([mood, f"{100 * values['recognised']:.0f} %", *cells]))
    return "\n".join(lines)


def _method(document: dict[str, Any]) -> str:
    limits = document["thresholds"]
    right, up, forward = (1000 * value for value in limits["contact"])
    sampling = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in document["sampling"].items())
    return f"""## How it is measured

* Every frame is drawn as in a live stream, from the model's own past frames: `{document["checkpoint"]}`, {sampling}.
* The target is the corpus' own motion, not its image in the model's basis. A phone is asked for a shape only where the
  target itself shows it, within one frame of the phone; the column *target* therefore reads 100 %.
* *Lip error*: the largest distance of a lip vertex in each frame, mean over frames.
* *Closed*: the mean distance of five pairs of inner-lip vertices is below 1.5 mm. *Should be open*: every phone but
  m b p f v and silence, where the target is open and stays so for a frame before and after.
* *At the teeth*: the middle of the inner lower lip is within 2 mm of where the targets' f and v have it ({up:+.1f} mm
  up, {forward:+.1f} mm forward, {right:+.1f} mm aside of rest), and the upper lip is clear of it.
* *Rounded*: the mouth is narrower than {1000 * limits["narrow"]:.1f} mm and the lips stand out by more than
  {1000 * limits["forward"]:.1f} mm: half-way between the targets' median u o w and their median other vowel.
* *Correlation* and *lag* of the opening: means over sentences; the lag is where the correlation is largest, its sign
  left out.
* *Acceleration*: mean length of the second difference of the lip vertices. *Upper-face dynamics*: the standard
  deviation over time of a vertex' squared offset, mean over the upper face, as in FDD. Both as ratios to the target's.
* *Shuffled audio*: the model's motion to another sentence of about the same length. *No recogniser*: the same weights
  with the spectrum alone.
* Three rows say little alone: an untrained network keeps its mouth open, moves its brows as much and as fast as the
  targets do, and so meets those goals. They count beside the others and beside *shuffled audio*.
* Targets are made by rule from the phones; they differ from take to take, so no model can reach them all."""


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _number(value: float | None) -> float:
    return math.nan if value is None else value
