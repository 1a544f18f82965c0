"""Where motion, sound and templates come from: the raw files of each data set, or the layout others prepared.

A source answers for one sequence at a time and raises SequenceError for one that is missing or broken.
"""

import re
import tarfile
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from streamingtalker.audio.files import AudioError, load_audio
from streamingtalker.data.prepare.datasets import DataSet, Wanted
from streamingtalker.data.prepare.meshes import MeshError, normalised, read_obj, read_ply
from streamingtalker.errors import UserError
from streamingtalker.safe_pickle import PickleError, checked_array, read_pickle

MOST_FRAMES = 20_000  # of one sequence on disk
MOST_SCANS = 2_000  # of one sequence in a tar, which is held in memory


class SourceError(UserError):
    """A data set's folder that lacks a file everything needs."""


class SequenceError(UserError):
    """One sequence is missing or broken; the message is why, without its name."""


class Source(Protocol):
    """A data set on disk."""

    def templates(self) -> dict[str, np.ndarray]:
        """Rest shapes float32 [V, 3] by subject. Raises UserError."""

    def faces(self) -> np.ndarray:
        """Triangles int32 [F, 3]. Raises UserError."""

    def motion(self, wanted: Wanted) -> np.ndarray:
        """Absolute vertices [frames, V, 3] at the source's frame rate. Raises SequenceError."""

    def sound(self, wanted: Wanted) -> tuple[np.ndarray, int]:
        """Mono float32 samples and their rate. Raises SequenceError."""


def open_source(data_set: DataSet, raw: Path) -> Source:
    """The source in a folder: the prepared layout where there is a ``vertices_npy``, else the raw files.

    Raises SourceError where it is neither.
    """
    if not raw.is_dir():
        raise SourceError(f"{raw} is no folder; give the one that holds the files of {data_set.name}.")
    if (raw / "vertices_npy").is_dir():
        return PreparedLayout(data_set, raw)
    needed = {"vocaset": "data_verts.npy", "biwi": "faces"}[data_set.name]
    if not (raw / needed).exists():
        raise SourceError(f"{raw} holds neither {needed} nor vertices_npy; give the folder of {data_set.name}.")
    return RawBiwi(data_set, raw) if data_set.name == "biwi" else RawVocaset(data_set, raw)


class _SharedTemplates:
    """Rest shapes in ``templates.pkl``, triangles in a .ply."""

    def __init__(self, data_set: DataSet, raw: Path) -> None:
        self._data_set = data_set
        self._raw = raw

    def templates(self) -> dict[str, np.ndarray]:
        """From ``templates.pkl``."""
        return read_templates(self._raw / "templates.pkl", self._data_set)

    def faces(self) -> np.ndarray:
        """From the .ply."""
        return find_ply_faces(self._raw, self._data_set)


class PreparedLayout(_SharedTemplates):
    """``vertices_npy/<name>.npy``, ``wav/<name>.wav``, ``templates.pkl`` and a .ply, as FaceFormer and others use."""

    def motion(self, wanted: Wanted) -> np.ndarray:
        """Memory-mapped."""
        path = self._raw / "vertices_npy" / f"{wanted.name}.npy"
        return open_vertices(path, self._data_set.vertices)

    def sound(self, wanted: Wanted) -> tuple[np.ndarray, int]:
        """From the .wav."""
        return read_sound([self._raw / "wav" / f"{wanted.name}.wav"])


class RawVocaset(_SharedTemplates):
    """``data_verts.npy``, ``subj_seq_to_idx.pkl``, ``raw_audio_fixed.pkl``, ``templates.pkl``, ``FLAME_sample.ply``."""

    def motion(self, wanted: Wanted) -> np.ndarray:
        """The frames of a sentence in order of their numbers."""
        frames = _entry(self._places, wanted, "subj_seq_to_idx.pkl")
        rows = [frames[number] for number in sorted(frames)]
        vertices = self._vertices
        if not rows or not all(isinstance(row, int) and 0 <= row < len(vertices) for row in rows):
            raise SequenceError("subj_seq_to_idx.pkl points outside data_verts.npy")
        return vertices[rows]

    def sound(self, wanted: Wanted) -> tuple[np.ndarray, int]:
        """16-bit samples of ``raw_audio_fixed.pkl``, scaled to [-1, 1]."""
        entry = _entry(self._sounds, wanted, "raw_audio_fixed.pkl")
        samples, rate = entry.get("audio"), entry.get("sample_rate")
        if (
            not isinstance(samples, np.ndarray)
            or samples.ndim != 1
            or not len(samples)
            or samples.dtype.kind not in "if"
        ):
            raise SequenceError("its sound in raw_audio_fixed.pkl is broken")
        if not isinstance(rate, int | float) or not 4000 <= rate <= 200_000:
            raise SequenceError("its sound in raw_audio_fixed.pkl has no usable sample rate")
        scale = np.iinfo(samples.dtype).max + 1 if samples.dtype.kind == "i" else 1
        sound = samples.astype(np.float32) / scale
        if not np.isfinite(sound).all():
            raise SequenceError("its sound in raw_audio_fixed.pkl holds values that are not finite numbers")
        return sound, int(rate)

    @cached_property
    def _vertices(self) -> np.ndarray:
        path = self._raw / "data_verts.npy"
        try:
            return open_vertices(path, self._data_set.vertices, most=10**7)
        except SequenceError as error:
            raise SourceError(f"{path} {error}; get it again.") from error

    @cached_property
    def _places(self) -> Mapping[str, Any]:
        return _table(self._raw / "subj_seq_to_idx.pkl")

    @cached_property
    def _sounds(self) -> Mapping[str, Any]:
        return _table(self._raw / "raw_audio_fixed.pkl")


class RawBiwi:
    """``faces/<subject>/<sentence>.tar`` (or a folder) of .vl frames, ``rigid_scans/<subject>.obj``, and sound.

    Coordinates are turned, centred and scaled frame by frame as in the preprocessing that came with CodeTalker.
    """

    def __init__(self, data_set: DataSet, raw: Path) -> None:
        self._data_set = data_set
        self._raw = raw

    def templates(self) -> dict[str, np.ndarray]:
        """From the .obj files; of the subjects who have one."""
        folder = self._raw / "rigid_scans"
        paths = {subject: folder / f"{subject}.obj" for subject in self._data_set.subjects()}
        return {
            subject: normalised(_of_size(read_obj(path)[0], path, self._data_set), self.faces())
            for subject, path in paths.items()
            if path.exists()
        }

    def faces(self) -> np.ndarray:
        """Of the first .obj: all have the same."""
        return self._faces

    def motion(self, wanted: Wanted) -> np.ndarray:
        """The .vl frames of a sentence."""
        frames = self._frames(self._raw / "faces" / wanted.subject, wanted.sentence)
        numbers = sorted(frames)
        if not numbers:
            raise SequenceError(f"faces/{wanted.subject}/{wanted.sentence} holds no .vl file")
        gaps = sorted(set(range(numbers[0], numbers[-1] + 1)) - set(numbers))
        if gaps:
            raise SequenceError(f"frame {gaps[0]} is missing among its .vl files")
        faces, count = self.faces(), self._data_set.vertices
        return np.stack([normalised(read_vl(frames[number](), count), faces) for number in numbers])

    def sound(self, wanted: Wanted) -> tuple[np.ndarray, int]:
        """From a .wav, or from the sound of the .flv."""
        subject, sentence = wanted.subject, wanted.sentence
        patterns = ("wav/{}_{}.wav", "audio/{}_{}.wav", "audio/{}/{}.wav", "videos/{}/{}.flv", "videos/{}_{}.flv")
        return read_sound([self._raw / pattern.format(subject, sentence) for pattern in patterns])

    @cached_property
    def _faces(self) -> np.ndarray:
        paths = sorted((self._raw / "rigid_scans").glob("*.obj"))
        if not paths:
            raise SourceError(f"{self._raw / 'rigid_scans'} holds no .obj file; put the data set's templates there.")
        return read_obj(paths[0])[1]

    def _frames(self, folder: Path, sentence: str) -> dict[int, Callable[[], bytes]]:
        """How to read each frame, by its number."""
        if (folder / sentence).is_dir():
            return {_number(path.name): path.read_bytes for path in (folder / sentence).glob("*.vl")}
        archive = next((path for path in (folder / f"{sentence}.tar",) if path.is_file()), None)
        if archive is None:
            raise SequenceError(f"{folder.name}/{sentence}.tar is missing")
        return _members(archive, 4 + 12 * self._data_set.vertices)


def read_vl(content: bytes, vertices: int) -> np.ndarray:
    """Vertices float64 [V, 3] of a .vl file: their number, uint32, and x y z of each, float32, little-endian."""
    if len(content) != 4 + 12 * vertices or int.from_bytes(content[:4], "little") != vertices:
        raise SequenceError(f"a .vl file does not hold {vertices} vertices")
    return np.frombuffer(content, "<f4", offset=4).reshape(vertices, 3).astype(np.float64)


def read_sound(paths: list[Path]) -> tuple[np.ndarray, int]:
    """The sound of the first of ``paths`` that exists."""
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        raise SequenceError(f"its sound {paths[0].name} is missing")
    try:
        return load_audio(path)
    except AudioError as error:
        raise SequenceError(f"its sound is broken ({error})") from error


def open_vertices(path: Path, vertices: int, most: int = MOST_FRAMES) -> np.ndarray:
    """Memory-mapped [frames, V, 3] of a .npy of that or of the flat shape [frames, V·3]. Raises SequenceError."""
    if not path.is_file():
        raise SequenceError(f"{path.name} is missing")
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise SequenceError(f"{path.name} is damaged ({error})") from error
    flat = array.ndim == 2 and array.shape[1] == 3 * vertices
    if array.dtype.kind != "f" or not (flat or array.shape[1:] == (vertices, 3)) or not 0 < len(array) <= most:
        shape = " × ".join(map(str, array.shape))
        raise SequenceError(f"{path.name} is {array.dtype} {shape}, not frames × {3 * vertices} of floats")
    return array.reshape(len(array), vertices, 3)


def read_templates(path: Path, data_set: DataSet) -> dict[str, np.ndarray]:
    """Rest shapes float32 [V, 3] by subject, of the subjects that are needed."""
    table = _table(path)
    known = {subject: table[subject] for subject in data_set.subjects() if subject in table}
    return {
        subject: _of_size(checked_array(path, f"the template of {subject}", value, (None, 3)), path, data_set)
        for subject, value in known.items()
    }


def find_ply_faces(raw: Path, data_set: DataSet) -> np.ndarray:
    """Triangles of the data set's mesh file, looked for in the folder and in its ``templates``."""
    name = {"vocaset": "FLAME_sample.ply", "biwi": "BIWI.ply"}[data_set.name]
    path = next((path for path in (raw / name, raw / "templates" / name) if path.is_file()), raw / name)
    vertices, faces = read_ply(path)
    _of_size(vertices, path, data_set)
    return faces


def _of_size(vertices: np.ndarray, path: Path, data_set: DataSet) -> np.ndarray:
    if len(vertices) != data_set.vertices:
        raise MeshError(
            f"{path} has {len(vertices)} vertices where {data_set.name} has {data_set.vertices}; get it again."
        )
    return np.asarray(vertices, np.float32)


def _table(path: Path) -> Mapping[str, Any]:
    table = read_pickle(path)
    if not isinstance(table, dict):
        raise PickleError(f"{path} is no table of subjects; get it again.")
    return table


def _entry(table: Mapping[str, Any], wanted: Wanted, where: str) -> Mapping[Any, Any]:
    sentences = table.get(wanted.subject)
    entry = sentences.get(wanted.sentence) if isinstance(sentences, dict) else None
    if not isinstance(entry, dict):
        raise SequenceError(f"{where} does not have it")
    return entry


def _members(archive: Path, size: int) -> dict[int, Callable[[], bytes]]:
    """The .vl members of a tar; nothing is unpacked to disk."""
    frames: dict[int, Callable[[], bytes]] = {}
    try:
        with tarfile.open(archive, "r:") as tar:
            for member in tar:
                if not member.isfile() or not member.name.endswith(".vl"):
                    continue
                if member.size != size or len(frames) >= MOST_SCANS:
                    raise SequenceError(f"{archive.name} holds a frame {member.name} of a wrong size, or too many")
                file = tar.extractfile(member)
                content = file.read() if file else b""
                frames[_number(member.name)] = lambda content=content: content  # type: ignore[misc]
    except (tarfile.TarError, OSError, EOFError) as error:
        raise SequenceError(f"{archive.name} is damaged ({error})") from error
    return frames


def _number(name: str) -> int:
    numbers = re.findall(r"\d+", Path(name).stem)
    if not numbers:
        raise SequenceError(f"{name} has no frame number")
    return int(numbers[-1])
