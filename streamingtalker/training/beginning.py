"""Untrained talkers whose motion basis fits a corpus."""

import dataclasses

import numpy as np
import torch

from streamingtalker.config import AudioDims, MotionDims, TalkerDims
from streamingtalker.data.dataset import Clip, Corpus
from streamingtalker.talker import Talker
from streamingtalker.topology import Rig
from streamingtalker.training.variants import changed
from streamingtalker.vqvae import MotionBasis

LIPS, LIDS = 9.0, 3.0  # importance of lip and lid vertices in the motion basis
BASIS_FRAMES = 1200
UPPER = 12, 3  # coefficients and codes of brows and lids


def new_talker(
    corpus: Corpus, rig: Rig, seed: int, variant: str | None = None, basis: MotionBasis | None = None
) -> Talker:
    """An untrained default talker, or a ``variant`` of it, whose motion basis fits the corpus, or is ``basis``."""
    torch.manual_seed(seed)
    upper = upper_vertices(rig)
    coefficients, components = UPPER if upper.any() else (0, 0)
    dims = TalkerDims(
        MotionDims(rig.topology.vertex_count, upper_basis=coefficients, upper_components=components),
        fps=corpus.fps,
        audio=AudioDims(width=192),
        styles=len(corpus.styles),
        moods=corpus.moods,
    )
    talker = Talker(changed(dims, variant), rig.topology)
    if basis is not None:
        talker.vqvae.basis.load_state_dict(basis.state_dict())
        return talker
    talker.vqvae.basis.fit(sample_offsets(corpus, rig, BASIS_FRAMES, seed), vertex_importance(rig), upper)
    return talker


def with_head(talker: Talker, kind: str, seed: int) -> Talker:
    """An untrained talker with the VQ-VAE of ``talker`` and a diffusion head of that ``kind``."""
    torch.manual_seed(seed)
    kind = talker.dims.head.kind if talker.dims.head.kind == "direct" else kind
    dims = dataclasses.replace(talker.dims, head=dataclasses.replace(talker.dims.head, kind=kind))
    fresh = Talker(dims, talker.topology).to(talker.start.device)
    fresh.vqvae.load_state_dict(talker.vqvae.state_dict())
    fresh.start.copy_(talker.start)
    return fresh.eval()


def upper_vertices(rig: Rig) -> np.ndarray:
    """bool [V]: the vertices that shapes of brows and eyes move more than any other shape does."""
    reach = np.linalg.norm(rig.shapes, axis=2)  # [S, V]
    above = np.array([name.startswith(("brow", "eye")) for name in rig.shape_names])
    if not above.any():
        return np.zeros(rig.topology.vertex_count, bool)
    return reach[above].max(0) > np.maximum(reach[~above].max(0), 1e-4)


def vertex_importance(rig: Rig) -> np.ndarray:
    """[V] weights of the motion basis: lips first, then lids, then the rest."""
    weights = np.ones(rig.topology.vertex_count)
    blinks = [index for index, name in enumerate(rig.shape_names) if name.startswith("eyeBlink")]
    if blinks:
        weights[np.linalg.norm(rig.shapes[blinks], axis=2).max(0) > 0.001] = LIDS
    weights[rig.topology.lips] = LIPS
    return weights


def sample_offsets(corpus: Corpus, rig: Rig, frames: int, seed: int) -> np.ndarray:
    """Offsets [frames, V, 3] from their speakers' templates, of frames drawn evenly over the training clips."""
    random = np.random.default_rng(seed)
    clips = corpus.split("train")
    chosen = [clips[index] for index in random.integers(0, len(clips), frames)]
    return np.concatenate([_one_frame(corpus, clip, rig, random) for clip in chosen])


def _one_frame(corpus: Corpus, clip: Clip, rig: Rig, random: np.random.Generator) -> np.ndarray:
    weights = corpus.weights(clip)
    if weights is None:
        vertices = corpus.vertices(clip)
        return vertices[random.integers(len(vertices))][None] - corpus.template(clip, rig)
    return rig.offsets(weights[random.integers(len(weights))][None])
