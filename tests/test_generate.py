"""The command line from a recording to a motion file."""

import numpy as np
import pytest
import soundfile

from streamingtalker.checkpoint import save_talker
from streamingtalker.generate import main
from tests.conftest import tiny_face, tiny_talker


@pytest.fixture
def weights(tmp_path):
    from streamingtalker.config import AudioDims

    talker = tiny_talker(audio=AudioDims(width=16, dilations=(1,)))
    save_talker(tmp_path / "talker.safetensors", talker)
    return str(tmp_path / "talker.safetensors")


@pytest.mark.parametrize(("name", "rate", "channels"), [("a.wav", 16000, 1), ("b.flac", 44100, 2), ("c.mp3", 48000, 1)])
def test_motion_of_any_recording(tmp_path, weights, name, rate, channels, capsys):
    sound = np.random.default_rng(0).normal(size=(rate * 3 // 2, channels)) * 0.05
    soundfile.write(tmp_path / name, sound, rate)
    out = tmp_path / "deep" / "motion"
    assert main([str(tmp_path / name), "--out", str(out), "--checkpoint", weights, "--identity", "1"]) == 0
    motion = np.load(out)
    assert motion["vertices"].dtype == np.float32 and motion["vertices"].shape[1:] == (12, 3)
    assert 45 <= len(motion["vertices"]) <= (48 if name.endswith("mp3") else 45)
    assert motion["fps"] == 30 and motion["lip_pairs"].shape == (5, 2)
    assert {"template", "faces", "upper_face"} <= set(motion)
    np.testing.assert_array_equal(motion["upper_face"], tiny_face().upper_face)
    assert "frames at 30" in capsys.readouterr().out


@pytest.mark.parametrize("fault", ["no speech", "no weights", "identity", "no place"])
def test_faults_are_one_sentence(tmp_path, weights, fault, capsys):
    speech = tmp_path / "a.wav"
    if fault != "no speech":
        soundfile.write(speech, np.zeros(1600), 16000)
    checkpoint = weights if fault != "no weights" else str(tmp_path / "none")
    identity = "7" if fault == "identity" else "0"
    out = tmp_path / "m.npz" if fault != "no place" else speech / "m.npz"
    status = main([str(speech), "--out", str(out), "--checkpoint", checkpoint, "--identity", identity])
    said = capsys.readouterr().err.strip()
    assert status == 2 and said.count("\n") == 0 and len(said) > 20
    assert not (tmp_path / "m.npz").exists()
