"""The whole demo as a person meets it: a window, a microphone that hears a question, a loudspeaker that answers."""

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from demo.measure.rig import MONITOR_RATE
from demo.models import ModelError, ModelStore, default_cache
from demo.surroundings import bundled_questions
from tests.conftest import missing
from tests.e2e.conftest import REPOSITORY

QUESTIONS = bundled_questions()[:2]


class Demo:
    """``run_demo.py`` in a process of its own, whose log tells what it is doing."""

    def __init__(self, *arguments: str, env: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "run_demo.py", *arguments],
            cwd=REPOSITORY,
            env=os.environ | env | {"STREAMINGTALKER_CACHE": str(default_cache()), "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.log: list[str] = []
        self._grown = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def wait_for(self, beginning: str, seconds: float = 90) -> str:
        """The first line of the log that begins so; fails with the log where it ends or takes too long."""
        with self._grown:
            found = self._grown.wait_for(lambda: self._find(beginning) or self.log[-1:] == [None], seconds)
        line = self._find(beginning)
        assert found and line, f"no line {beginning!r} in\n" + "\n".join(map(str, self.log))
        return line

    def stop(self) -> None:
        """As Ctrl-C does; a program that does not end by it fails, and ends all the same."""
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(30)
        finally:
            self.process.kill()

    def _find(self, beginning: str) -> str | None:
        return next((line for line in self.log if line and line.startswith(beginning)), None)

    def _read(self) -> None:
        for line in itertools.chain(self.process.stdout, [None]):
            with self._grown:
                self.log.append(line and line.rstrip("\n"))
                self._grown.notify_all()


def _words(text: str) -> list[str]:
    return "".join(c if c.isalnum() else " " for c in text.lower().replace("3d", "three d")).split()


def _word_errors(heard: list[str], said: list[str]) -> int:
    """Edit distance in words."""
    row = list(range(len(said) + 1))
    for i, word in enumerate(heard, 1):
        before, row[0] = row[0], i
        for j, other in enumerate(said, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (word != other))
    return row[-1]


@pytest.fixture(scope="module")
def whisper() -> object:
    """Whisper tiny.en, to read back what the loudspeaker said."""
    from faster_whisper import WhisperModel

    try:
        folder = ModelStore().path("whisper-tiny-en")
    except ModelError as error:
        missing(str(error))
    return WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=2)


@pytest.mark.e2e
@pytest.mark.timeout(240)
def test_two_questions_into_the_microphone_are_answered_by_the_loudspeaker(display, sound, whisper, tmp_path: Path):
    trace_file = tmp_path / "trace.json"
    with sound.recording() as recording:
        demo = Demo("--trace", str(trace_file), env=display.env | sound.env)
        try:
            demo.wait_for("Answer 1")  # the greeting
            answers, pictures = [], []
            for turn, question in enumerate(QUESTIONS, 2):
                began = len(recording.pcm)
                sound.play_into_microphone(question)
                demo.wait_for(f"Turn {turn}")
                pictures += [display.screenshot()]
                demo.wait_for(f"Answer {turn}")
                pictures += [display.screenshot()]
                answers.append(recording.pcm[began:])
        finally:
            demo.stop()

    turns = json.loads(trace_file.read_text())["turns"]
    assert [turn["turn"] for turn in turns] == [1, 2, 3]
    for turn, answer in zip(turns[1:], answers, strict=True):
        heard = _words(_transcribe(whisper, answer, tmp_path))
        said = _words(turn["reply"])
        print(f"asked {turn['transcript']!r}, answered {turn['reply']!r}, heard {' '.join(heard)!r}", turn["spans_ms"])
        assert turn["transcript"] and said
        assert _word_errors(heard, said) <= 0.1 * len(said)
        assert turn["frames_rendered"] > 0.3 * turn["frames_generated"]
    changed = [np.abs(a.astype(int) - b).max() > 60 for a, b in itertools.pairwise(pictures)]
    assert all(changed), "the window stood still"


def _transcribe(whisper: object, pcm: np.ndarray, folder: Path) -> str:
    path = folder / "answer.wav"
    soundfile.write(path, soxr.resample(pcm, MONITOR_RATE, 16_000), 16_000)
    segments, _ = whisper.transcribe(str(path), language="en", beam_size=5, condition_on_previous_text=False)
    return " ".join(segment.text for segment in segments)
