"""The published files together: two checkpoints, a template of each subject, a mesh, the regions that are measured."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from streamingtalker.convert.errors import ConvertError
from streamingtalker.convert.names import COUNTERS, LEFT_OUT, MOTION
from streamingtalker.convert.released import fill
from streamingtalker.convert.shapes import find_data_set, read_dims
from streamingtalker.convert.torch_file import read_state
from streamingtalker.data.prepare.datasets import DataSet
from streamingtalker.data.prepare.meshes import read_ply
from streamingtalker.data.prepare.sources import read_templates
from streamingtalker.data.prepare.writer import find_regions
from streamingtalker.released.talker import ReleasedTalker
from streamingtalker.topology import Topology

FROZEN = (f"{MOTION}encoder.", f"{MOTION}quantize.")  # what the second stage of training leaves as it is


@dataclass(frozen=True)
class PublishedFiles:
    """Where the files lie."""

    vqvae: Path
    talker: Path
    templates: Path
    mesh: Path
    masks: Path | None = None  # VOCASET: FLAME_masks.pkl
    regions: Path | None = None  # BIWI: folder of lve.txt and fdd.txt
    subject: str | None = None  # whose template the face gets; default: the first identity's


@dataclass(frozen=True)
class Conversion:
    """What came of it."""

    talker: ReleasedTalker
    data_set: DataSet
    notes: tuple[str, ...]  # what was left out, and why

    def card(self, files: PublishedFiles) -> dict[str, object]:
        """How the checkpoint came about."""
        sources = [path.name for path in (files.vqvae, files.talker, files.templates, files.mesh)]
        return {"source": sources, "data_set": self.data_set.name, "units": self.data_set.units, "notes": self.notes}


def convert(files: PublishedFiles) -> Conversion:
    """The published talker in these files. Raises UserError naming the file that does not serve, and why."""
    state, notes = join(files.vqvae, files.talker)
    notes.append(f"{LEFT_OUT} left out")
    try:
        data_set = find_data_set(state)
        dims = read_dims(state, data_set)
        face = read_face(files, data_set)
        talker = fill(state, dims, face)
    except ConvertError as error:
        raise ConvertError(f"{files.talker}: {error}") from error
    if not dims.hubert:
        notes.append(f"{files.talker.name} holds no HuBERT: this talker cannot hear, only be given features")
    if not len(face.upper_face):
        notes.append("no regions were given: lips are the ten vertices of the lip pairs, and the upper face is empty")
    return Conversion(talker, data_set, tuple(notes))


def join(vqvae: Path, talker: Path) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors of a whole talker, and notes on what is left out. Raises ConvertError.

    The talker's file holds the VQ-VAE again, its decoder perhaps trained on; that is the one that is used. Encoder and
    codebook must be those of the VQ-VAE's file.
    """
    (motion, motion_rest), (state, talker_rest) = _network(vqvae), _network(talker)
    foreign = [name for name in motion if not name.startswith(MOTION)]
    if foreign:
        raise ConvertError(f"{vqvae} holds {foreign[0]}, which no VQ-VAE has; give voca_vae.ckpt or biwi_vae.ckpt.")
    notes = [
        f"{path.name}: {', '.join(rest)} left out" for path, rest in _pairs(vqvae, motion_rest, talker, talker_rest)
    ]
    if not any(name.startswith(MOTION) for name in state):
        return {**motion, **state}, notes
    for name in sorted(motion.keys() | {name for name in state if name.startswith(MOTION)}):
        same = name in motion and name in state and motion[name].shape == state[name].shape
        if not same or (name.startswith(FROZEN) and not torch.equal(motion[name], state[name])):
            raise ConvertError(
                f"{vqvae} and {talker} do not belong together: {name} differs; give those of one data set."
            )
    if any(not torch.equal(motion[name], state[name]) for name in motion):
        notes.append(f"{vqvae.name}: the decoder left out, the talker's was trained on")
    return state, notes


def _network(path: Path) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors of a checkpoint's network, and the names of the rest."""
    state, rest = read_state(path)
    counters = [name for name in state if name.startswith(COUNTERS)]
    return {name: value for name, value in state.items() if name not in counters}, [*rest, *counters]


def _pairs(vqvae: Path, motion: list[str], talker: Path, state: list[str]) -> list[tuple[Path, list[str]]]:
    return [(path, rest) for path, rest in ((vqvae, motion), (talker, state)) if rest]


def read_face(files: PublishedFiles, data_set: DataSet) -> Topology:
    """The face of one subject with the triangles of the mesh. Raises UserError."""
    templates = read_templates(files.templates, data_set)
    subject = files.subject or data_set.identities[0]
    if subject not in templates:
        raise ConvertError(f"{files.templates} has no {subject}, only {', '.join(sorted(templates)) or 'nobody'}.")
    vertices, faces = read_ply(files.mesh)
    if len(vertices) != data_set.vertices:
        raise ConvertError(f"{files.mesh} has {len(vertices)} vertices where {data_set.name} has {data_set.vertices}.")
    lips, upper = _regions(files, data_set)
    pairs = np.array(data_set.lip_pairs, np.int32)
    return Topology(data_set.name, templates[subject], faces, pairs, lips, upper)


def _regions(files: PublishedFiles, data_set: DataSet) -> tuple[np.ndarray, np.ndarray]:
    """Lips and upper face."""
    voca = data_set.name == "vocaset"
    given, foreign = (files.masks, files.regions) if voca else (files.regions, files.masks)
    if foreign is not None:
        option = "--masks FLAME_masks.pkl" if voca else "--regions DIR"
        raise ConvertError(f"{foreign} is of another data set; the regions of {data_set.name} come with {option}.")
    if given is None:
        return np.array(data_set.lip_pairs, np.int32).ravel(), np.zeros(0, np.int32)
    found = find_regions(data_set, Path(), files.masks, files.regions)
    return found["lips"].vertices, found["upper_face"].vertices
