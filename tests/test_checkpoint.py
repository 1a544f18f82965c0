"""Tensor files: what is written comes back, what cannot serve is named."""

import contextlib

import numpy as np
import pytest
import safetensors.torch
import torch

from streamingtalker.checkpoint import load_talker, save_talker
from streamingtalker.config import ConfigError
from streamingtalker.places import PlaceError
from streamingtalker.streamer import FaceStreamer
from streamingtalker.tensor_file import CheckpointError, read_tensors, stated_sha256, write_tensors
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


@pytest.mark.parametrize(
    ("part", "changes", "said"),
    [
        ("motion", {"codes": 10**10}, "its tensors cannot have"),
        ("motion", {"codes": 4096, "code_dim": 4096, "components": 4096}, "does not fit: .*misshapen"),  # terabytes
        ("motion", {"bottleneck": "none", "components": 5}, "make no network"),
        ("motion", {"codes": -1}, "its tensors cannot have"),
        ("predictor", {"heads": 0}, "make no network"),
        ("predictor", {"heads": 3}, "make no network"),
        ("predictor", {"layers": 10**9}, "its tensors cannot have"),
        ("head", {"train_steps": 10**12}, "its tensors cannot have"),
        ("audio", {"dilations": [10**9]}, "its tensors cannot have"),
        ("audio", {"kind": "hubert", "hubert": {"hidden_size": "wide"}}, "make no network"),
        ("audio", {"kind": "hubert", "hubert": {"conv_dim": 10**9}}, "its tensors cannot have"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_dimensions_are_not_believed_before_the_tensors_are_looked_at(saved, part, changes, said):
    """Else a small file could ask for all memory, or for ever."""
    rewrite(saved, lambda _, metadata: metadata["dims"][part].update(changes))
    with pytest.raises(CheckpointError, match=rf"talker\.safetensors .*{said}"):
        load_talker(saved)


def test_hubert_is_told_its_sizes_and_nothing_else(saved):
    """Its library would fetch a way of attention by its name, and run it."""
    foreign = {"kind": "hubert", "hubert": {"hidden_size": 12, "attn_implementation": "kernels-community/x"}}
    rewrite(saved, lambda _, metadata: metadata["dims"]["audio"].update(foreign))
    with pytest.raises(ConfigError, match=r"HuBERT .*attn_implementation"):
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


@contextlib.contextmanager
def full_disk(most: int):
    """Files may grow to ``most`` bytes only."""
    resource = pytest.importorskip("resource", reason="the system knows no such limit")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_file_is_written_whole_or_not_at_all(saved, talker):
    """A better talker that does not fit on the disk any more leaves the one before."""
    before = saved.read_bytes()
    with full_disk(len(before) // 2), pytest.raises(PlaceError, match=r"talker\.safetensors cannot be written"):
        save_talker(saved, talker)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def bfloat16(path, metadata):
    """A file as other people write them."""
    safetensors.torch.save_file({"weight": torch.zeros(3, dtype=torch.bfloat16)}, path, metadata)


@pytest.mark.parametrize("config", [None, "[]", "3", "null", '{"kind": ["talker"]}'])
def test_files_of_other_people_are_told_by_their_kind(tmp_path, config):
    """Before their tensors are read, which may be of types that numpy does not know."""
    path = tmp_path / "model.safetensors"
    bfloat16(path, config and {"config": config})
    with pytest.raises(CheckpointError, match=r"model\.safetensors is a .* where a 'talker' file is needed"):
        read_tensors(path, "talker")
    with pytest.raises(CheckpointError, match="states no checksum"):
        stated_sha256(path)


@pytest.mark.parametrize("config", ['{"kind": "talker"}', "[" * 100_000, '{"kind": ' + "1" * 5000 + "}"])
def test_what_cannot_be_read_of_a_file_is_damaged(tmp_path, config):
    path = tmp_path / "model.safetensors"
    bfloat16(path, {"config": config})
    with pytest.raises(CheckpointError, match=r"model\.safetensors is damaged"):
        read_tensors(path, "talker")


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
