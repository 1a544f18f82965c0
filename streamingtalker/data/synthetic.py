"""The synthetic corpus: speech with known phone times and the face that speaks it, in VOCASET's file layout.

``python -m streamingtalker.data.synthetic --out corpus --minutes 110 --seed 0 --jobs 2`` writes

* ``wav/<name>.wav`` int16 mono 16 kHz; ``vertices_npy/<name>.npy`` float32 [frames, V * 3], absolute, metres;
* ``weights_npy/<name>.npy`` float16 [frames, S] weights of the ARKit shapes; ``phones/<name>.json``;
* ``templates.npz`` with the rest face of each speaker, and last of all ``corpus.json``, the manifest.

Frame k shows the face at exactly k / 30 s of the sound. What is written depends on the seed and the minutes alone,
whatever the number of jobs. A run that was broken off goes on where it stopped. Sound and face of a clip are drawn
independently: with ``weights_npy`` removed, the same sound gets its faces anew.
"""

import argparse
import concurrent.futures
import functools
import hashlib
import json
import math
import multiprocessing
import os
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import rich.progress
import soundfile

from streamingtalker.config import RATE
from streamingtalker.data import augment
from streamingtalker.data.coarticulation import STYLES, mouth
from streamingtalker.data.expression import expression, join
from streamingtalker.data.phones import SILENCE, Phone, merge_silences
from streamingtalker.data.sentences import draw_text
from streamingtalker.data.speakers import VOICES, Manner, Voice, find_voice, speaker
from streamingtalker.data.visemes import LipSeal
from streamingtalker.errors import UserError, command_line
from streamingtalker.mood import MOODS, Mood, MoodChange, mood_curve
from streamingtalker.topology import DEFAULT_AVATAR, Rig, load_rig

FPS = 30.0
VERSION = 3  # of what is written for the same seed
LETTERS_A_SECOND = 14.5  # of English speech; how many clips make the minutes asked for
SPLIT_SHARES = {"train": 0.88, "val": 0.04, "test": 0.08}
NEW_VOICE_SHARE = 0.55  # of the minutes of validation and test, spoken by their unseen voices
SPEECHLESS_SHARE = 0.04  # of each split's minutes
SPEECHLESS = "noise"  # the name of what makes sounds without speech
NEUTRAL_SHARE = 0.35  # of the moods that a clip or a part of it is in
MOOD_CHANGE = 0.25  # chance that the mood turns within a clip


class CorpusError(UserError):
    """The corpus cannot be written as asked."""


@dataclass(frozen=True)
class Clip:
    """A clip to be made. All that is random in it comes from ``seed``."""

    name: str
    voice: str
    split: str
    style: int  # index into STYLES
    text: str  # what is said; the kind of sound where nothing is
    seed: tuple[int, ...]

    @property
    def seconds(self) -> float:
        """How long it will be, roughly."""
        return 5.0 if self.voice == SPEECHLESS else len(self.text) / LETTERS_A_SECOND + 0.7


@dataclass(frozen=True)
class Sound:
    """What is heard in a clip."""

    pcm: np.ndarray  # float32 [samples] at 16 kHz
    phones: tuple[Phone, ...]


ALL_VOICES = (SPEECHLESS, *(voice.name for voice in VOICES))


def plan(minutes: float, seed: int, voices: Collection[str] = ALL_VOICES) -> list[Clip]:
    """The clips of a corpus of about ``minutes`` with all voices, sorted by name; those of ``voices`` alone.

    What a voice says does not depend on which others are there.
    """
    clips: list[Clip] = []
    for split, share in SPLIT_SHARES.items():
        for voice, part in _voices_of(split):
            if voice in voices:
                clips += _plan_voice(voice, split, 60 * minutes * share * part, seed)
    return sorted(clips, key=lambda clip: clip.name)


def _voices_of(split: str) -> Iterator[tuple[str, float]]:
    """The voices heard in a split and their share of it."""
    new = [voice.name for voice in VOICES if voice.split == split != "train"]
    seen = {voice.name: voice.share for voice in VOICES if voice.share > 0}
    new_share = NEW_VOICE_SHARE if new else 0.0
    yield SPEECHLESS, SPEECHLESS_SHARE
    for name in new:
        yield name, (1 - SPEECHLESS_SHARE) * new_share / len(new)
    for name, share in seen.items():
        yield name, (1 - SPEECHLESS_SHARE) * (1 - new_share) * share / sum(seen.values())


def _plan_voice(voice: str, split: str, seconds: float, seed: int) -> Iterator[Clip]:
    key = (seed, int.from_bytes(hashlib.sha256(f"{voice} {split}".encode()).digest()[:4], "little"))
    rng = np.random.default_rng(key)
    styles = np.random.default_rng((*key, 1))
    made = 0.0
    first = {"train": 1, "val": 8001, "test": 9001}[split]
    number = first
    while made < seconds:
        text = str(rng.choice(augment.SPEECHLESS)) if voice == SPEECHLESS else draw_text(split, rng)
        style = int(styles.integers(len(STYLES)))
        clip = Clip(f"{voice}_sentence{number:04d}", voice, split, style, text, (*key, number))
        made += clip.seconds
        number += 1
        yield clip


def make_sound(clip: Clip) -> Sound:
    """Speak a clip. Raises SpeakerError where its synthesizer is not installed."""
    pcm, phones = _sound(clip, np.random.default_rng((*clip.seed, 0)))
    return Sound(pcm, tuple(phones))


def make_face(clip: Clip, sound: Sound, rig: Rig) -> np.ndarray:
    """Weights float32 [frames, S] of the face that says ``sound``."""
    rng = np.random.default_rng((*clip.seed, 1))
    frames = math.ceil(len(sound.pcm) * FPS / RATE)
    style = STYLES[clip.style]
    moods = mood_curve(draw_moods(clip, sound.phones), frames, FPS)
    spoken = mouth(sound.phones, frames, FPS, style, rng, _seal(rig), rig.shape_names, moods)
    lively = expression(sound.phones, frames, FPS, style, moods, rng, rig.shape_names, sound.pcm)
    return combine(spoken, lively, rig)


def draw_moods(clip: Clip, phones: Sequence[Phone]) -> list[MoodChange]:
    """The moods that a clip is spoken in; where it turns, it does so in a pause if there is one."""
    rng = np.random.default_rng((*clip.seed, 2))
    changes = [MoodChange(0.0, _draw_mood(rng))]
    if rng.random() < MOOD_CHANGE:
        seconds = phones[-1].end
        pauses = [phone.start for phone in phones[1:-1] if phone.name == SILENCE and phone.seconds > 0.12]
        at = float(rng.choice(pauses)) if pauses else rng.uniform(0.2, 0.8) * seconds
        changes.append(MoodChange(round(at, 3), _draw_mood(rng)))
    return changes


def _draw_mood(rng: np.random.Generator) -> Mood:
    if rng.random() < NEUTRAL_SHARE:
        return Mood()
    return Mood(str(rng.choice(MOODS)), round(float(rng.uniform(0.3, 1.0)), 2))


def combine(spoken: np.ndarray, lively: np.ndarray, rig: Rig) -> np.ndarray:
    """Weights [T, S] of a face that speaks and is lively, with the lips as far apart as speech alone has them."""
    return join(spoken, lively, _seal(rig), rig.shape_names)


@functools.lru_cache(maxsize=1)
def _rig(path: Path) -> Rig:
    return load_rig(path)


def _seal(rig: Rig) -> LipSeal:
    return LipSeal.of(rig)


def _sound(clip: Clip, rng: np.random.Generator) -> tuple[np.ndarray, list[Phone]]:
    """The clip's sound, float32 at 16 kHz, and its phones."""
    if clip.voice == SPEECHLESS:
        pcm = augment.speechless(clip.text, rng.uniform(2.5, 8.0), rng)
        return pcm, [Phone(SILENCE, 0.0, len(pcm) / RATE)]
    training = clip.split == "train"
    manner = _draw_manner(find_voice(clip.voice), rng) if training else Manner(seed=clip.seed[-1])
    recording = augment.draw_recording(rng) if training else augment.Recording()
    speech = speaker(clip.voice).speak(clip.text, manner)
    lead = float(rng.choice([0.0, rng.uniform(0, 0.5)]))
    tail = float(rng.choice([0.0, rng.uniform(0, 0.8)]))
    silences = [np.zeros(round(seconds * speech.rate), np.float32) for seconds in (lead, tail)]
    dry = np.concatenate([silences[0], speech.pcm, silences[1]])
    pcm = augment.record(dry, speech.rate, recording, rng)
    shift = len(silences[0]) / speech.rate / recording.resampling
    phones = [phone.moved(shift, 1 / recording.resampling) for phone in speech.phones]
    pads = [Phone(SILENCE, 0.0, phones[0].start), Phone(SILENCE, phones[-1].end, len(pcm) / RATE)]
    return pcm, merge_silences([pads[0], *phones, pads[1]])


def _draw_manner(voice: Voice, rng: np.random.Generator) -> Manner:
    pace = float(np.clip(np.exp(rng.normal(0, 0.12)), 0.78, 1.28))
    spread = {"espeak": 0.25, "hibari": 0.15, "piper": 0.15}.get(voice.engine, 0.10)
    return Manner(pace, float(np.exp(rng.normal(0, spread))), int(rng.integers(2**31)))


@dataclass(frozen=True)
class Job:
    """What a worker process needs to know besides the clip."""

    out: Path
    avatar: Path
    vertices: bool

    def path(self, kind: str, name: str) -> Path:
        """The file of a clip: of kind wav, phones, vertices or weights."""
        return self.out / _FILES[kind].format(name)


_FILES = {
    "wav": "wav/{}.wav",
    "phones": "phones/{}.json",
    "vertices": "vertices_npy/{}.npy",
    "weights": "weights_npy/{}.npy",
}


def make_clip(clip: Clip, job: Job) -> dict[str, object]:
    """Write the files of a clip unless they are there; its entry of the manifest."""
    sound = _sound_on_disk(clip, job)
    _face_on_disk(clip, sound, job)
    return {
        "name": clip.name,
        "voice": clip.voice,
        "style": clip.style,
        "moods": [[change.start, str(change.mood)] for change in draw_moods(clip, sound.phones)],
        "split": clip.split,
        "seconds": len(sound.pcm) / RATE,
        "text": clip.text,
    }


def _sound_on_disk(clip: Clip, job: Job) -> Sound:
    """The clip's sound as its files have it, made first where they are missing."""
    wav, phones = job.path("wav", clip.name), job.path("phones", clip.name)
    if not phones.is_file():  # written last
        write_sound(make_sound(clip), wav, phones)
    pcm, _ = soundfile.read(wav, dtype="float32")
    entries = json.loads(phones.read_text())
    return Sound(pcm, tuple(Phone(entry["phone"], *(entry[key] for key in _PHONE_KEYS)) for entry in entries))


_PHONE_KEYS = ("start", "end", "stress")


def write_sound(sound: Sound, wav: Path, phones: Path) -> None:
    """Write a clip's sound and the times of its phones."""
    samples = np.clip(np.round(sound.pcm * 32767), -32768, 32767).astype(np.int16)
    soundfile.write(wav, samples, RATE, subtype="PCM_16")
    entries = [
        {"phone": phone.name, "start": round(phone.start, 4), "end": round(phone.end, 4), "stress": phone.stress}
        for phone in sound.phones
    ]
    part = phones.with_suffix(".part")
    part.write_text(json.dumps(entries))
    part.replace(phones)


def _face_on_disk(clip: Clip, sound: Sound, job: Job) -> None:
    vertices, weights = job.path("vertices", clip.name), job.path("weights", clip.name)
    if weights.is_file() and (vertices.is_file() or not job.vertices):
        return
    rig = _rig(job.avatar)
    face = make_face(clip, sound, rig).astype(np.float16)
    if job.vertices:
        moved = rig.topology.template + rig.offsets(face)
        _save(vertices, moved.reshape(len(moved), -1).astype(np.float32))
    _save(weights, face)


def _save(path: Path, array: np.ndarray) -> None:
    """Whole or not at all, so that a broken run leaves no half file."""
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        np.save(file, array)
    part.replace(path)


def make_corpus(
    out: Path, minutes: float, seed: int, jobs: int = 1, vertices: bool = True, avatar: Path = DEFAULT_AVATAR,
    voices: Collection[str] = ALL_VOICES, progress: rich.progress.Progress | None = None,
) -> dict[str, object]:  # fmt: skip
    """Write the corpus to ``out`` and return its manifest.

    Raises CorpusError where ``out`` holds another corpus, SpeakerError where a synthesizer is missing.
    """
    rig = load_rig(avatar)
    clips = plan(minutes, seed, voices)
    job = Job(out, avatar, vertices)
    _claim(
        out,
        {"version": VERSION, "minutes": minutes, "seed": seed, "avatar": rig.topology.name, "voices": sorted(voices)},
    )
    for kind in _FILES:
        if kind != "vertices" or vertices:
            job.path(kind, "x").parent.mkdir(parents=True, exist_ok=True)
    made = []
    task = progress.add_task("clips", total=len(clips)) if progress else None
    for entry in _run(clips, job, jobs):
        made.append(entry)
        if progress and task is not None:
            progress.advance(task)
    templates = {clip.voice: rig.topology.template for clip in clips}
    np.savez(out / "templates.npz", **templates)  # type: ignore[arg-type]
    return write_manifest(out, sorted(made, key=lambda entry: str(entry["name"])), rig, minutes, seed)


def _run(clips: Sequence[Clip], job: Job, jobs: int) -> Iterable[dict[str, object]]:
    if jobs <= 1:
        yield from (make_clip(clip, job) for clip in clips)
        return
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(jobs, mp_context=context) as pool:
        yield from pool.map(functools.partial(make_clip, job=job), clips, chunksize=8)


def _claim(out: Path, settings: dict[str, object]) -> None:
    """Note in ``out`` what is being made there. Raises CorpusError where something else was begun."""
    note = out / "settings.json"
    if note.is_file() and json.loads(note.read_text()) != settings:
        raise CorpusError(f"{out} holds a corpus made with other settings ({note}); give another folder or empty it.")
    out.mkdir(parents=True, exist_ok=True)
    note.write_text(json.dumps(settings))


def write_manifest(
    out: Path, entries: Sequence[dict[str, object]], rig: Rig, minutes: float, seed: int
) -> dict[str, object]:
    """Write and return ``corpus.json``, which makes a corpus complete."""
    manifest = {
        "version": VERSION,
        "fps": FPS,
        "rate": RATE,
        "avatar": rig.topology.name,
        "seed": seed,
        "minutes": minutes,
        "shape_names": list(rig.shape_names),
        "styles": [asdict(style) for style in STYLES],
        "moods": list(MOODS),
        "clips": list(entries),
        "complete": True,
    }
    part = out / "corpus.json.part"
    part.write_text(json.dumps(manifest, indent=1))
    part.replace(out / "corpus.json")
    return manifest


def _minutes_by_voice(manifest: dict[str, object]) -> dict[str, dict[str, float]]:
    minutes: dict[str, dict[str, float]] = {}
    for clip in manifest["clips"]:  # type: ignore[attr-defined]
        by_split = minutes.setdefault(clip["voice"], dict.fromkeys(SPLIT_SHARES, 0.0))
        by_split[clip["split"]] += clip["seconds"] / 60
    return minutes


@command_line
def main() -> int:
    """The command line; status 2 where the user has to mend something."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("corpus"))
    parser.add_argument("--minutes", type=float, default=110.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--avatar", type=Path, default=DEFAULT_AVATAR)
    parser.add_argument(
        "--vertices",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="also write vertices_npy, about 2 MB for each second of speech",
    )
    parser.add_argument("--voices", nargs="+", choices=ALL_VOICES, default=ALL_VOICES, metavar="NAME")
    options = parser.parse_args()
    columns = (
        rich.progress.TextColumn("{task.description}"),
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TimeElapsedColumn(),
        rich.progress.TimeRemainingColumn(),
    )
    with rich.progress.Progress(*columns) as progress:
        manifest = make_corpus(
            options.out,
            options.minutes,
            options.seed,
            options.jobs,
            options.vertices,
            options.avatar,
            options.voices,
            progress,
        )
    for voice, splits in sorted(_minutes_by_voice(manifest).items()):
        print(f"{voice:10}", " ".join(f"{split} {minutes:6.1f} min" for split, minutes in splits.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
