"""The lips on any recording, judged by the phones that a recogniser of human speech hears in it; no labels needed.

The recogniser is the package ``hama``, decoded over the whole recording. A model that listens to the same recogniser
hears it only through short windows, so that it is a judge of its own kind, but not a stranger to that model.
"""

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from streamingtalker.audio import RATE, load_pcm
from streamingtalker.checkpoint import load_own_talker
from streamingtalker.data.phones import BILABIALS, LABIODENTALS, ROUNDED, VOWELS, from_ipa
from streamingtalker.errors import UserError
from streamingtalker.evaluation.mouth import Motion, Mouth, Thresholds
from streamingtalker.generate import generate

BEFORE, AFTER = 3, 1  # frames around a heard phone in which its shape may be reached: it is heard late, to 0.07 s
AROUND = 1  # frames around a heard vowel that should be open
SHIFTS = 40  # lips moved to as many other times, to see what chance gives
LEAST_SHIFT = 0.5  # seconds

METHOD = """Judged by the phoneme recogniser hama over the whole recording; it notices a phone up to 0.07 s late, so a
shape counts from 3 frames before to 1 after. *At other times*: the same lips moved in time, which is what chance gives.
A phone that was misheard is counted as heard."""


class RecordingError(UserError):
    """A recording that cannot be judged."""


@dataclass(frozen=True)
class Heard:
    """A phone and when the recogniser noticed it."""

    name: str
    seconds: float


@dataclass(frozen=True)
class Finding:
    """What the lips did at one kind of phone; shares from 0 to 1."""

    phones: int
    share: float
    by_chance: float


Share = Callable[[np.ndarray, Sequence[int]], float]  # a shape (bool [T]) and frames → from 0 to 1
Hear = Callable[[np.ndarray], Sequence[tuple[str, float]]]  # PCM [n] at 16 kHz → symbols (IPA) and their seconds


def open_judge() -> Hear:
    """hama over a whole recording. Raises RecordingError where it is not installed, as on Windows."""
    try:
        import hama

        model = hama.ASRModel()
    except (ImportError, OSError, RuntimeError) as error:
        raise RecordingError(
            f"The phoneme recogniser that judges recordings is missing ({error}); install 'hama' on Linux or macOS."
        ) from error

    def hear(pcm: np.ndarray) -> list[tuple[str, float]]:
        spans = model.phoneme_spans(model.transcribe_waveform(pcm, RATE))
        return [(span.phoneme, span.start_ms / 1000) for span in spans]

    return hear


def phones_of(symbols: Sequence[tuple[str, float]]) -> list[Heard]:
    """The phones of English among the recogniser's symbols; it knows many more languages' sounds."""
    heard = []
    for symbol, seconds in symbols:
        try:
            heard += [Heard(name, seconds) for name in from_ipa(symbol)]
        except ValueError:
            continue
    return heard


def judge(motion: Motion, heard: Sequence[Heard], limits: Thresholds, fps: float) -> dict[str, Finding]:
    """What the lips did at what was heard, beside what they would do had they moved at other times."""
    closed = limits.closed(motion)
    questions = {
        "closed at its m b p": (closed, BILABIALS),
        "lip at the teeth at its f v": (limits.at_teeth(motion), LABIODENTALS),
        "round at its u o w": (limits.round(motion), ROUNDED),
        "open at its vowels": (~closed, VOWELS),
    }
    findings = {}
    for title, (shape, phones) in questions.items():
        frames = [round(each.seconds * fps) for each in heard if each.name in phones]
        share = _frames_share if phones is VOWELS else _reached_share
        findings[title] = Finding(len(frames), share(shape, frames), _by_chance(shape, frames, share, fps))
    return findings


def _reached_share(shape: np.ndarray, frames: Sequence[int]) -> float:
    """In how many of the phones at ``frames`` a shape (bool [T]) is reached."""
    windows = [shape[max(at - BEFORE, 0) : at + AFTER + 1] for at in frames]
    return float(np.mean([window.any() for window in windows])) if windows else math.nan


def _frames_share(shape: np.ndarray, frames: Sequence[int]) -> float:
    """In how many of the frames around ``frames`` a shape (bool [T]) is there."""
    windows = [shape[max(at - AROUND, 0) : at + AROUND + 1] for at in frames]
    return float(np.concatenate(windows).mean()) if windows else math.nan


def _by_chance(shape: np.ndarray, frames: Sequence[int], share: Share, fps: float) -> float:
    """The mean share for lips that move at other times: the curve turned round by at least half a second."""
    least = round(LEAST_SHIFT * fps)
    if len(shape) < 3 * least:
        return math.nan
    shifts = np.linspace(least, len(shape) - least, SHIFTS).astype(int)
    return float(np.mean([share(np.roll(shape, shift), frames) for shift in shifts]))


def run(options: argparse.Namespace, hear: Hear | None = None) -> dict[str, Any]:
    """Judge ``options.recording``; gives the document of the run. Raises UserError."""
    pcm = load_pcm(options.recording)
    talker = load_own_talker(options.checkpoint)
    heard = phones_of((hear or open_judge())(pcm))
    if not heard:
        raise RecordingError(f"Nothing that sounds like speech was heard in {options.recording}; try another one.")
    mouth = Mouth.of(talker.topology)
    limits, takes = Thresholds.usual(mouth), []
    for seed in range(options.seeds):
        offsets = generate(talker, pcm, identity=options.identity, seed=seed)
        takes.append(judge(mouth.observe(offsets[:, mouth.watched]), heard, limits, talker.dims.fps))
    return {
        "recording": str(options.recording),
        "seconds_of_sound": len(pcm) / RATE,
        "seeds": options.seeds,
        "said": options.text,
        "heard": " ".join(each.name for each in heard),
        "findings": {title: _mean([take[title] for take in takes]) for title in takes[0]},
    }


def _mean(findings: Sequence[Finding]) -> dict[str, float]:
    return {
        "phones": findings[0].phones,
        "share": float(np.mean([each.share for each in findings])),
        "by_chance": float(np.mean([each.by_chance for each in findings])),
    }


def markdown(document: dict[str, Any]) -> str:
    """The small table."""
    said = [f"said:  {document['said']}"] if document["said"] else []
    lines = [
        f"{document['recording']}, {document['seconds_of_sound']:.1f} s, {document['seeds']} takes of the face",
        *said,
        f"heard: {document['heard']}",
        "",
        "| the lips are … | phones | share | at other times |",
        "| --- | --- | --- | --- |",
    ]
    for title, finding in document["findings"].items():
        shares = [
            f"{100 * finding[key]:.0f} %" if not math.isnan(finding[key]) else "–" for key in ("share", "by_chance")
        ]
        lines.append(f"| {title} | {finding['phones']} | {shares[0]} | {shares[1]} |")
    return "\n".join([*lines, "", METHOD])
