"""The published network's two stages, from raw files of the data sets to a talking face, all in small."""

import json

import numpy as np
import pytest
import soundfile
import torch

from streamingtalker import evaluate, generate
from streamingtalker.checkpoint import load_talker
from streamingtalker.data.prepare.__main__ import main as prepare
from streamingtalker.evaluation.sequences import TestBed
from streamingtalker.tensor_file import read_tensors, write_tensors
from streamingtalker.topology import TOPOLOGY
from streamingtalker.train import main
from streamingtalker.training.journal import last_file
from streamingtalker.training.published import PRESETS, Halving, StageOne, StageTwo, choose_learning
from streamingtalker.training.takes import Take, TakeBatch, take_batches
from streamingtalker.training.variants import merged
from tests.conftest import tiny_face
from tests.test_prepare import make_biwi, make_vocaset
from tests.test_released import HUBERT, released

SMALL = {
    "motion": {"width": 16, "layers": 1, "heads": 2, "feedforward": 16, "components": 4, "code_dim": 4, "codes": 8},
    "predictor": {"width": 16, "layers": 1, "heads": 2, "feedforward": 16, "audio": 12, "history": 3},
    "hubert": HUBERT,
}


def take(frames: int, seed: int) -> Take:
    random = torch.Generator().manual_seed(seed)
    offsets = torch.randn(frames, 36, generator=random).cumsum(0) * 0.01
    return Take(offsets, torch.randn(frames * 533, generator=random), seed % 3)


TAKES = [take(14, 0), take(9, 1)]


def test_sequences_side_by_side_are_as_each_alone():
    talker = released()
    both = TakeBatch.of(TAKES, 3)
    with torch.no_grad():
        together = talker.vqvae.quantise(both.offsets, both.mask)
        decoded = talker.vqvae.decode(together.latents, both.mask)
        for row, each in enumerate(TAKES):
            alone = talker.vqvae.quantise(each.offsets[None])
            frames = len(each.offsets)
            torch.testing.assert_close(together.latents[row, :frames], alone.latents[0], atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(
                decoded[row, :frames], talker.vqvae.decode(alone.latents)[0], atol=1e-5, rtol=1e-4
            )


def test_losses_of_padded_sequences_are_the_frames_mean():
    """Stage 1 of both at once is the mean over their frames of stage 1 of each."""
    talker = released()
    whole = StageOne(talker)(TakeBatch.of(TAKES, 3), 0.0)
    parts = [StageOne(talker)(TakeBatch.of([each], 3), 0.0) for each in TAKES]
    for name, value in whole.items():
        mean = np.average([float(part[name].detach()) for part in parts], weights=[14, 9])
        assert float(value.detach()) == pytest.approx(mean, rel=1e-4)


def test_what_learns_in_each_stage():
    talker = released()

    def learning(stage, preset):
        choose_learning(talker, stage, PRESETS[preset])
        return {name for name, parameter in talker.named_parameters() if parameter.requires_grad}

    assert {name.split(".")[0] for name in learning("vqvae", "vocaset")} == {"vqvae"}
    voca, biwi = learning("talker", "vocaset"), learning("talker", "biwi")
    assert {name.split(".")[0] for name in voca} == {"head", "predictor", "hearing"}
    assert not any("feature_extractor" in name for name in voca)
    assert any("hubert.encoder" in name for name in voca)
    assert {name.split(".")[1] for name in biwi - voca} == {"decoder", "out"}


def test_the_presets_are_the_papers():
    voca, biwi = PRESETS["vocaset"], PRESETS["biwi"]
    assert (voca.dims.motion.latent, biwi.dims.motion.latent) == (1024, 1024)
    assert (voca.dims.predictor.history, biwi.dims.predictor.history) == (60, 120)
    assert voca.loop("vqvae", False).factor(0.051) == 0.5  # 400 epochs: after 20
    assert biwi.loop("vqvae", False).factor(0.051) == 1 and biwi.loop("vqvae", False).factor(0.11) == 0.5
    assert voca.loop("talker", False).factor(0.99) == 1 and Halving(20)(1.0) == 0.5**19


def test_windows_of_the_history_are_drawn_inside_the_sequences():
    talker = released()
    batch = TakeBatch.of(TAKES, 3)
    firsts = {StageTwo(talker, 5)._window(batch).start for _ in range(60)}
    assert firsts == set(range(5))  # 9 frames hold 5 windows of 5
    assert StageTwo(talker, 0)._window(batch) == slice(0, 14)
    terms = StageTwo(talker, 5)(batch, 0.0)
    assert set(terms) == {"latent", "vertex", "velocity"}
    sum(terms.values()).backward()
    assert talker.vqvae.encoder.conv.weight.grad is None  # the motion encoder is held
    assert float(talker.hearing.hubert.encoder.layers[0].attention.q_proj.weight.grad.abs().sum()) > 0


@pytest.mark.parametrize(("name", "make", "split"), [("vocaset", make_vocaset, "test"), ("biwi", make_biwi, "test-a")])
def test_a_whole_round(name, make, split, tmp_path):
    """Raw files → corpus → both stages → nothing more to do when resumed → scores → motion."""
    raw, _ = make(tmp_path / "raw")
    assert prepare([name, "--raw", str(raw), "--out", str(tmp_path / "corpus")]) == 1  # most of the data set is missing
    out = tmp_path / "run"
    command = ["all", "--preset", name, "--data", str(tmp_path / "corpus"), "--out", str(out), "--steps", "4"]
    command += ["--threads", "1", "--checks", "1", "--batch", "2", "--dims", json.dumps(SMALL)]
    assert main(command) == 0
    first = read_tensors(out / "talker.safetensors", kind="talker")[0]
    assert (out / "talker-best.safetensors").exists() and list((out / "validation").glob("talker-*.npz"))
    assert main([*command, "--resume"]) == 0
    again = read_tensors(out / "talker.safetensors", kind="talker")[0]
    assert all(np.array_equal(first[key], again[key]) for key in first)
    assert read_tensors(last_file(out), kind="training")[1]["progress"]["steps"] == 2
    other = ["talker", *command[1:-1], json.dumps({"predictor": {"history": 3}})]
    assert main(other) == 2  # stage 1 has other dimensions
    weights = str(out / "talker.safetensors")
    report = tmp_path / "report.json"
    scored = ["--data", str(tmp_path / "corpus"), "--split", split, "--sequences", "1", "--checkpoint", weights]
    assert evaluate.main([*scored, "--json", str(report)]) == 0
    assert json.loads(report.read_text())["figures"]["lve"] > 0
    soundfile.write(tmp_path / "speech.wav", np.random.default_rng(0).normal(size=4000) * 0.1, 16000)
    motion = str(tmp_path / "motion.npz")
    assert generate.main([str(tmp_path / "speech.wav"), "--out", motion, "--checkpoint", weights]) == 0
    assert np.isfinite(np.load(motion)["vertices"]).all()


def test_what_cannot_be_trained_is_named(tmp_path, capsys):
    bed = small_bed(tmp_path / "corpus", 6)
    common = ["--data", str(bed.corpus.path), "--out", str(tmp_path / "out"), "--steps", "1"]
    assert main(["encoder", "--preset", "vocaset", *common]) == 2
    assert main(["talker", "--preset", "biwi", *common]) == 2
    assert main(["vqvae", "--preset", "vocaset", *common, "--dims", '{"motion": {"breadth": 1}}']) == 2
    told = capsys.readouterr().err
    assert "no stage 'encoder'" in told and "30 frames a second" in told and "breadth" in told


def test_changes_of_dimensions_are_merged():
    document = {"motion": {"width": 1, "layers": 2}, "hubert": {"a": 1}, "fps": 30}
    changed = merged(document, {"motion": {"width": 5}, "hubert": {"b": 2}})
    assert changed == {"motion": {"width": 5, "layers": 2}, "hubert": {"b": 2}, "fps": 30}


def test_our_own_network_trains_on_the_mesh_of_a_scanned_corpus(tmp_path):
    small_bed(tmp_path / "data", 24, clips=2)
    manifest = tmp_path / "data" / "corpus.json"
    document = json.loads(manifest.read_text())
    document["clips"][-1]["split"] = "test"
    manifest.write_text(json.dumps(document))
    assert main(["vqvae", *f"--data {tmp_path / 'data'} --out {tmp_path / 'out'} --steps 2 --jobs 1".split()]) == 0
    assert load_talker(tmp_path / "out" / "vqvae.safetensors").topology.vertex_count == 12


def test_batches_of_takes_go_on_where_they_stopped(tmp_path):
    bed = small_bed(tmp_path, 6, clips=5)
    targets = bed.targets("train")
    whole = take_batches(bed, targets, 3, 2, seed=1)
    before = [next(whole).offsets for _ in range(7)]
    later = take_batches(bed, targets, 3, 2, seed=1)
    later.begin(4)
    assert all(torch.equal(next(later).offsets, each) for each in before[4:])


def small_bed(path, frames: int, clips: int = 1) -> TestBed:
    """A corpus of a face of 12 vertices in the form that ``prepare`` gives; every clip is also for validation."""
    for folder in ("wav", "vertices_npy", "phones"):
        (path / folder).mkdir(parents=True)
    face, random, entries = tiny_face(), np.random.default_rng(0), []
    for index in range(clips):
        phase = np.arange(frames)[:, None, None] * 0.5 + random.uniform(0, 6, (1, 12, 3))
        level = 0.3 + 0.7 * np.abs(np.sin(np.arange(frames) / 4))
        np.save(
            path / "vertices_npy" / f"a{index}.npy",
            np.float32(face.template + 0.05 * np.sin(phase)).reshape(frames, -1),
        )
        pcm = random.normal(size=frames * 16000 // 30) * np.repeat(level, 534)[: frames * 16000 // 30]
        soundfile.write(path / "wav" / f"a{index}.wav", pcm * 0.2, 16000)
        (path / "phones" / f"a{index}.json").write_text("[]")
        entry = {"name": f"a{index}", "voice": "a", "style": 0, "seconds": frames / 30}
        entries += [entry | {"split": split} for split in ("train", "val")]
    tensors = {f"topology/{name}": getattr(face, name) for name in TOPOLOGY}
    write_tensors(path / "topology.safetensors", tensors, "avatar", {"name": "tiny"})
    np.savez(path / "templates.npz", a=face.template)
    manifest = {"kind": "vocaset", "fps": 30, "units": "m", "clips": entries, "styles": [{"name": "a"}] * 3}
    (path / "corpus.json").write_text(json.dumps(manifest))
    return TestBed(path)
