"""Tensor files: what is written comes back, what cannot serve is named."""

import numpy as np
import pytest
import torch

from streamingtalker.checkpoint import load_talker, save_talker
from streamingtalker.config import ConfigError
from streamingtalker.streamer import FaceStreamer
from streamingtalker.tensor_file import CheckpointError, read_tensors, write_tensors
from streamingtalker.topology import load_rig, load_topology
from tests.conftest import fake_recogniser


@pytest.fixture
def saved(tmp_path, talker):
    save_talker(tmp_path / "talker.safetensors", talker, card={"data": "random"})
    return tmp_path / "talker.safetensors"


def rewrite(path, change):
    """Change the file's tensors and metadata in place."""
    tensors, metadata = read_tensors(path, "talker")
    change(tensors, metadata)
    write_tensors(path, tensors, metadata.pop("kind"), metadata)


def test_a_talker_comes_back_whole(saved, talker):
    loaded = load_talker(saved, recogniser=fake_recogniser)
    assert loaded.dims == talker.dims and not loaded.training
    np.testing.assert_array_equal(loaded.topology.faces, talker.topology.faces)
    pcm = np.random.default_rng(0).normal(size=16000).astype(np.float32) * 0.1
    frames = [np.concatenate(list(FaceStreamer(each).stream([pcm]))) for each in (talker, loaded)]
    np.testing.assert_array_equal(*frames)


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors, _: tensors.pop("model/start"),
        lambda tensors, _: tensors.update({"model/more": np.zeros(3)}),
        lambda tensors, _: tensors.update({"model/start": np.zeros(3, np.float32)}),
        lambda tensors, _: tensors["model/start"].__setitem__(0, np.nan),
        lambda tensors, _: tensors.pop("topology/faces"),
        lambda _, metadata: metadata.pop("dims"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(saved, change):
    rewrite(saved, change)
    with pytest.raises(CheckpointError, match=saved.name):
        load_talker(saved)


def test_unknown_dimensions_are_named(saved):
    rewrite(saved, lambda _, metadata: metadata["dims"].update(warp=9))
    with pytest.raises(ConfigError, match="warp"):
        load_talker(saved)


@pytest.mark.parametrize("content", [b"", b"nonsense" * 100])
def test_damaged_files_are_named(saved, content):
    saved.write_bytes(content or saved.read_bytes()[:5000])
    with pytest.raises(CheckpointError, match="damaged"):
        load_talker(saved)


@pytest.mark.parametrize("place", [0.3, 0.6, 0.9])
def test_a_single_flipped_bit_is_found(saved, place):
    data = bytearray(saved.read_bytes())
    header = 8 + int.from_bytes(data[:8], "little")
    data[header + int(place * (len(data) - header))] ^= 1
    saved.write_bytes(data)
    with pytest.raises(CheckpointError, match="damaged"):
        load_talker(saved)


def test_an_avatar_that_lacks_something_is_named(tmp_path):
    write_tensors(tmp_path / "face.safetensors", {"a": np.zeros(1)}, "avatar", {"name": "nobody"})
    for load in (load_rig, load_topology):
        with pytest.raises(CheckpointError, match=r"face\.safetensors lacks"):
            load(tmp_path / "face.safetensors")


def test_missing_files_foreign_kinds_and_devices(saved, tmp_path):
    with pytest.raises(CheckpointError, match="does not exist"):
        load_talker(tmp_path / "none.safetensors")
    write_tensors(tmp_path / "other.safetensors", {"a": np.zeros(1)}, "avatar", {})
    with pytest.raises(CheckpointError, match="'avatar'"):
        load_talker(tmp_path / "other.safetensors")
    if not torch.cuda.is_available():
        with pytest.raises(CheckpointError, match="cuda"):
            load_talker(saved, device="cuda")
