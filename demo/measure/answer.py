"""One long answer, spoken by the whole program: does the sound ever break off, how many pictures are drawn, how fast is
the face made?

The program runs as a user starts it, with its window on a virtual screen and its voice on a virtual loudspeaker.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo.measure.rig import RigError, busy_cores, sound_server, virtual_screen
from streamingtalker.errors import UserError

STORY = (
    "A talking head begins with a voice. The voice is cut into small pieces, and each piece is heard by a network "
    "that knows the sounds of speech. It tells another network which sound it was: an m, an oo, or the silence "
    "between two words. That other network knows how faces move. From the last second of movement and from what it "
    "hears next, it draws the following moment, thirty times a second, and never looks back further than it must. "
    "So it costs the same after an hour as in the first minute. Every moment is five thousand points in space. They "
    "become a picture with skin, eyes, teeth and hair, lit by three lamps. The picture is shown exactly when its "
    "sound leaves the loudspeaker, not earlier, not later. People notice when lips are late by a twentieth of a "
    "second. They do not know why, but they stop believing. Meanwhile the face blinks, breathes and nods, because "
    "nobody sits still while they speak. And all of this happens on the processor of an ordinary computer, without "
    "a graphics card, without a network, and without anybody who looks after it. "
)
DRAWN_A_SECOND = 20.0
TIMES_REAL_TIME = 1.5
_LONGEST_SECONDS = 300


@dataclass(frozen=True)
class Answer:
    """What the trace of the turn says."""

    seconds: float
    underruns: int
    drawn_a_second: float
    generation_speed: float
    picture_offsets_ms: tuple[float, float, float]  # 5, 50 and 95 %: due time minus audio clock

    @classmethod
    def of_trace(cls, trace: dict[str, Any]) -> "Answer":
        """Of the longest turn in a report of ``--trace``."""
        turn = max(trace["turns"], key=lambda turn: turn["audio_seconds"])
        offsets, seconds = turn["av_offset_ms"], turn["audio_seconds"]
        return cls(
            seconds,
            turn["underruns"],
            turn["frames_rendered"] / seconds,
            turn["generation_speed"] or 0.0,
            (offsets["p5"], offsets["p50"], offsets["p95"]),
        )

    @property
    def kept(self) -> bool:
        """Whether every goal is reached."""
        fast = self.drawn_a_second >= DRAWN_A_SECOND and self.generation_speed >= TIMES_REAL_TIME
        return fast and self.whole

    @property
    def whole(self) -> bool:
        """Whether the sound never broke off, whatever became of the pictures."""
        return self.underruns == 0

    def sentence(self) -> str:
        """For people."""
        low, middle, high = self.picture_offsets_ms
        return (
            f"{self.seconds:.0f} s of answer: {self.underruns} times no sound (goal 0), {self.drawn_a_second:.1f} "
            f"frames drawn a second (goal {DRAWN_A_SECOND:.0f}), made {self.generation_speed:.1f} times as fast as it "
            f"is shown (goal {TIMES_REAL_TIME:g}), pictures {middle:+.1f} ms from their "
            f"sound ({low:+.1f} to {high:+.1f})."
        )


def main(argv: list[str] | None = None) -> int:
    """The command line: 0 where every goal is reached, 1 where not, 2 where it could not be measured."""
    parser = argparse.ArgumentParser(prog="python -m demo.measure answer", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="OUT.json", help="keep the program's trace there")
    parser.add_argument(
        "--busy", action="store_true", help="keep every core busy with another program; then only the sound counts"
    )
    parser.add_argument("options", nargs="*", help="options of run_demo.py, after --")
    arguments = parser.parse_args(argv)
    try:
        with tempfile.TemporaryDirectory() as folder:
            trace = arguments.json or Path(folder) / "trace.json"
            with busy_cores(arguments.busy):
                tell_story(trace, arguments.options)
            answer = Answer.of_trace(json.loads(trace.read_text("utf-8")))
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    print(answer.sentence())
    print(f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors")
    return 0 if answer.kept or (arguments.busy and answer.whole) else 1


def tell_story(trace: Path, options: list[str]) -> None:
    """Have the program say STORY, on a rig of its own, and leave ``trace``. Raises RigError."""
    command = [sys.executable, "run_demo.py", "--say", STORY, "--trace", str(trace), *options]
    with tempfile.TemporaryDirectory() as folder, virtual_screen() as screen, sound_server(Path(folder)) as sound:
        home = {"HOME": os.environ.get("HOME", folder)}  # where the models are
        environment = os.environ | screen.env | sound.env | home
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_LONGEST_SECONDS)
    if done.returncode or not trace.is_file():
        raise RigError(f"The program failed: {(done.stderr.strip().splitlines() or ['it said nothing'])[-1]}")


if __name__ == "__main__":
    sys.exit(main())
