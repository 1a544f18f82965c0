"""``python -m demo.measure kiosk``: a stand runs by itself for some minutes while seeded visitors come and go.

They ask, ask again, interrupt, cough, stand there in silence or leave; between them the hall murmurs. Every picture's
state is written down; afterwards it is judged whether one of them, or a step from one to the next, was wrong, and
whether any word that was said is to be found in the log.
"""

import argparse
import csv
import itertools
import json
import logging
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from demo.measure.conversation import machine
from demo.measure.hall import AUDIBLE, Hall, Moment
from demo.measure.listening import words
from demo.measure.visitors import Sound, noises, questions
from demo.overlay import font
from demo.settings import Settings
from streamingtalker.errors import UserError

STATES = ("inviting", "listening", "hearing", "thinking", "speaking")
COLORS = ((150, 150, 160), (90, 140, 220), (80, 190, 120), (230, 180, 60), (220, 90, 90))
_QUIET = 20.0  # seconds after which the stand forgets, so that ten minutes see it often
_INVITE = 30.0
_SLACK = 3.0  # seconds that anything may be late
_THINKING = 12.0  # seconds, at most
_DEVICE = 0.15  # seconds between a sample's handing over and its being heard, and of a picture
_COMMON = 5  # letters a word needs so that finding it in the log means something


@dataclass(frozen=True)
class Deed:
    """What the visitors did."""

    time: float  # monotonic
    name: str
    end: float


@dataclass
class Visit:
    """All that happened."""

    began: float
    deeds: list[Deed] = field(default_factory=list)
    said: list[str] = field(default_factory=list)


class Visitors:
    """Drawn from a generator: the same seed does the same, though when depends on the answers."""

    def __init__(self, asked: Sequence[Sound], sounds: Sequence[Sound], seconds: float, seed: int) -> None:
        self._questions, self._noises = itertools.cycle(asked), itertools.cycle(sounds)
        self._seconds = seconds
        self._rng = np.random.default_rng(seed)

    def visit(self, hall: Hall) -> Visit:
        """Come and go until the time is over; then leave it alone until it has forgotten."""
        self._hall, self._visit = hall, Visit(time.monotonic())
        deeds = (self._ask, self._ask, self._interrupt, self._noise, self._hesitate, self._leave)
        while time.monotonic() < self._visit.began + self._seconds:
            deeds[int(self._rng.integers(len(deeds)))]()
        self._wait(_QUIET + 25.0, "everybody has gone")
        return self._visit

    def _ask(self) -> None:
        self._say("asks", next(self._questions))
        self._hall.until(lambda: self._turn() is not None, 15)
        self._hall.until(lambda: self._turn() is None, 60)
        time.sleep(float(self._rng.uniform(0.3, 3.0)))

    def _interrupt(self) -> None:
        self._say("asks", next(self._questions))
        self._hall.until(lambda: self._turn() is not None, 15)
        time.sleep(float(self._rng.uniform(0.2, 3.0)))
        self._say("interrupts", next(self._questions))
        self._hall.until(lambda: self._turn() is None, 60)

    def _noise(self) -> None:
        sound = next(self._noises)
        self._say(sound.text, sound)
        time.sleep(1.0)

    def _hesitate(self) -> None:
        self._wait(float(self._rng.uniform(2.0, 8.0)), "stands there")

    def _leave(self) -> None:
        self._wait(float(self._rng.uniform(0.5, 2.5)) * _QUIET, "is away")

    def _wait(self, seconds: float, name: str) -> None:
        begin = time.monotonic()
        time.sleep(seconds)
        self._visit.deeds.append(Deed(begin, name, time.monotonic()))

    def _say(self, name: str, sound: Sound) -> None:
        first, last = self._hall.visitors.play(sound)
        if sound.voice:
            self._visit.said.append(sound.text)
        self._hall.until(lambda: time.monotonic() > last, 60)
        self._visit.deeds.append(Deed(first, name, last))

    def _turn(self) -> object:
        return self._hall.client.status.turn


@dataclass(frozen=True)
class Span:
    """A state that lasted."""

    begin: float
    end: float
    state: str
    turn: int | None
    attracting: bool

    @property
    def seconds(self) -> float:
        """How long."""
        return self.end - self.begin


def spans(moments: Sequence[Moment]) -> list[Span]:
    """The states that followed one another."""
    found: list[Span] = []
    for moment in moments:
        shown = "inviting" if moment.attracting and moment.state in ("listening", "idle") else moment.state
        same = found and (found[-1].state, found[-1].turn) == (shown, moment.turn)
        if same:
            found[-1] = replace(found[-1], end=moment.time, attracting=moment.attracting)
        else:
            begin = found[-1].end if found else moment.time
            found.append(Span(begin, moment.time, shown, moment.turn, moment.attracting))
    return found


def faults(states: Sequence[Span], settings: Settings) -> list[str]:
    """What was wrong with the states, in words."""
    found = []
    for span in states:
        limit = _limit(span.state, settings)
        if limit is not None and span.seconds > limit:
            found.append(f"{span.state} for {span.seconds:.1f} s at {span.begin:.1f}, {limit:.0f} are allowed")
        if (span.turn is None) != (span.state not in ("thinking", "speaking")):
            found.append(f"{span.state} with turn {span.turn} at {span.begin:.1f}")
    turns = [span.turn for span in states if span.turn is not None]
    if turns != sorted(turns):
        found.append("an older turn came back")
    return found + _bad_invitations(states, settings)


def _limit(state: str, settings: Settings) -> float | None:
    """Seconds a state may last."""
    answer = settings.longest_reply + 15 + _SLACK
    return {
        "hearing": settings.longest_question + _SLACK,
        "thinking": _THINKING + _SLACK,
        "speaking": answer,
        "listening": settings.quiet_seconds + settings.longest_question + _SLACK,
    }.get(state)


def _bad_invitations(states: Sequence[Span], settings: Settings) -> list[str]:
    """Turns that nobody asked for: the greeting, and invitations, which come neither too often nor in conversations."""
    by_turn: dict[int, list[Span]] = {}
    for span in states:
        if span.turn is not None:
            by_turn.setdefault(span.turn, []).append(span)
    begun = [those[0].begin for those in by_turn.values() if all(span.attracting for span in those)]
    return [
        f"invited after {later - earlier:.1f} s at {later:.1f}"
        for earlier, later in itertools.pairwise(begun)
        if later - earlier < settings.invite_seconds
    ]


def stray_sounds(hall: Hall) -> list[str]:
    """Moments at which something was heard while nobody had the turn."""
    found = []
    for before, after in itertools.pairwise(spans(hall.moments)):
        if before.turn is not None or before.seconds < 2 * _DEVICE or before.begin == after.begin:
            continue
        heard = hall.ear.last_between(before.begin + _DEVICE, before.end)
        if heard is not None:
            found.append(f"a sound above {AUDIBLE} at {heard:.1f} though nobody has the turn")
    return found


class Journal(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        """One more line."""
        self.text += record.getMessage() + "\n"


def leaks(log: str, said: Sequence[str]) -> list[str]:
    """Questions of visitors of which the log holds three words in a row."""
    logged = " ".join(words(log))
    return [
        f"the log holds {' '.join(three)!r}"
        for text in said
        for three in zip(*(words(text)[k:] for k in range(3)), strict=False)
        if max(map(len, three)) >= _COMMON and " ".join(three) in logged
    ]


def write_trace(path: Path, states: Sequence[Span], visit: Visit) -> None:
    """States and deeds in the order of their seconds, as CSV."""
    rows = [(span.begin, "avatar", span.state, span.end, span.turn) for span in states]
    rows += [(deed.time, "visitor", deed.name, deed.end, None) for deed in visit.deeds]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["begin", "who", "does", "end", "turn"])
        for begin, who, does, end, turn in sorted(rows, key=lambda row: row[0]):
            writer.writerow(
                [f"{begin - visit.began:.2f}", who, does, f"{end - visit.began:.2f}", "" if turn is None else turn]
            )


def draw_trace(path: Path, states: Sequence[Span], visit: Visit, width: int = 1600) -> None:
    """A row for each state, and one for what visitors do; two minutes to a strip."""
    strip, row, left = 120.0, 14, 90
    end = max(span.end for span in states) - visit.began
    strips = int(end // strip) + 1
    height = (len(STATES) + 2) * row + 22
    picture = Image.new("RGB", (width, strips * height), (250, 250, 248))
    draw, letters = ImageDraw.Draw(picture), font(11, "seconds")
    for number in range(strips):
        top = number * height + 4
        for line, name in enumerate((*STATES, "visitors")):
            draw.text((4, top + line * row), name, (60, 60, 60), letters)
        for tick in range(0, 121, 10):
            x = left + tick / strip * (width - left - 10)
            draw.line((x, top, x, top + (len(STATES) + 1) * row), (225, 225, 225))
            draw.text((x, top + (len(STATES) + 1) * row), f"{number * 120 + tick} s", (120, 120, 120), letters)

    def bar(begin: float, until: float, line: int, color: tuple[int, int, int]) -> None:
        for number in range(strips):
            low, high = max(begin - number * strip, 0.0), min(until - number * strip, strip)
            if high > low:
                scale, top = (width - left - 10) / strip, number * height + 4 + line * row
                draw.rectangle((left + low * scale, top + 2, left + high * scale + 1, top + row - 2), color)

    for span in states:
        if span.state in STATES:
            line = STATES.index(span.state)
            bar(span.begin - visit.began, span.end - visit.began, line, COLORS[line])
    for deed in visit.deeds:
        if deed.name not in ("stands there", "is away", "everybody has gone"):
            bar(deed.time - visit.began, deed.end - visit.began, len(STATES), (70, 70, 70))
    picture.save(path)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line. 0 where nothing was wrong, else 1."""
    parser = argparse.ArgumentParser(prog="python -m demo.measure kiosk", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-draw", action="store_true", help="leave the drawing out, as a graphics card would")
    parser.add_argument("--out", type=Path, default=Path("out/kiosk"), help="a folder for the trace and its picture")
    options = parser.parse_args(argv)
    journal = Journal()
    logging.basicConfig(level=logging.INFO, handlers=[journal])
    settings = Settings(kiosk=True, quiet_seconds=_QUIET, invite_seconds=_INVITE, seed=options.seed)
    on = machine()
    try:
        with tempfile.TemporaryDirectory() as name:
            asked, sounds = questions(40, Path(name), options.seed), noises(16, Path(name), options.seed)
            visitors = Visitors(asked, sounds, 60 * options.minutes, options.seed)
            with Hall(settings, draws=not options.no_draw) as hall:
                visit = hall.run(visitors.visit)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    states = spans([moment for moment in hall.moments if moment.time >= visit.began])
    wrong = faults(states, settings) + stray_sounds(hall) + leaks(journal.text, visit.said)
    options.out.mkdir(parents=True, exist_ok=True)
    write_trace(options.out / "trace.csv", states, visit)
    draw_trace(options.out / "trace.png", states, visit)
    report = {"machine": on, "seed": options.seed, "minutes": options.minutes, "wrong": wrong} | summary(states, visit)
    report["microphone_late_ms"] = round(1000 * hall.visitors.longest_lag)
    (options.out / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(report, indent=2))
    return 1 if wrong else 0


def summary(states: Sequence[Span], visit: Visit) -> dict[str, object]:
    """How much of what there was."""
    shares = {name: round(sum(span.seconds for span in states if span.state == name), 1) for name in STATES}
    turns = {span.turn for span in states if span.turn is not None}
    forgotten = sum(after.attracting and not before.attracting for before, after in itertools.pairwise(states))
    did = {name: sum(deed.name == name for deed in visit.deeds) for name in sorted({d.name for d in visit.deeds})}
    return {"seconds": shares, "turns": len(turns), "conversations_forgotten": forgotten, "visitors": did}
