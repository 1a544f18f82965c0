"""A source made into a corpus: sequence by sequence, each whole or not at all, so that a broken-off run goes on."""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from streamingtalker.audio.resample import Resampler
from streamingtalker.config import RATE
from streamingtalker.data.prepare.datasets import DataSet, Wanted
from streamingtalker.data.prepare.meshes import read_indices, read_mask
from streamingtalker.data.prepare.sources import SequenceError, Source, SourceError, open_vertices, read_sound
from streamingtalker.streaming import whole
from streamingtalker.tensor_file import write_tensors

LONGEST_DIFFERENCE = 0.5  # seconds between the ends of sound and motion before it is remarked on


@dataclass(frozen=True)
class Trouble:
    """A sequence that is missing or broken."""

    name: str
    split: str
    reason: str


@dataclass(frozen=True)
class Prepared:
    """A sequence that is in the corpus."""

    wanted: Wanted
    frames: int
    remark: str = ""


@dataclass(frozen=True)
class Region:
    """Vertices that a metric looks at."""

    vertices: np.ndarray  # int32
    source: str  # the file they are from


@dataclass(frozen=True)
class Outcome:
    """What became of a data set."""

    prepared: tuple[Prepared, ...]
    troubles: tuple[Trouble, ...]


def find_regions(data_set: DataSet, raw: Path, masks: Path | None, regions: Path | None) -> dict[str, Region]:
    """The regions ``lips`` and ``upper_face`` from the files the literature uses.

    VOCASET: ``masks``, default ``FLAME_masks.pkl`` in ``raw``. BIWI: ``lve.txt`` and ``fdd.txt`` in ``regions``,
    default ``raw/regions``. Raises UserError where they are missing.
    """
    if data_set.name == "vocaset":
        path = masks or raw / "FLAME_masks.pkl"
        upper = ("forehead", "eye_region")
        found = {
            "lips": Region(read_mask(path, "lips"), f"{path.name}: lips"),
            "upper_face": Region(read_mask(path, *upper), f"{path.name}: {' + '.join(upper)}"),
        }
    else:
        folder = regions or raw / "regions"
        found = {
            "lips": Region(read_indices(folder / "lve.txt"), "regions/lve.txt"),
            "upper_face": Region(read_indices(folder / "fdd.txt"), "regions/fdd.txt"),
        }
    for name, region in found.items():
        if not len(region.vertices) or region.vertices.max() >= data_set.vertices or region.vertices.min() < 0:
            raise SourceError(f"{region.source} has vertices for {name} that {data_set.name} does not; get it again.")
    return found


def prepare(
    data_set: DataSet,
    source: Source,
    out: Path,
    regions: dict[str, Region],
    done: Callable[[], None] = lambda: None,
    begin: Callable[[int], None] = lambda total: None,
) -> Outcome:
    """Write the corpus. ``begin`` hears how many sequences there are to be, ``done`` after each.

    Raises UserError where a file that everything needs is missing; sequences that are missing or broken are told in
    the outcome and in the manifest.
    """
    templates = source.templates()
    _write_topology(out, data_set, source.faces(), templates, regions)
    wanted = list(data_set.wanted())
    begin(len(wanted))
    prepared, troubles = [], []
    for sequence in wanted:
        try:
            if sequence.subject not in templates:
                raise SequenceError(f"there is no template of {sequence.subject}")
            prepared.append(_write_sequence(data_set, source, out, sequence))
        except SequenceError as error:
            troubles.append(Trouble(sequence.name, sequence.split, str(error)))
        done()
    outcome = Outcome(tuple(prepared), tuple(troubles))
    _write_manifest(out, data_set, outcome, regions)
    return outcome


def check(out: Path, data_set: DataSet, clips: Sequence[str]) -> list[Trouble]:
    """Read every file of the corpus' ``clips``: what is missing, damaged or not finite, and what was never there."""
    troubles = []
    for sequence in data_set.wanted():
        try:
            if sequence.name not in clips:
                raise SequenceError("is not in the corpus; prepare it again with its files in place")
            _finite(open_vertices(_vertices_file(out, sequence), data_set.vertices))
            read_sound([_sound_file(out, sequence)])
        except SequenceError as error:
            troubles.append(Trouble(sequence.name, sequence.split, str(error)))
    return troubles


def _write_sequence(data_set: DataSet, source: Source, out: Path, wanted: Wanted) -> Prepared:
    vertices_file, sound_file = _vertices_file(out, wanted), _sound_file(out, wanted)
    if not (vertices_file.exists() and sound_file.exists()):
        motion = source.motion(wanted)[:: data_set.source_fps // data_set.fps]
        vertices = np.asarray(motion, np.float32).reshape(len(motion), -1)
        _finite(vertices)
        sound, rate = source.sound(wanted)
        _write_sound(sound_file, sound, rate)
        _write_whole(vertices_file, lambda file: np.save(file, vertices))
    _write_whole(out / "phones" / f"{wanted.name}.json", lambda file: file.write(b"[]"))  # nobody has labelled them
    frames = len(open_vertices(vertices_file, data_set.vertices))
    difference = soundfile.info(sound_file).duration - frames / data_set.fps
    remark = f"the sound is {difference:+.2f} s longer than the motion" if abs(difference) > LONGEST_DIFFERENCE else ""
    return Prepared(wanted, frames, remark)


def _finite(vertices: np.ndarray) -> None:
    if not all(np.isfinite(block).all() for block in np.array_split(vertices, max(len(vertices) // 200, 1))):
        raise SequenceError("its motion holds values that are not finite numbers")


def _write_sound(path: Path, sound: np.ndarray, rate: int) -> None:
    pcm = whole(Resampler(rate, RATE), sound).clip(-1, 1)
    _write_whole(path, lambda file: soundfile.write(file, pcm, RATE, format="WAV", subtype="PCM_16"))


def _write_whole(path: Path, write: Callable[[Any], Any]) -> None:
    """The file appears when it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    with part.open("wb") as file:
        write(file)
    part.replace(path)


def _write_topology(
    out: Path, data_set: DataSet, faces: np.ndarray, templates: dict[str, np.ndarray], regions: dict[str, Region]
) -> None:
    if not templates:
        raise SourceError(f"There is no template of any subject of {data_set.name}; put its templates in place.")
    out.mkdir(parents=True, exist_ok=True)
    trained = [templates[subject] for subject in data_set.identities if subject in templates]
    tensors: dict[str, np.ndarray] = {
        "topology/template": np.stack(trained or list(templates.values())).mean(0).astype(np.float32),
        "topology/faces": faces.astype(np.int32),
        "topology/lip_pairs": np.array(data_set.lip_pairs, np.int32),
        "topology/lips": regions["lips"].vertices,
        "topology/upper_face": regions["upper_face"].vertices,
    }
    write_tensors(out / "topology.safetensors", tensors, kind="avatar", metadata={"name": data_set.name})
    _write_whole(out / "templates.npz", lambda file: np.savez(file, **templates))  # type: ignore[arg-type]


def _write_manifest(out: Path, data_set: DataSet, outcome: Outcome, regions: dict[str, Region]) -> None:
    index = {subject: number for number, subject in enumerate(data_set.identities)}
    clips = [
        {
            "name": item.wanted.name,
            "voice": item.wanted.subject,
            "style": index.get(item.wanted.subject, -1),
            "split": item.wanted.split,
            "seconds": item.frames / data_set.fps,
            "frames": item.frames,
            **({"remark": item.remark} if item.remark else {}),
        }
        for item in outcome.prepared
    ]
    document = {
        "version": 1,
        "kind": data_set.name,
        "fps": data_set.fps,
        "rate": RATE,
        "units": data_set.units,
        "vertices": data_set.vertices,
        "styles": [{"name": subject} for subject in data_set.identities],
        "regions": {
            name: {"source": region.source, "vertices": len(region.vertices)} for name, region in regions.items()
        },
        "clips": clips,
        "missing": [asdict(trouble) for trouble in outcome.troubles],
        "complete": not outcome.troubles,
    }
    _write_whole(out / "corpus.json", lambda file: file.write(json.dumps(document, indent=1).encode()))


def _vertices_file(out: Path, wanted: Wanted) -> Path:
    return out / "vertices_npy" / f"{wanted.name}.npy"


def _sound_file(out: Path, wanted: Wanted) -> Path:
    return out / "wav" / f"{wanted.name}.wav"
