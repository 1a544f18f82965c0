"""Shared by all tests: seeded random numbers, one thread, a tiny face and a tiny talker."""

import dataclasses
import os
import signal
from typing import NoReturn

import hypothesis
import numpy as np
import pytest
import torch

from streamingtalker.audio.posteriors import Recogniser
from streamingtalker.config import AudioDims, HeadDims, MotionDims, PredictorDims, TalkerDims
from streamingtalker.talker import Talker
from streamingtalker.topology import Topology
from tests.figures import measured, pytest_addoption, pytest_terminal_summary  # noqa: F401 - hooks and a fixture

hypothesis.settings.register_profile("busy", deadline=None)  # the machine may be busy with something else
hypothesis.settings.load_profile("busy")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's background job: programs under test would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

TINY = TalkerDims(
    motion=MotionDims(
        vertices=12,
        basis=6,
        width=16,
        dilations=(1, 2),
        components=2,
        code_dim=3,
        codes=8,
        upper_basis=3,
        upper_width=8,
        upper_components=1,
    ),
    styles=2,
    moods=("happy", "sad"),
    audio=AudioDims(width=16, mel_bands=8, posterior_classes=5, posterior_width=4, dilations=(1, 2), lookahead=2),
    predictor=PredictorDims(width=16, layers=2, heads=2, feedforward=24, history=7),
    head=HeadDims(width=16, time_features=8),
)


def missing(reason: str) -> NoReturn:
    """What a test needs is not on this machine: skip it; fail where CI=true, which must not be green without it."""
    if os.environ.get("CI", "").lower() in ("true", "1"):
        pytest.fail(f"missing in CI: {reason}", pytrace=False)
    pytest.skip(reason)


@pytest.hookimpl(tryfirst=True)  # before anything is chosen by its marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Windows, sound servers and most faults keep time with the clock on the wall; full disks do not."""
    for item in items:
        if item.path.parent.name in ("e2e", "faults") and item.path.name != "test_disk_and_memory.py":
            item.add_marker("realtime")


@pytest.fixture(autouse=True)
def seed() -> None:
    """The same random numbers in every run."""
    torch.manual_seed(0)
    np.random.seed(0)


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Tests share their cores with windows and sound servers."""
    torch.set_num_threads(1)


def fake_recogniser() -> Recogniser:
    """Log-probabilities that depend on everything in the window, as a real recogniser's do."""

    def recognise(pcm: np.ndarray) -> np.ndarray:
        frames = len(pcm) // 320 + 1
        padded = np.pad(pcm, (0, frames * 320 - len(pcm))).reshape(frames, 320)
        level = np.abs(padded).mean(1)
        scores = np.outer(level + pcm.std(), np.arange(1, 6)) * 5
        return (scores - np.log(np.exp(scores).sum(1, keepdims=True))).astype(np.float32)

    return recognise


def tiny_face(vertices: int = 12) -> Topology:
    """A face of a few vertices."""
    index = np.arange(vertices, dtype=np.int32)
    return Topology(
        name="tiny",
        template=np.random.default_rng(1).normal(size=(vertices, 3)).astype(np.float32),
        faces=np.stack([index, np.roll(index, 1), np.roll(index, 2)], axis=1),
        lip_pairs=np.stack([index[:5], index[5:10]], axis=1),
        lips=index[:10],
        upper_face=index[10:],
    )


def tiny_talker(**changes) -> Talker:
    """A talker with random weights, whose dimensions are TINY with ``changes``; offsets are centimetres."""
    torch.manual_seed(0)
    dims = dataclasses.replace(TINY, **changes)
    talker = Talker(dims, tiny_face(dims.motion.vertices), fake_recogniser)
    offsets = np.random.default_rng(2).normal(size=(40, dims.motion.vertices, 3)) * 0.01
    upper = np.arange(dims.motion.vertices) >= dims.motion.vertices - 4
    talker.vqvae.basis.fit(offsets, np.ones(dims.motion.vertices), upper)
    talker.start.copy_(torch.randn(dims.motion.latent))
    for parameter in talker.head.parameters():  # no gate may be shut
        torch.nn.init.normal_(parameter, std=0.3)
    return talker.eval()


@pytest.fixture
def talker() -> Talker:
    """The tiny talker."""
    return tiny_talker()


@pytest.fixture
def face() -> Topology:
    """The tiny talker's face."""
    return tiny_face()
