"""``python -m demo.measure conversation``: how well one talks with it, measured at its microphone and its loudspeaker.

Synthetic visitors with other voices than the avatar's ask, interrupt, cough and murmur in a simulated hall
(``hall.py``); recogniser, language model, voice and face are those of the program. What is reported was measured at the
virtual loudspeaker and in the pictures shown; the program's own trace is compared with that.
"""

import argparse
import json
import logging
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from demo.acoustics import babble
from demo.measure.hall import Hall
from demo.measure.listening import understand, word_error
from demo.measure.visitors import QUESTIONS, Sound, noises, questions
from demo.models import ModelStore
from demo.openings import Line, Question
from demo.recognizers import choose_recognizer
from demo.settings import Settings
from demo.trace import SPANS, TurnTrace
from streamingtalker.errors import UserError

PARTS = ("voice", "interruption", "noises", "feedback", "words")
MONOLOGUE = (
    "Once upon a time there was a lighthouse at the end of the world, and in it lived an old keeper with his cat. "
    "Every evening he climbed two hundred steps, lit the lamp and looked out over the sea. "
    "The ships that passed were small lights, and he knew each of them by name. "
    "One night in November a storm came up that was larger than all the storms before it. "
    "The waves rose as high as the window, and the wind tore the door from its hinges. "
    "But the keeper stayed with his lamp until the morning came, and no ship was lost that night. "
)
_REST_MM = 1.0  # between the lips beyond those of a face at rest
_REST_SECONDS = 0.1  # after the sound, until the mouth is at rest
_LONGEST_WAIT = 25.0  # seconds for an answer
_FADED_SECONDS = 0.2  # after a turn was stopped, until the last of it has left the loudspeaker


@dataclass(frozen=True)
class Figure:
    """A line of the report."""

    name: str
    value: float | None  # None: nothing was measured
    unit: str
    most: float | None = None  # the goal; None: for information

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached."""
        return None if self.most is None else self.value is not None and self.value <= self.most


@dataclass(frozen=True)
class Asked:
    """What came of a question."""

    seconds: float | None  # from its last sound to the first of the answer; None: no answer
    cut: bool  # a turn began before its end
    trace: TurnTrace | None


def voice_to_voice(hall: Hall, asked: Sequence[Sound]) -> list[Figure]:
    """How soon it answers, and whether it waits until the question is over."""
    results = [_ask(hall, sound) for sound in asked]
    answered = [result.seconds for result in results if result.seconds is not None and not result.cut]
    gaps = [gap for result in results if (gap := _gap_ms(result)) is not None]
    traces = [result.trace for result in results if result.trace is not None and not result.cut]
    return [
        _percentile("from a question's last sound to the answer's first, median", answered, 50, 0.8),
        _percentile("the same, 95 %", answered, 95, 1.2),
        Figure("questions cut off too early", _share(result.cut for result in results), "%", 3.0),
        Figure("questions without an answer", _share(result.seconds is None for result in results), "%"),
        Figure("trace's spans against what was measured, at most", max(gaps, default=None), "ms", 20.0),
        Figure("answers begun in secret", _share(trace.speculative for trace in traces), "%"),
        *(_percentile(f"of it {name}, median", _spans(traces, name), 50, None, "ms") for name in SPANS),
    ]


def _ask(hall: Hall, sound: Sound) -> Asked:
    """Ask, wait for the answer's first sound and its text, and go."""
    before = len(hall.turns)
    first, last = hall.visitors.play(sound)
    hall.until(lambda: hall.ear.first_after(first) is not None and _complete(hall), last - first + _LONGEST_WAIT)
    heard = hall.ear.first_after(first)
    hall.until(lambda: time.monotonic() > last + 0.3, 60)
    cut = bool(hall.turns_between(first, last - 0.05))
    hall.client.new_conversation()
    hall.quiet()
    traces = [trace for trace in hall.turns[before:] if trace.transcript]
    return Asked(None if heard is None else heard - last, cut, traces[-1] if traces else None)


def _complete(hall: Hall) -> bool:
    turn = hall.client.status.turn
    return turn is not None and turn.end is not None


def _gap_ms(result: Asked) -> float | None:
    """Between the sum of the trace's spans and what was measured outside."""
    if result.trace is None or result.seconds is None or result.cut:
        return None
    return abs(sum(result.trace.spans_ms.get(name, 0.0) for name in SPANS) - 1000 * result.seconds)


def _spans(traces: Sequence[TurnTrace], name: str) -> list[float]:
    return [trace.spans_ms[name] for trace in traces if name in trace.spans_ms]


@dataclass(frozen=True)
class Broken:
    """What came of an interruption."""

    silence: float | None  # seconds from the visitor's first sound to the avatar's last; None: it went on
    between: bool  # it drew breath just then, and said nothing more
    mouth: float  # millimetres between the lips, beyond rest, from 0.1 s after that
    late: bool  # something more of the old turn was heard


def interruption(hall: Hall, asked: Sequence[Sound], seed: int) -> list[Figure]:
    """How soon it falls silent for somebody who speaks into its answer."""
    rng = np.random.default_rng(seed)
    results = [_interrupt(hall, sound, float(rng.uniform(1.0, 4.0))) for sound in asked]
    silent = [1000 * result.silence for result in results if result.silence is not None and not result.between]
    mouths = [result.mouth for result in results if result.silence is not None]
    return [
        _percentile("from a visitor's first sound to silence, median", silent, 50, 250.0, "ms"),
        _percentile("the same, 95 %", silent, 95, 400.0, "ms"),
        Figure("visitors it talked over", _share(result.silence is None for result in results), "%"),
        Figure("visitors who met a pause, left out above", float(sum(result.between for result in results)), ""),
        Figure("lips apart beyond rest 100 ms later, at most", max(mouths, default=None), "mm", _REST_MM),
        Figure("old turns heard after their end", float(sum(result.late for result in results)), "", 0.0),
    ]


def _interrupt(hall: Hall, sound: Sound, after: float) -> Broken:
    rest = float(np.median([opening for _, opening in hall.renderer.shown[-30:]]))
    old = _talk(hall, after)
    first, last = hall.visitors.play(sound)
    stopped = hall.until(lambda: any(turn.turn == old and turn.interrupted for turn in hall.turns), last - first + 1.0)
    over = time.monotonic()
    hall.until(lambda: time.monotonic() > last + 0.2, 60)
    heard = hall.ear.last_between(first, over + _FADED_SECONDS)
    silence = first if heard is None else heard
    next_turn = hall.next_turn_from(old, last + 0.2)
    hall.until(lambda: hall.client.status.turn is not None and hall.client.status.turn.number != old, 5.0)
    begun = time.monotonic()
    hall.client.new_conversation()
    hall.quiet()
    if not stopped:
        return Broken(None, False, 0.0, False)
    again = hall.ear.first_after(silence + 0.001)
    widest = hall.renderer.widest(max(silence, over) + _REST_SECONDS, next_turn)
    late = again is not None and again < min(begun - 0.5, next_turn)
    return Broken(silence - first, heard is None, max(widest - rest, 0.0), late)


def _talk(hall: Hall, seconds: float) -> int:
    """Have the avatar talk for a while; its turn."""
    before = hall.client.status.turn
    assert before is None
    began = time.monotonic()
    hall.client.ask(Line(MONOLOGUE))
    hall.until(lambda: hall.ear.first_after(began) is not None, _LONGEST_WAIT)
    time.sleep(seconds)
    turn = hall.client.status.turn
    return -1 if turn is None else turn.number


def false_interruptions(hall: Hall, sounds: Sequence[Sound]) -> list[Figure]:
    """Whether coughs, laughs, claps and "mm-hm"s stop it."""
    stopped = []
    for sound in sounds:
        if hall.client.status.turn is None:
            hall.quiet()
            _talk(hall, 1.0)
        turns = len(hall.turns)
        _, last = hall.visitors.play(sound)
        hall.until(lambda last=last: time.monotonic() > last + 1.0, 30)  # type: ignore[misc]
        stopped.append((sound.text, any(turn.interrupted for turn in hall.turns[turns:])))
    hall.client.new_conversation()
    hall.quiet()
    kinds = sorted({name for name, _ in stopped})
    return [
        Figure("noises that stopped it", _share(was for _, was in stopped), "%", 5.0),
        *(Figure(f"of them {kind}", _share(was for name, was in stopped if name == kind), "%") for kind in kinds),
    ]


def feedback(hall: Hall, count: int) -> list[Figure]:
    """Whether it takes its own voice, fed back into the microphone, for somebody's."""
    begun = len(hall.turns)
    for number in range(count):
        before = len(hall.turns)
        hall.client.ask(Question(QUESTIONS[number % len(QUESTIONS)]))
        hall.until(lambda before=before: len(hall.turns) > before, 90)  # type: ignore[misc]
        hall.quiet()
    time.sleep(1.5)
    turns = hall.turns[begun:]
    return [
        Figure("answers fed back in which it interrupted itself", float(sum(t.interrupted for t in turns)), "", 0.0),
        Figure("times it answered itself", float(len(turns) - count), "", 0.0),
        Figure("answers fed back", float(count), ""),
    ]


def recognition(asked: Sequence[Sound], seconds: float, seed: int) -> list[Figure]:
    """How much worse it understands in a hall, and whether a hall alone makes it speak."""
    recognizer = choose_recognizer(Settings(), ModelStore(), lambda notice: None)
    hall = babble([sound.pcm for sound in asked], seconds, np.random.default_rng(seed))
    alone = understand(hall, recognizer)
    return [
        Figure("words wrong, clean", word_error(asked, hall, np.inf, recognizer), "%"),
        Figure("words wrong, in a hall at 10 dB", word_error(asked, hall, 10.0, recognizer), "%"),
        Figure(f"turns begun by {seconds:.0f} s of babble alone", float(len(alone.texts) + alone.lost), "", 0.0),
    ]


def _percentile(name: str, values: Sequence[float], percent: float, most: float | None, unit: str = "s") -> Figure:
    return Figure(name, float(np.percentile(values, percent)) if values else None, unit, most)


def _share(cases: Iterable[bool]) -> float:
    """Of those that are true, in %."""
    flags = list(cases)
    return 100 * sum(flags) / max(len(flags), 1)


def table(figures: dict[str, list[Figure]]) -> str:
    """As Markdown."""
    lines = ["| what | measured | goal | |", "|---|---|---|---|"]
    for part, rows in figures.items():
        lines.append(f"| **{part}** | | | |")
        lines += [f"| {row.name} | {_shown(row.value, row.unit)} | {_goal(row)} | {_verdict(row)} |" for row in rows]
    return "\n".join(lines)


def _shown(value: float | None, unit: str) -> str:
    if value is None:
        return "–"
    digits = 2 if unit == "s" else 1 if unit in ("%", "mm") else 0
    return f"{value:.{digits}f} {unit}".strip()


def _goal(row: Figure) -> str:
    return "" if row.most is None else "none" if row.most == 0 else f"≤ {row.most:g} {row.unit}"


def _verdict(row: Figure) -> str:
    return {None: "", True: "✓", False: "✗"}[row.met]


def machine() -> dict[str, object]:
    """On what it was measured, and how busy that was."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {"system": f"{platform.system()} {platform.machine()}", "processors": os.cpu_count(), "load_before": load}


def measure(parts: Sequence[str], count: int, answers: int, seed: int, draws: bool) -> dict[str, list[Figure]]:
    """All ``parts``. ``count`` of questions, interruptions and noises each; ``answers`` fed back."""
    figures: dict[str, list[Figure]] = {}

    def tell(part: str, rows: list[Figure]) -> None:
        figures[part] = rows
        print(table({part: rows}), file=sys.stderr, flush=True)  # the whole takes long

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        asked, sounds = questions(count, folder, seed), noises(count, folder, seed)

        def script(hall: Hall) -> None:
            hall.until(lambda: hall.turns, 30)  # the greeting
            hall.quiet()
            if "voice" in parts:
                tell("turn-taking", voice_to_voice(hall, asked))
            if "interruption" in parts:
                tell("interruption", interruption(hall, asked, seed))
            if "noises" in parts:
                tell("noises over its voice", false_interruptions(hall, sounds))
            if "feedback" in parts:
                tell("its own voice, at -20 dB", feedback(hall, answers))
            late = Figure("the microphone was heard late by, at most", 1000 * hall.visitors.longest_lag, "ms", 100.0)
            tell("the machine keeps up", [late])

        if set(parts) - {"words"}:
            with Hall(Settings(seed=seed), draws=draws) as hall:
                hall.run(script)
        if "words" in parts:
            tell("understanding", recognition(asked, 60.0, seed))
    return figures


def main(argv: Sequence[str] | None = None) -> int:
    """The command line. 0 where every goal is reached, else 1."""
    parser = argparse.ArgumentParser(prog="python -m demo.measure conversation", description=__doc__)
    parser.add_argument("--questions", type=int, default=50, help="as many interruptions and noises (default: 50)")
    parser.add_argument("--answers", type=int, default=100, help="fed back into the microphone (default: 100)")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="only these")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-draw", action="store_true", help="leave the drawing out, as a graphics card would")
    parser.add_argument("--quick", action="store_true", help="5 questions, 3 answers: does it work at all?")
    parser.add_argument("--json", type=Path, metavar="OUT.json", help="write the figures there, too")
    options = parser.parse_args(argv)
    count, answers = (5, 3) if options.quick else (options.questions, options.answers)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    on = machine()
    try:
        figures = measure(options.parts, count, answers, options.seed, not options.no_draw)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    print(table(figures))
    print(f"\n{count} questions by other voices than the avatar's; {on}")
    if options.json:
        report = {name: [asdict(row) | {"met": row.met} for row in rows] for name, rows in figures.items()}
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(
            json.dumps({"machine": on, "questions": count, "figures": report}, indent=2, default=float)
        )
    return 0 if all(row.met is not False for rows in figures.values() for row in rows) else 1
