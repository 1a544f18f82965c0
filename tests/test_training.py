"""Corpus reading, losses, metrics and a whole round of training on a corpus of a few clips."""

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from streamingtalker import metrics
from streamingtalker.audio.posteriors import RecogniserError
from streamingtalker.audio.student import student_version
from streamingtalker.checkpoint import load_talker
from streamingtalker.config import AudioDims
from streamingtalker.data.dataset import Batch, Corpus, CorpusError, batches, collate, extract_features, load_example
from streamingtalker.data.phones import INVENTORY
from streamingtalker.losses import MotionLoss, latent_loss, masked_mean, phone_loss
from streamingtalker.tensor_file import write_tensors
from streamingtalker.topology import TOPOLOGY, Rig
from streamingtalker.train import USED, _arguments, main
from streamingtalker.training.beginning import sample_offsets
from streamingtalker.training.codebook import CodeKeeper, cluster
from streamingtalker.training.loop import Budget, one_cycle
from streamingtalker.training.machines import MachineError, Machines
from streamingtalker.training.own_run import OwnRun
from tests.conftest import tiny_face, tiny_talker


def tiny_rig() -> Rig:
    shapes = np.random.default_rng(3).normal(size=(3, 12, 3)).astype(np.float32) * 0.01
    none = np.zeros(0, np.int32)
    return Rig(tiny_face(), ("jawOpen", "eyeBlinkLeft", "mouthSmile"), shapes, (none, none), np.zeros((2, 3)))


@pytest.fixture
def corpus(tmp_path):
    """Six clips of noise whose weights follow its level."""
    random = np.random.default_rng(0)
    clips = []
    for folder in ("wav", "weights_npy", "vertices_npy", "phones"):
        (tmp_path / folder).mkdir()
    rig = tiny_rig()
    for index, split in enumerate(["train"] * 4 + ["val", "test"]):
        name, samples = f"voice{index % 3}_sentence{index:02d}", 9000 + 700 * index
        frames = -(-samples * 30 // 16000)
        level = np.abs(np.sin(np.arange(frames) / 3 + index))
        pcm = random.normal(size=samples) * np.interp(np.arange(samples) / 533, np.arange(frames), level) * 0.2
        soundfile.write(tmp_path / "wav" / f"{name}.wav", pcm, 16000)
        weights = np.stack([level, level**2, 1 - level], 1).astype(np.float16)
        np.save(tmp_path / "weights_npy" / f"{name}.npy", weights)
        np.save(
            tmp_path / "vertices_npy" / f"{name}.npy",
            (rig.offsets(weights) + rig.topology.template).reshape(frames, -1),
        )
        entries = [{"phone": "m", "start": 0, "end": 0.2, "stress": 0}, {"phone": "aa", "start": 0.2, "end": 0.5}]
        (tmp_path / "phones" / f"{name}.json").write_text(json.dumps(entries))
        clips.append({"name": name, "voice": name[:6], "style": index % 2, "split": split, "seconds": samples / 16000})
        clips[-1]["moods"] = [[0.0, "neutral"], [0.2, "sad:0.5"]]
    manifest = {
        "fps": 30,
        "moods": ["happy", "sad"],
        "clips": clips,
        "styles": ["calm", "lively"],
        "avatar": "tiny",
        "complete": True,
    }
    (tmp_path / "corpus.json").write_text(json.dumps(manifest))
    return Corpus(tmp_path)


def test_motion_from_weights_equals_motion_from_vertices(corpus):
    talker, rig, clip = tiny_talker(), tiny_rig(), corpus.clips[0]
    from_weights = corpus.coefficients(clip, rig, talker.vqvae.basis)
    (corpus.path / "weights_npy" / f"{clip.name}.npy").unlink()
    from_vertices = corpus.coefficients(clip, rig, talker.vqvae.basis)
    torch.testing.assert_close(from_weights, from_vertices, atol=1e-3, rtol=1e-3)


def test_scanned_people_move_from_their_own_templates(tmp_path):
    """Who somebody is, is no motion: the basis must not spend its coefficients on it."""
    rig = dataclasses.replace(tiny_rig(), shape_names=(), shapes=np.zeros((0, 12, 3), np.float32))
    person = rig.topology.template + 1
    (tmp_path / "vertices_npy").mkdir()
    np.save(tmp_path / "vertices_npy" / "a.npy", np.tile(person.reshape(1, -1), (5, 1)))
    np.savez(tmp_path / "templates.npz", ann=person)
    clip = {"name": "a", "voice": "ann", "style": 0, "split": "train", "seconds": 0.2}
    (tmp_path / "corpus.json").write_text(json.dumps({"fps": 30, "styles": ["ann"], "clips": [clip]}))
    assert np.abs(sample_offsets(Corpus(tmp_path), rig, 3, 0)).max() == 0


def test_features_are_made_once_and_anew_for_another_sound(corpus):
    dims = AudioDims()
    extract_features(corpus, dims)
    file = corpus.features_file(corpus.clips[0], dims)
    before = file.stat().st_mtime_ns
    counted = []
    extract_features(corpus, dims, done=lambda: counted.append(1))
    assert file.stat().st_mtime_ns == before and len(counted) == 6
    example = load_example(corpus, corpus.clips[0], tiny_rig(), tiny_talker().vqvae.basis, dims)
    assert len(example.coefficients) == 17 and len(example.features) == 3 * (17 + dims.lookahead)
    assert example.intervals[0] == ("m", 0, 6) and INVENTORY[int(example.phones[7])] == "aa"
    soundfile.write(corpus.path / "wav" / f"{corpus.clips[0].name}.wav", np.zeros(9000), 16000)
    assert not corpus.features_file(corpus.clips[0], dims).exists()


def test_features_of_one_recogniser_are_not_read_for_those_of_another(corpus, monkeypatch):
    dims, clip = AudioDims(), corpus.clips[0]
    extract_features(corpus, dims, recogniser="none")
    assert corpus.features(clip, dims, "none").shape[1] == dims.mel_bands + dims.posterior_classes
    with_hama = corpus.features_file(clip, dims)
    assert not with_hama.exists() and not corpus.features_file(clip, dims, "student").exists()
    assert with_hama == corpus.features_file(clip, dims, "hama")
    assert with_hama.parent.name == "hama-mel64-12800-9600-3200-6400-ahead6", "corpora that exist are named so"
    assert corpus.features_file(clip, dims, "student").parent.name.startswith(f"student-{student_version()}-mel64-")
    monkeypatch.setitem(sys.modules, "hama", None)  # as where it has no build
    assert corpus.features_file(clip, dims) == corpus.features_file(clip, dims, "student")
    with pytest.raises(RecogniserError, match="hama cannot be loaded"):
        extract_features(corpus, dims, recogniser="hama")


def test_broken_corpora_are_named(tmp_path, corpus):
    with pytest.raises(CorpusError, match=r"streamingtalker\.data\.synthetic"):
        Corpus(tmp_path / "none")
    (corpus.path / "vertices_npy" / f"{corpus.clips[0].name}.npy").write_bytes(b"x")
    with pytest.raises(CorpusError, match="sentence00"):
        corpus.vertices(corpus.clips[0])
    for folder, damaged, read in (
        ("weights_npy", "npy", corpus.weights),
        ("phones", "json", corpus.phones),
    ):
        (corpus.path / folder / f"{corpus.clips[1].name}.{damaged}").write_bytes(b"x")
        with pytest.raises(CorpusError, match=rf"{folder}.*sentence01.*make the corpus again"):
            read(corpus.clips[1])
    corpus.wav(corpus.clips[2]).unlink()
    with pytest.raises(CorpusError, match=r"sentence02\.wav"):
        corpus.features_file(corpus.clips[2], AudioDims())
    (corpus.path / "corpus.json").write_text('{"clips": [{}]}')
    with pytest.raises(CorpusError, match=r"corpus\.json"):
        Corpus(corpus.path)


@pytest.fixture
def avatar(tmp_path):
    """The tiny rig as an avatar file."""
    rig = tiny_rig()
    tensors = {f"topology/{name}": getattr(rig.topology, name) for name in TOPOLOGY}
    tensors |= {"rig/shapes": rig.shapes, "rig/pivots": rig.pivots.astype(np.float32)}
    tensors |= {"rig/eye_left": rig.eyes[0], "rig/eye_right": rig.eyes[1]}
    write_tensors(tmp_path / "tiny.safetensors", tensors, "avatar", {"name": "tiny", "shape_names": rig.shape_names})
    return tmp_path / "tiny.safetensors"


def test_a_whole_round_of_training(corpus, tmp_path, avatar):
    """Both stages from the command line; the talker is written, loads and has been judged."""
    out = tmp_path / "run"
    common = ["--data", str(corpus.path), "--avatar", str(avatar), "--threads", "1", "--jobs", "1"]
    assert main(["all", *common, "--out", str(out), "--steps", "12"]) == 0
    talker = load_talker(out / "talker.safetensors")
    assert talker.dims.styles == 2 and talker.topology.name == "tiny"
    figures = json.loads((out / "figures.json").read_text())
    assert {"talker, seen voices", "regression, seen voices"} <= set(figures["figures"])
    assert set(figures["steps"]) == {"vqvae", "encoder", "talker"} and figures["steps"]["encoder"] == 3
    weights = str(out / "talker.safetensors")
    assert main(["judge", *common, "--out", str(tmp_path / "judged"), "--checkpoint", weights]) == 0
    again = json.loads((tmp_path / "judged" / "figures.json").read_text())["figures"]
    assert again["talker, seen voices"]["lve"] == pytest.approx(figures["figures"]["talker, seen voices"]["lve"])
    assert main(["talker", *common, "--out", str(out), "--steps", "3", "--head", "linear"]) == 0
    linear = load_talker(out / "talker-linear.safetensors")
    assert linear.dims.head.kind == "linear"
    torch.testing.assert_close(linear.vqvae.state_dict(), talker.vqvae.state_dict())
    assert main(["judge", *common, "--out", str(out)]) == 0
    kept = json.loads((out / "figures.json").read_text())  # of every stage, whichever command trained it
    assert set(kept["figures"]) == {*figures["figures"], *(name for name in kept["figures"] if "talker-linear" in name)}
    assert "talker-linear, seen voices" in kept["figures"] and kept["steps"] == figures["steps"] | {"talker-linear": 3}
    assert [words.split()[3] for words in (*kept["earlier_commands"], kept["command"])] == ["all", "talker", "judge"]
    assert kept["figures"]["talker, seen voices"] == pytest.approx(
        figures["figures"]["talker, seen voices"], nan_ok=True
    )
    assert main(["talker", *common, "--out", str(tmp_path / "none"), "--steps", "3"]) == 2


@pytest.mark.parametrize(
    ("words", "ignored"),
    [
        ("judge --head linear", "--head"),
        ("judge --steps 3", "--steps"),
        ("student --resume --device cpu --checks 3", "--resume, --checks, --device"),
        ("vqvae --head mlp", "--head"),
        ("talker --checkpoint x.safetensors", "--checkpoint"),
        ("encoder --checks 5", "--checks"),
        ("all --epochs 3", "--epochs"),
        ("all --rate 1e-3 --dims {}", "--rate, --dims"),
        ("vqvae --hubert x", "--hubert"),
        ("all --preset vocaset --variant plain-vae", "--variant"),
        ("talker --preset biwi --head linear --recogniser student", "--head, --recogniser"),
        ("vqvae --preset biwi --history 5 --save-every 3", "--history"),
    ],
)
def test_options_that_would_be_ignored_are_refused(words, ignored, tmp_path, capsys):
    assert main([*words.split(), "--data", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert f"does not use {ignored};" in told and len(told.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_every_option_says_which_stages_use_it():
    assert set(USED) | {"stage", "words"} == set(vars(_arguments(["all"])))


def test_the_makefile_gives_only_options_that_are_used():
    lines = (Path(__file__).parent.parent / "Makefile").read_text().splitlines()
    extra = next(line for line in lines if line.startswith("TRAINING ?=")).partition("=")[2]
    commands = [line.partition("streamingtalker.train ")[2] for line in lines if "streamingtalker.train " in line]
    stages = [_arguments(command.replace("$(TRAINING)", extra).split()).stage for command in commands]
    assert stages == ["vqvae", "encoder", "talker", "talker", "student"]


def test_the_student_wants_one_process(corpus, avatar):
    class Pair(Machines):
        count = 2

    with pytest.raises(MachineError, match="without torchrun"):
        OwnRun(_arguments(["student", "--data", str(corpus.path)]), Pair())


def test_damaged_figures_are_named_before_anything_is_trained(corpus, avatar, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "figures.json").write_text("{")
    command = ["vqvae", "--data", str(corpus.path), "--avatar", str(avatar), "--out", str(tmp_path / "out")]
    assert main([*command, "--steps", "1"]) == 2
    assert "figures.json is damaged" in capsys.readouterr().err


def test_losses_vanish_for_the_truth_and_ignore_the_padding(corpus):
    talker = tiny_talker()
    loss = MotionLoss(talker.vqvae.basis, talker.topology, others=4)
    true, mask = torch.randn(2, 9, 9), torch.ones(2, 9)
    mask[1, 5:] = 0
    wrong = true.clone()
    wrong[1, 5:] += 3
    for losses in (loss(true, true, mask), loss(wrong, true, mask)):
        assert float(losses.vertex_l1 + losses.vertex_l2 + losses.velocity * 0 + losses.lip_gap) == 0
    assert float(loss(wrong, true, torch.ones(2, 9)).lip_gap) > 0.1
    assert float(latent_loss(wrong, true, mask)) == 0


def test_velocity_compares_steps_not_places():
    talker = tiny_talker()
    loss = MotionLoss(talker.vqvae.basis, talker.topology)
    true = torch.randn(1, 9, 9)
    shifted = loss(true + 1, true, torch.ones(1, 9))
    assert float(shifted.velocity) < 1e-9 < float(shifted.vertex_l2)


def test_phone_loss_skips_what_has_no_phone():
    logits = torch.zeros(1, 3, 4)
    known = phone_loss(logits, torch.tensor([[1, -1, 2]]), torch.ones(1, 3))
    assert float(known) == pytest.approx(np.log(4))
    assert float(masked_mean(torch.ones(1, 3), torch.zeros(1, 3))) == 0


def test_batches_pad_and_hold_every_clip_once(corpus):
    extract_features(corpus, AudioDims())
    basis = tiny_talker().vqvae.basis
    examples = [load_example(corpus, clip, tiny_rig(), basis, AudioDims()) for clip in corpus.clips]
    endless = batches(examples, styles=2, frames=45, seed=0)
    lengths: list[int] = []
    while len(lengths) < len(examples):
        batch: Batch = next(endless)
        assert batch.mask.numel() <= 45 or len(batch.mask) == 1
        lengths += batch.mask.sum(1).int().tolist()
    assert sorted(lengths) == sorted(len(example.coefficients) for example in examples)
    whole = collate(examples, 2)
    assert whole.features.shape[1] == 3 * (whole.mask.shape[1] + AudioDims().lookahead)
    assert (whole.style[..., :2].sum(2) == whole.mask).all()  # one style a frame, none beyond the end
    assert (whole.style[..., 2] == 0).all() and whole.style[:, 0, 3].max() == 0 and whole.style[..., 3].max() > 0.1


def test_budgets_and_the_cycle():
    assert Budget(steps=100).part(0.25).steps == 25 and Budget(seconds=60).part(0.5).seconds == 30
    assert Budget(steps=10).spent(5, 99) == 0.5 and Budget(seconds=10).spent(5, 99) == 1
    assert one_cycle(0.1, 0.1) == pytest.approx(1) and one_cycle(1, 0.1) == pytest.approx(0.01)


def test_the_codebook_begins_from_data_and_dead_codes_revive():
    centres = torch.tensor([[0.0, 0], [9, 0], [0, 9]])
    points = centres.repeat(40, 1) + 0.1 * torch.randn(120, 2)
    assert torch.cdist(centres, cluster(points, 24)).min(1).values.max() < 0.2
    quantiser = tiny_talker().vqvae.quantiser
    keeper = CodeKeeper(quantiser)
    keeper.observe(torch.randn(500, 3, 3), 0.1)
    with torch.no_grad():
        quantiser.codebook[0, 0] = 1e4
    for _ in range(300):
        keeper.observe(torch.randn(100, 3, 3), 0.1)
    assert quantiser.codebook[0, 0].abs().max() < 10


def test_metrics_by_hand():
    true = np.zeros((2, 4, 3))
    guess = true.copy()
    guess[0, 1] = [0.003, 0.004, 0]
    lips = np.array([0, 1])
    assert metrics.lip_vertex_error(guess, true, lips) == pytest.approx(25e-6 / 2)
    assert metrics.lip_distance_mm(guess, true, lips) == pytest.approx(2.5)
    assert metrics.face_dynamics_distance(guess, true, np.array([1])) == pytest.approx(-12.5e-6)
    pairs = np.array([[0, 1]])
    assert metrics.mouth_opening(guess, pairs)[:, 0].tolist() == pytest.approx([0.005, 0])
    assert metrics.mouth_open_difference(guess, true, pairs) == pytest.approx(0.0025)
    opening = np.array([5.0, 1, 5, 5])
    assert metrics.closure_recall(opening, [(0, 2), (2, 4)], closed=2) == 0.5
    assert metrics.openness_precision(opening, np.array([True, True, False, False]), closed=2) == 0.5
    assert metrics.correlation(opening, 2 * opening + 1) == pytest.approx(1)
    assert np.isnan(metrics.correlation(opening, np.ones(4))) and np.isnan(metrics.closure_recall(opening, [], 1))
