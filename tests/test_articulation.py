"""Articulation, whole runs: takes side by side, all contenders, the report, recordings without labels."""

import dataclasses
import json

import numpy as np
import pytest
import soundfile
import torch

from streamingtalker import evaluate
from streamingtalker.checkpoint import save_talker
from streamingtalker.evaluation import recording, report, testset
from streamingtalker.evaluation.articulation import KEPT, write_tables
from streamingtalker.evaluation.freerun import Rollout, free_run
from streamingtalker.evaluation.measures import KEYS, MEASURES, SEEN, UNSEEN
from streamingtalker.evaluation.methods import TalkerMethod
from streamingtalker.evaluation.mouth import Mouth
from streamingtalker.evaluation.sequences import TestBed, joined
from streamingtalker.evaluation.tally import Viewer
from streamingtalker.streamer import FaceStreamer
from streamingtalker.tensor_file import CheckpointError
from streamingtalker.topology import Rig
from streamingtalker.training.baseline import load_regression, save_regression
from streamingtalker.training.judge import talker_predicts
from streamingtalker.training.stages import Regression
from tests.conftest import tiny_face, tiny_talker

# - whole runs -


def tiny_rig() -> Rig:
    shapes = np.random.default_rng(3).normal(size=(3, 12, 3)).astype(np.float32) * 0.01
    none = np.zeros(0, np.int32)
    return Rig(tiny_face(), ("jawOpen", "eyeBlinkLeft", "mouthSmile"), shapes, (none, none), np.zeros((2, 3)))


@pytest.fixture
def data(tmp_path):
    """A corpus of noise: one voice heard in training, one not, weights that follow the level."""
    random = np.random.default_rng(0)
    clips = []
    for folder in ("wav", "weights_npy", "phones"):
        (tmp_path / folder).mkdir()
    plan = [("old", "train", 1), ("old", "test", 2), ("new", "test", 2)]
    for voice, split, count in plan:
        for number in range(count):
            name, samples = f"{voice}_{split}{number}", 12000 + 1500 * number
            frames = -(-samples * 30 // 16000)
            level = np.abs(np.sin(np.arange(frames) / 3 + number))
            pcm = random.normal(size=samples) * np.interp(np.arange(samples) / 533, np.arange(frames), level) * 0.2
            soundfile.write(tmp_path / "wav" / f"{name}.wav", pcm, 16000)
            np.save(tmp_path / "weights_npy" / f"{name}.npy", np.stack([level, level**2, 1 - level], 1))
            spoken = [("m", 0, 0.2), ("iy", 0.2, 0.4), ("f", 0.4, 0.5), ("uw", 0.5, 0.7)]
            entries = [{"phone": phone, "start": start, "end": end} for phone, start, end in spoken]
            (tmp_path / "phones" / f"{name}.json").write_text(json.dumps(entries))
            entry = {
                "moods": [[0.0, "happy"], [0.3, "sad:0.5"]],
                "name": name,
                "voice": voice,
                "style": number,
                "split": split,
                "seconds": samples / 16000,
            }
            clips.append(entry)
    manifest = {"fps": 30, "clips": clips, "styles": ["calm", "lively"], "moods": ["happy", "sad"]}
    (tmp_path / "corpus.json").write_text(json.dumps(manifest))
    return tmp_path


@pytest.fixture
def tiny_world(monkeypatch, data, tmp_path):
    """The corpus, a tiny talker and a tiny baseline in files, and a test of seconds."""
    from streamingtalker import checkpoint
    from streamingtalker.data import dataset
    from streamingtalker.training import baseline
    from tests.conftest import fake_recogniser

    monkeypatch.setattr(checkpoint, "open_recogniser", fake_recogniser)
    monkeypatch.setattr(dataset, "open_recogniser", lambda name: fake_recogniser())
    monkeypatch.setattr(dataset, "load_rig", lambda path: tiny_rig())
    monkeypatch.setattr(baseline, "build_encoder", lambda audio, fps: tiny_talker().audio)
    monkeypatch.setattr(testset, "ENDLESS", 300)
    monkeypatch.setattr(testset, "SOUND_SECONDS", 0.5)
    talker = tiny_talker()
    save_talker(tmp_path / "mlp.safetensors", talker)
    linear = tiny_talker(head=dataclasses.replace(talker.dims.head, kind="linear"))
    save_talker(tmp_path / "linear.safetensors", linear)
    save_regression(tmp_path / "regression.safetensors", Regression(talker.dims, talker.audio), talker)
    return tmp_path


def test_the_command_measures_all_contenders_and_writes_its_report(tiny_world, capsys):
    words = ["--articulation", "--data", str(tiny_world), "--seeds", "2", "--sentences", "2"]
    for option, file in (("checkpoint", "mlp"), ("linear", "linear"), ("regression", "regression")):
        words += [f"--{option}", str(tiny_world / f"{file}.safetensors")]
    words += ["--json", str(tiny_world / "out" / "a.json"), "--markdown", str(tiny_world / "out" / "a.md")]
    assert evaluate.main(words) == 0
    printed = capsys.readouterr().out
    document = json.loads((tiny_world / "out" / "a.json").read_text())
    assert list(document["tables"]) == [
        "MLP head", "shuffled audio", "linear head", "regression", "no recogniser", "still face", "target",
    ]  # fmt: skip
    for table in document["tables"].values():
        assert set(table) == {SEEN, UNSEEN, "old", "new"} and set(table[SEEN]) == set(KEYS)
    assert document["tables"]["still face"][SEEN]["lip_share"]["mean"] == pytest.approx(1)
    assert document["tables"]["target"][UNSEEN]["lip_error"]["mean"] == 0
    assert document["tables"]["MLP head"][UNSEEN]["lip_error"]["interval"] > 0
    assert document["tables"]["regression"][UNSEEN]["lip_error"]["interval"] == 0
    assert set(document["drift"]) == {SEEN, UNSEEN} and set(document["quiet"]) == set(testset.SOUNDS)
    assert set(document["moods"]) == {"neutral", "happy", "sad"}
    assert all(0 <= row["recognised"] <= 1 for row in document["moods"].values())
    assert document["new_voices"] == ["new"] and document["sentences"] == {"old": 2, "new": 2}
    written = (tiny_world / "out" / "a.md").read_text("utf-8")
    assert written.strip() in printed and written.strip() == report.markdown(document)
    assert all(measure.title in written for measure in MEASURES) and "NaN" not in written and "nan" not in written


def test_two_talkers_never_share_a_column(tiny_world, capsys):
    words = ["--articulation", "--data", str(tiny_world), "--seeds", "1", "--sentences", "1"]
    weights = str(tiny_world / "mlp.safetensors")
    assert evaluate.main([*words, "--checkpoint", weights, "--linear", weights]) == 2
    told = capsys.readouterr().err
    assert "'MLP head'" in told and "two runs" in told and len(told.splitlines()) == 1


def test_a_talker_without_diffusion_has_a_column_of_its_own(tiny_world, capsys):
    direct = tiny_talker(head=dataclasses.replace(tiny_talker().dims.head, kind="direct"))
    save_talker(tiny_world / "direct.safetensors", direct)
    words = ["--articulation", "--data", str(tiny_world), "--seeds", "1", "--sentences", "1"]
    words += ["--checkpoint", str(tiny_world / "direct.safetensors"), "--json", str(tiny_world / "a.json")]
    assert evaluate.main([*words, "--linear", str(tiny_world / "linear.safetensors")]) == 0
    tables = json.loads((tiny_world / "a.json").read_text())["tables"]
    assert next(iter(tables)) == "no diffusion" and "linear head" in tables


def test_what_people_wrote_below_the_tables_stays(tmp_path):
    path = tmp_path / "results.md"
    write_tables(path, "old tables")
    assert path.read_text() == "old tables\n"
    path.write_text(f"old tables\n\n{KEPT}\n\n## By hand\n")
    write_tables(path, "new tables")
    write_tables(path, "newer tables")
    assert path.read_text() == f"newer tables\n\n{KEPT}\n\n## By hand\n"


@pytest.mark.parametrize("kind", ["mlp", "linear"])
def test_takes_side_by_side_are_what_streams_of_their_own_give(tiny_world, kind):
    """Frames drawn for the table equal those of FaceStreamer fed in pieces, for every length, style and seed."""
    corpus = testset.Corpus(tiny_world)
    talker = tiny_talker(head=dataclasses.replace(tiny_talker().dims.head, kind=kind))
    clips, mouth = corpus.split("test")[:2], Mouth.of(talker.topology)
    examples = [
        dataclasses.replace(each, moods=torch.zeros_like(each.moods))
        for each in testset.load_examples(corpus, tiny_rig(), talker, clips)
    ]
    takes = [Rollout(example, seed) for example in examples for seed in (3, 4)]
    assert len({len(take.example.moods) for take in takes}) == 2
    view, finished = Viewer.of(mouth, talker.vqvae.basis), []
    for take, motion in zip(takes, free_run(talker, takes, finished.append), strict=True):
        pcm, _ = soundfile.read(tiny_world / "wav" / f"{take.example.clip.name}.wav", dtype="float32")
        streamer = FaceStreamer(talker, identity=take.example.clip.style, seed=take.seed)
        offsets = np.concatenate(list(streamer.stream([pcm[:5000], pcm[5000:]])))
        streamed = mouth.observe(offsets[:, mouth.watched])
        assert len(motion) == len(take.example.moods) and sum(finished) == len(takes)
        np.testing.assert_allclose(view(motion).opening, streamed.opening[: len(motion)], atol=1e-4)


def test_moods_reach_the_side_by_side_takes(tiny_world):
    corpus, talker = testset.Corpus(tiny_world), tiny_talker()
    example = testset.load_examples(corpus, tiny_rig(), talker, corpus.split("test")[:1])[0]
    assert example.moods.any()
    with torch.inference_mode():
        alone = talker_predicts(talker, 3)(example)
    together = free_run(talker, [Rollout(example, 3), Rollout(example, 5)])
    torch.testing.assert_close(together[0], alone, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(together[1], alone, atol=1e-3)


def test_both_evaluations_ask_for_the_same_moods_in_the_same_frames(tiny_world):
    """Frames scored by LVE, FDD and MOD are those whose lip shapes are measured, in clips alone and joined."""
    bed, talker, mouth = TestBed(tiny_world), tiny_talker(), Mouth.of(tiny_face())
    targets = [target for target in bed.targets("test") if target.identity == 0]
    for target in targets:  # the sound of both evaluations ends with a frame
        soundfile.write(tiny_world / "wav" / f"{target.name}.wav", bed.sound(target), 16000, subtype="FLOAT")
    examples = testset.load_examples(bed.corpus, tiny_rig(), talker, [target.segments[0].clip for target in targets])
    method, view = TalkerMethod(talker, bed, "tiny"), Viewer.of(mouth, talker.vqvae.basis)
    for target, motion in zip(targets, free_run(talker, [Rollout(each, 3) for each in examples]), strict=True):
        scored = np.concatenate(list(method.motion(target, "0", 3))) - talker.topology.template
        streamed = mouth.observe(scored[:, mouth.watched])
        np.testing.assert_allclose(streamed.opening[: len(motion)], view(motion).opening, atol=1e-4)
    (long,) = joined(targets, 40)
    asked = [each.moods[: part.frames] for each, part in zip(examples, long.segments, strict=True)]
    np.testing.assert_array_equal(method._moods(long), np.concatenate(asked))


def test_endless_speech_says_the_same_in_each_part(tiny_world):
    corpus, talker, rig = testset.Corpus(tiny_world), tiny_talker(), tiny_rig()
    mouth, ahead = Mouth.of(rig.topology), talker.dims.audio.lookahead
    chosen = testset.choose(corpus)
    sentences = testset.load_sentences(corpus, rig, mouth, chosen)
    examples = testset.load_examples(corpus, rig, talker, [clip for _, clip in chosen])
    speech = testset.endless(examples, sentences, 1, ahead, mouth)
    part = testset.ENDLESS // testset.PARTS
    whole = speech.example
    assert whole.clip.style == 1 and len(whole.moods) == testset.ENDLESS and len(speech.target) == part
    assert len(whole.features) == 3 * (testset.ENDLESS + ahead)
    np.testing.assert_array_equal(whole.features[: 3 * part], whole.features[-3 * (part + ahead) : -3 * ahead])
    assert all(0 <= first <= last <= part for _, first, last in speech.intervals)
    own = next(each for each in sentences if each.clip.style == 1)
    frames = min(part, len(own.target))
    np.testing.assert_array_equal(speech.target.opening[:frames], own.target.opening[:frames])


def test_moods_reach_a_talker_that_knows_them(tiny_world):
    corpus = testset.Corpus(tiny_world)
    dims = dataclasses.replace(tiny_talker().dims, moods=("sad", "grim"))
    talker = tiny_talker(moods=dims.moods)
    example = testset.load_examples(corpus, tiny_rig(), talker, corpus.split("test")[:1])[0]
    assert example.moods[0].tolist() == [0, 0] and example.moods[-1, 0] > 0 and not example.moods[:, 1].any()


def test_a_damaged_baseline_is_named(tiny_world):
    (tiny_world / "regression.safetensors").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="damaged"):
        load_regression(tiny_world / "regression.safetensors")


def test_any_recording_is_judged_without_labels(tiny_world, capsys, monkeypatch):
    monkeypatch.setattr(recording, "open_judge", lambda: lambda pcm: [("m", 0.1), ("u", 0.3)])
    wav = tiny_world / "wav" / "old_test0.wav"
    words = ["--articulation", "--recording", str(wav), "--text", "moo", "--seeds", "1"]
    assert evaluate.main([*words, "--checkpoint", str(tiny_world / "mlp.safetensors")]) == 0
    printed = capsys.readouterr().out
    assert "hama" in printed and "said:  moo" in printed and "heard: m uw" in printed
    monkeypatch.setattr(recording, "open_judge", lambda: lambda pcm: [])
    assert evaluate.main([*words, "--checkpoint", str(tiny_world / "mlp.safetensors")]) == 2
    assert "Nothing that sounds like speech" in capsys.readouterr().err


def test_a_missing_corpus_is_named(tmp_path, capsys):
    assert evaluate.main(["--articulation", "--data", str(tmp_path / "none")]) == 2
    assert "does not exist" in capsys.readouterr().err
