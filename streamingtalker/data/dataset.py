"""Reading a corpus in VOCASET's layout, memory-mapped, and batches of it for training.

corpus.json                        fps, avatar, clips (name, voice, style, split, seconds), styles, shape_names
wav/<name>.wav                     16 kHz mono
vertices_npy/<name>.npy            float32 [frames, V·3], absolute, metres
topology.safetensors               the mesh, where it is not the avatar's;  templates.npz  rest shapes by voice
weights_npy/<name>.npy             [frames, 52] ARKit weights; where they are, motion is computed from them and the rig
phones/<name>.json                 list of {phone, start, end} in seconds
features/<front end>/<name>.npy    float16, what the audio encoder's front end makes of the wav; written here
"""

import hashlib
import json
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from streamingtalker.audio.encoder import SpeechFeatures
from streamingtalker.audio.files import load_pcm
from streamingtalker.audio.posteriors import DEFAULT_GRID, open_recogniser, recogniser_version, usual_recogniser
from streamingtalker.config import AudioDims
from streamingtalker.data.phones import INVENTORY, Phone
from streamingtalker.errors import UserError
from streamingtalker.mood import Mood, MoodChange, mood_curve
from streamingtalker.streaming import whole
from streamingtalker.topology import Rig, load_rig, load_topology
from streamingtalker.vqvae import MotionBasis

B = TypeVar("B")


class CorpusError(UserError):
    """A corpus that is missing, incomplete or damaged."""


@dataclass(frozen=True)
class Clip:
    """One utterance."""

    name: str
    voice: str
    style: int
    split: str  # train, val or test
    seconds: float
    moods: tuple[tuple[float, str], ...] = ()  # from when on which mood


class Corpus:
    """A corpus on disk."""

    def __init__(self, path: str | Path) -> None:
        """Raises CorpusError where there is none or its manifest cannot be read."""
        self.path = Path(path)
        manifest = self.path / "corpus.json"
        try:
            document = json.loads(manifest.read_text())
            self.clips = [_clip(entry) for entry in document["clips"]]
            self.moods = tuple(document.get("moods", ()))
            self.fps = int(document["fps"])
            self.styles = list(document["styles"])
        except FileNotFoundError as error:
            raise CorpusError(
                f"{manifest} does not exist; make a corpus with 'python -m streamingtalker.data.synthetic'."
            ) from error
        except OSError as error:
            raise CorpusError(f"{manifest} cannot be read ({error.strerror}); check its permissions.") from error
        except (json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
            raise CorpusError(f"{manifest} cannot be read ({error!r}); make the corpus again.") from error

    def split(self, name: str) -> list[Clip]:
        """The clips of split ``train``, ``val`` or ``test``."""
        return [clip for clip in self.clips if clip.split == name]

    def wav(self, clip: Clip) -> Path:
        """Where the sound is."""
        return self.path / "wav" / f"{clip.name}.wav"

    def pcm(self, clip: Clip) -> np.ndarray:
        """The sound, float32 [n] at 16 kHz. Raises AudioError."""
        return load_pcm(self.wav(clip))

    def phones(self, clip: Clip) -> list[Phone]:
        """In order of time. Raises CorpusError."""
        file = self.path / "phones" / f"{clip.name}.json"
        try:
            return [Phone(entry["phone"], entry["start"], entry["end"]) for entry in json.loads(file.read_text())]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CorpusError(f"{file} cannot be read ({error!r}); make the corpus again.") from error

    def weights(self, clip: Clip) -> np.ndarray | None:
        """ARKit weights float32 [frames, S], or None where the corpus has only vertices. Raises CorpusError."""
        file = self.path / "weights_npy" / f"{clip.name}.npy"
        return self._load(file).astype(np.float32) if file.exists() else None

    def mood_curve(self, clip: Clip, frames: int, moods: Sequence[str] | None = None) -> np.ndarray:
        """Intensities float32 [frames, moods] of ``moods``, or else of the corpus' moods, in each frame."""
        changes = [MoodChange(start, Mood.parse(mood)) for start, mood in clip.moods] or [MoodChange(0, Mood())]
        return mood_curve(changes, frames, self.fps, self.moods if moods is None else moods)

    def vertices(self, clip: Clip) -> np.ndarray:
        """Absolute vertices [frames, V, 3] in metres, memory-mapped. Raises CorpusError."""
        flat = self._load(self.path / "vertices_npy" / f"{clip.name}.npy")
        return flat.reshape(len(flat), -1, 3)

    def rig(self, avatar: str | Path) -> Rig:
        """The face of this corpus: its own mesh, which has no shapes, where it brings one; else the rig in ``avatar``.

        Raises CheckpointError.
        """
        own = self.path / "topology.safetensors"
        if not own.exists():
            return load_rig(avatar)
        face = load_topology(own)
        nothing = np.zeros(0, np.int32)
        shapes = np.zeros((0, face.vertex_count, 3), np.float32)
        return Rig(face, (), shapes, (nothing, nothing), np.zeros((2, 3), np.float32))

    def template(self, clip: Clip, rig: Rig) -> np.ndarray:
        """The rest shape [V, 3] of a clip's speaker: the rig's, unless scanned people spoke."""
        if rig.shape_names:
            return rig.topology.template
        return self._templates.get(clip.voice, rig.topology.template)

    def offsets(self, clip: Clip, rig: Rig) -> np.ndarray:
        """Offsets [frames, V, 3] from the speaker's template in the unit of the vertices."""
        weights = self.weights(clip)
        return rig.offsets(weights) if weights is not None else self.vertices(clip) - self.template(clip, rig)

    def coefficients(self, clip: Clip, rig: Rig, basis: MotionBasis) -> Tensor:
        """The motion in ``basis``, [frames, K]."""
        weights = self.weights(clip)
        if weights is None:
            return basis.coefficients(torch.from_numpy(self.offsets(clip, rig)).to(basis.mean)).cpu()
        analysis, mean = basis.analysis.cpu(), basis.mean.cpu()
        return torch.from_numpy(weights) @ (torch.from_numpy(rig.shapes).flatten(1) @ analysis) - mean @ analysis

    def features_file(self, clip: Clip, dims: AudioDims, recogniser: str | None = None) -> Path:
        """Where the front end's features of a clip are kept, as ``recogniser`` (unnamed: the usual one) hears it.

        The name tells all that decides them: the sound and our own recogniser's weights by their hashes. Raises
        CorpusError where there is no sound, CheckpointError where our recogniser has no weights.
        """
        grid = f"{DEFAULT_GRID.left}-{DEFAULT_GRID.hop}-{DEFAULT_GRID.right}-{DEFAULT_GRID.first_hop}"
        try:
            sound = hashlib.sha256(self.wav(clip).read_bytes()).hexdigest()[:12]
        except OSError as error:
            raise CorpusError(f"{self.wav(clip)} cannot be read ({error}); make the corpus again.") from error
        front_end = f"{recogniser_version(recogniser)}-mel{dims.mel_bands}-{grid}-ahead{dims.lookahead}"
        return self.path / "features" / front_end / f"{clip.name}-{sound}.npy"

    def features(self, clip: Clip, dims: AudioDims, recogniser: str | None = None) -> np.ndarray:
        """Features float16 [columns, bands + classes], memory-mapped. ``extract_features`` makes them."""
        return self._load(self.features_file(clip, dims, recogniser))

    @cached_property
    def _templates(self) -> dict[str, np.ndarray]:
        path = self.path / "templates.npz"
        if not path.exists():
            return {}
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name].astype(np.float32) for name in file.files}

    def _load(self, file: Path) -> np.ndarray:
        try:
            return np.load(file, mmap_mode="r")
        except (OSError, ValueError) as error:
            raise CorpusError(f"{file} cannot be read ({error}); make the corpus again.") from error


def _clip(entry: dict[str, Any]) -> Clip:
    names = [field.name for field in fields(Clip) if field.name != "moods"]
    moods = tuple((float(start), str(mood)) for start, mood in entry.get("moods", ()))
    return Clip(**{name: entry[name] for name in names}, moods=moods)


def extract_features(
    corpus: Corpus,
    dims: AudioDims,
    jobs: int = 1,
    done: Callable[[], None] = lambda: None,
    recogniser: str | None = None,
) -> None:
    """Make the features of every clip that lacks them, with the very windows a stream uses. ``done`` after each.

    A run that was broken off goes on where it stopped. Raises RecogniserError where ``recogniser`` (unnamed: the usual
    one) cannot be had.
    """
    ears = recogniser or usual_recogniser()
    files = [(corpus.wav(clip), corpus.features_file(clip, dims, ears)) for clip in corpus.clips]
    missing = [(wav, file, dims, corpus.fps, ears) for wav, file in files if not file.exists()]
    for _ in range(len(files) - len(missing)):
        done()
    if jobs <= 1:
        for task in missing:
            _extract(*task)
            done()
        return
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        waiting = [pool.submit(_extract, *task) for task in missing]
        for finished in as_completed(waiting):
            finished.result()
            done()


def _extract(wav: Path, file: Path, dims: AudioDims, fps: int, recogniser: str) -> None:
    """Write the features of one recording, whole or not at all."""
    columns = whole(SpeechFeatures(dims, fps, open_recogniser(recogniser)), load_pcm(wav)).astype(np.float16)
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(f".{os.getpid()}.part")
    with part.open("wb") as out:
        np.save(out, columns)
    part.replace(file)


@dataclass(frozen=True)
class Example:
    """One clip, ready for training. T motion frames."""

    clip: Clip
    coefficients: Tensor  # float32 [T, K]
    features: np.ndarray  # float16 [columns, …]
    phones: Tensor  # int64 [T], index into INVENTORY, −1 for none
    intervals: tuple[tuple[str, int, int], ...]  # phones with their frames [from, to)
    moods: Tensor  # float32 [T, moods] intensities
    latents: Tensor | None = None  # float32 [T, H·C], once stage 1 is over


@dataclass(frozen=True)
class Batch:
    """Clips side by side, shorter ones padded with zeros at their end."""

    coefficients: Tensor  # [B, T, K]
    features: Tensor  # [B, columns, …] float32
    phones: Tensor  # int64 [B, T]
    style: Tensor  # [B, T, styles + moods]: one-hot, and intensities
    latents: Tensor  # [B, T, H·C]; empty in stage 1
    mask: Tensor  # [B, T] 1 inside the clip

    def to(self, device: torch.device) -> "Batch":
        """The batch on another device."""
        return Batch(**{field.name: getattr(self, field.name).to(device) for field in fields(self)})


def load_example(corpus: Corpus, clip: Clip, rig: Rig, basis: MotionBasis, dims: AudioDims) -> Example:
    """A clip with its motion in ``basis``; motion and features cut to the same number of frames."""
    coefficients = corpus.coefficients(clip, rig, basis)
    features = corpus.features(clip, dims)
    frames = min(len(coefficients), len(features) // 3 - dims.lookahead)
    phones = torch.full((frames,), -1)
    intervals = []
    for phone in corpus.phones(clip):
        first, last = (min(max(round(time * corpus.fps), 0), frames) for time in (phone.start, phone.end))
        phones[first:last] = INVENTORY.index(phone.name)
        intervals.append((phone.name, first, last))
    used = np.array(features[: 3 * (frames + dims.lookahead)])
    moods = torch.from_numpy(corpus.mood_curve(clip, frames))
    return Example(clip, coefficients[:frames], used, phones, tuple(intervals), moods)


def collate(examples: list[Example], styles: int) -> Batch:
    """Pad to the longest clip."""
    frames = max(len(example.coefficients) for example in examples)
    columns = max(len(example.features) for example in examples)

    def padded(tensors: list[Tensor], length: int, fill: float = 0) -> Tensor:
        out = tensors[0].new_full((len(tensors), length, *tensors[0].shape[1:]), fill)
        for row, tensor in zip(out, tensors, strict=True):
            row[: len(tensor)] = tensor
        return out

    coefficients = [example.coefficients for example in examples]
    return Batch(
        coefficients=padded(coefficients, frames),
        features=padded([torch.from_numpy(example.features).float() for example in examples], columns),
        phones=padded([example.phones for example in examples], frames, -1),
        style=padded([_style(example, styles) for example in examples], frames),
        latents=padded(
            [c[:, :0] if e.latents is None else e.latents for c, e in zip(coefficients, examples, strict=True)], frames
        ),
        mask=padded([torch.ones(len(c)) for c in coefficients], frames),
    )


def _style(example: Example, styles: int) -> Tensor:
    """The style condition [T, styles + moods] of a clip."""
    identity = torch.zeros(len(example.moods), styles)
    identity[:, example.clip.style] = 1
    return torch.cat([identity, example.moods], dim=1)


class Batches(Iterator[B]):
    """Batches without end, of which several processes take turns."""

    def __init__(self, groups: Iterator[list[int]], collate: Callable[[list[int]], B]) -> None:
        """``groups``: the indices of the clips of one batch after another; ``collate`` makes a batch of them."""
        self._groups = groups
        self._collate = collate
        self._others = 0  # batches of other processes between two of ours

    def begin(self, done: int, rank: int = 0, count: int = 1) -> None:
        """Go on after ``done`` batches, as process ``rank`` of ``count``."""
        self._skip(done * count + rank)
        self._others = count - 1

    def __next__(self) -> B:
        group = next(self._groups)
        self._skip(self._others)
        return self._collate(group)

    def _skip(self, count: int) -> None:
        for _ in range(count):
            next(self._groups)


def batches(examples: list[Example], styles: int, frames: int, seed: int) -> Batches[Batch]:
    """Shuffled batches of about ``frames`` frames, of clips of similar length."""
    groups = _of_similar_length([len(example.coefficients) for example in examples], frames, seed)
    return Batches(groups, lambda group: collate([examples[index] for index in group], styles))


def _of_similar_length(clips: Sequence[int], frames: int, seed: int) -> Iterator[list[int]]:
    """Indices of ``clips``, which are so many frames long, in groups."""
    random, lengths = np.random.default_rng(seed), np.array(clips)
    while True:
        order = np.argsort(lengths + random.uniform(0, 30, len(lengths)))
        groups: list[list[int]] = [[]]
        for index in order:
            if groups[-1] and (len(groups[-1]) + 1) * lengths[index] > frames:
                groups.append([])
            groups[-1].append(int(index))
        random.shuffle(groups)
        yield from groups
