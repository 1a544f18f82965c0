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
import json
import multiprocessing
import os
import sys
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import rich.progress
import soundfile

from streamingtalker.config import RATE
from streamingtalker.data.clips import (
    ALL_VOICES,
    FPS,
    SPLIT_SHARES,
    PlannedClip,
    Sound,
    draw_moods,
    make_face,
    make_sound,
    plan,
)
from streamingtalker.data.coarticulation import STYLES
from streamingtalker.data.phones import Phone
from streamingtalker.errors import UserError, command_line
from streamingtalker.mood import MOODS
from streamingtalker.topology import DEFAULT_AVATAR, Rig, load_rig

VERSION = 3  # of what is written for the same seed


class OtherCorpusError(UserError):
    """The folder already holds a corpus made with other settings."""


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


def make_clip(clip: PlannedClip, job: Job) -> dict[str, object]:
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


def _sound_on_disk(clip: PlannedClip, job: Job) -> Sound:
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


def _face_on_disk(clip: PlannedClip, sound: Sound, job: Job) -> None:
    vertices, weights = job.path("vertices", clip.name), job.path("weights", clip.name)
    if weights.is_file() and (vertices.is_file() or not job.vertices):
        return
    rig = _rig(job.avatar)
    face = make_face(clip, sound, rig).astype(np.float16)
    if job.vertices:
        moved = rig.topology.template + rig.offsets(face)
        _save(vertices, moved.reshape(len(moved), -1).astype(np.float32))
    _save(weights, face)


@functools.lru_cache(maxsize=1)
def _rig(path: Path) -> Rig:
    return load_rig(path)


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

    Raises OtherCorpusError where ``out`` holds another corpus, SpeakerError where a synthesizer is missing.
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


def _run(clips: Sequence[PlannedClip], job: Job, jobs: int) -> Iterable[dict[str, object]]:
    if jobs <= 1:
        yield from (make_clip(clip, job) for clip in clips)
        return
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(jobs, mp_context=context) as pool:
        yield from pool.map(functools.partial(make_clip, job=job), clips, chunksize=8)


def _claim(out: Path, settings: dict[str, object]) -> None:
    """Note in ``out`` what is being made there. Raises OtherCorpusError where something else was begun."""
    note = out / "settings.json"
    if note.is_file() and json.loads(note.read_text()) != settings:
        raise OtherCorpusError(
            f"{out} holds a corpus made with other settings ({note}); give another folder or empty it."
        )
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
