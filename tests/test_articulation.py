"""Articulation: what counts as a shape, what is counted, the test set, the report, recordings without labels."""

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch

from streamingtalker import evaluate, metrics
from streamingtalker.checkpoint import save_talker
from streamingtalker.data.dataset import Clip
from streamingtalker.evaluation import articulation, measures, moods, recording, report, testset
from streamingtalker.evaluation.freerun import Take, free_run
from streamingtalker.evaluation.measures import KEYS, MEASURES, SEEN, UNSEEN, Measure, measure_clip, ratios, reached
from streamingtalker.evaluation.mouth import Motion, Mouth, Thresholds
from streamingtalker.evaluation.tally import Scores, Viewer, shuffled
from streamingtalker.streamer import FaceStreamer
from streamingtalker.tensor_file import CheckpointError
from streamingtalker.topology import Rig
from streamingtalker.training.baseline import load_regression, save_regression
from streamingtalker.training.judge import talker_predicts
from streamingtalker.training.stages import Regression
from tests.conftest import tiny_face, tiny_talker

LIMITS = Thresholds(contact=(0.0, 0.001, -0.003), narrow=0.042, forward=0.002)


def motion(opening, width=0.045, protrusion=0.0, lower_lip=(0.0, -0.01, 0.0), lips=None, upper=1.0) -> Motion:
    frames = len(opening)
    return Motion(
        lips=np.zeros((frames, 2, 3)) if lips is None else lips,
        opening=np.array(opening, float),
        width=np.full(frames, width),
        protrusion=np.full(frames, protrusion),
        lower_lip=np.tile(lower_lip, (frames, 1)),
        upper_face=np.array([upper]),
    )


def values(guess: Motion, target: Motion, intervals) -> dict[str, float]:
    return dict(zip(KEYS, ratios(measure_clip(guess, target, intervals, LIMITS)), strict=True))


# - metrics -


def test_lag_finds_a_shift_between_frames():
    time = np.arange(90)
    for shift in (0, 1, 2.5, -3):
        late = np.sin((time - shift) / 4) + 0.3 * np.sin((time - shift) / 2.3)
        true = np.sin(time / 4) + 0.3 * np.sin(time / 2.3)
        assert metrics.lag(late, true) == pytest.approx(shift, abs=0.15)
    assert np.isnan(metrics.lag(np.zeros(90), np.sin(time)))
    assert np.isnan(metrics.lag(np.ones(5), np.arange(5)))


def test_acceleration_and_dynamics_by_hand():
    offsets = np.zeros((4, 1, 3))
    offsets[:, 0, 1] = [0, 1, 4, 9]  # second differences 2, 2
    np.testing.assert_allclose(metrics.acceleration(offsets), [[2], [2]])
    np.testing.assert_allclose(metrics.dynamics(offsets), [np.std([0, 1, 16, 81])])


def test_interval_of_means_by_hand():
    mean, half = metrics.mean_and_interval(np.array([1.0, 2, 3, 4, 5]))
    assert mean == 3 and half == pytest.approx(2.776 * np.sqrt(2.5) / np.sqrt(5))
    assert metrics.mean_and_interval(np.array([7.0])) == (7.0, 0.0)


# - mouth -


def test_a_mouth_is_read_off_its_vertices():
    face = tiny_face()
    mouth = Mouth.of(face)
    offsets = np.zeros((3, len(mouth.watched), 3), np.float32)
    rest = mouth.observe(offsets)
    assert rest.opening[0] == pytest.approx(metrics.mouth_opening(face.template[None], face.lip_pairs)[0].mean())
    offsets[1, mouth.pairs[1:4, 1]] = (0.001, 0.002, 0.003)
    offsets[2, mouth.pairs[1:4].ravel(), 2] = 0.004
    seen = mouth.observe(offsets)
    np.testing.assert_allclose(seen.lower_lip[1], (0.001, 0.002, 0.003), rtol=1e-6)
    assert seen.protrusion[1] == pytest.approx(0.0015) and seen.protrusion[2] == pytest.approx(0.004)
    corners = face.template[face.lips][[face.template[face.lips, 0].argmin(), face.template[face.lips, 0].argmax()]]
    assert seen.width[0] == pytest.approx(np.linalg.norm(corners[1] - corners[0]), rel=1e-6)


def test_thresholds_come_from_the_targets():
    spread, narrow = motion([0.01] * 4, 0.046, 0.0), motion([0.01] * 4, 0.038, 0.006)
    teeth = motion([0.005] * 4, lower_lip=(0.0, 0.0004, -0.003))
    found = Thresholds.of([(spread, [("iy", 0, 4)]), (narrow, [("uw", 0, 2), ("w", 2, 4)]), (teeth, [("f", 0, 4)])])
    assert found.contact == pytest.approx((0, 0.0004, -0.003))
    assert found.narrow == pytest.approx(0.042) and found.forward == pytest.approx(0.003)
    assert found.round(narrow).all() and not found.round(spread).any()
    assert found.at_teeth(teeth).all() and not found.at_teeth(narrow).any()


def test_shut_lips_are_not_at_the_teeth():
    near = (0.0, 0.001, -0.003)
    assert LIMITS.at_teeth(motion([0.004], lower_lip=near)).all()
    assert not LIMITS.at_teeth(motion([0.0005], lower_lip=near)).any()


# - measures -


def test_a_perfect_guess_meets_every_goal():
    random = np.random.default_rng(0)
    opening = np.abs(np.sin(np.arange(60) / 5)) * 0.01
    target = motion(opening, lips=random.normal(size=(60, 2, 3)) * 0.01)
    found = values(target, target, [("m", 15, 17), ("aa", 20, 28), ("n", 40, 44)])
    assert found["lip_error"] == 0 and found["closed"] == 1 and found["wrongly_closed"] == 0
    assert found["correlation"] == pytest.approx(1) and found["lag"] == pytest.approx(0, abs=1e-6)
    assert found["jitter"] == 1 and found["upper_face"] == 1
    assert np.isnan(found["at_teeth"]) and np.isnan(found["rounded"])


def test_a_still_face_has_the_whole_error():
    lips = np.zeros((4, 2, 3))
    lips[:, 1, 1] = [0.001, 0.002, 0.003, 0.002]
    found = values(motion([0.01] * 4), motion([0.01] * 4, lips=lips), [])
    assert found["lip_error"] == pytest.approx(2.0) and found["lip_share"] == pytest.approx(1.0)


def test_closure_is_counted_where_the_target_closes_and_openness_where_it_is_open():
    target = motion([0.01, 0.01, 0.0, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01])
    guess = motion([0.01, 0.01, 0.01, 0.0, 0.01, 0.01, 0.0, 0.0, 0.01, 0.01])
    found = values(guess, target, [("aa", 0, 2), ("b", 2, 3), ("n", 3, 6), ("eh", 6, 10)])
    assert found["closed"] == 1  # one frame late, which is within the margin
    assert found["wrongly_closed"] == pytest.approx(2 / 7)  # frames 0, 4 … 9 are open and not beside the closure
    assert found["nasals_closed"] == 0
    assert reached(guess.opening < 0.0015, target.opening < 0.0015, [("b", 2, 3), ("p", 8, 9)], {"b", "p"}) == (1, 1)


def test_goals_are_read_both_ways():
    measure = Measure("x", "x", least={SEEN: 0.8}, most={SEEN: 1.2}, unit="")
    assert measure.passes(1.0, SEEN) and not measure.passes(1.3, SEEN) and not measure.passes(0.7, SEEN)
    assert measure.passes(1.0, UNSEEN) is None and measure.goal(UNSEEN) == "" and measure.goal(SEEN) == "0.80 to 1.20"
    lag = next(measure for measure in MEASURES if measure.key == "lag")
    assert lag.goal(SEEN) == "≤ 1.00 frames" and lag.write(0.5) == "0.50 frames" and lag.write(float("nan")) == "–"


def test_clips_pool_by_their_sums():
    sums = np.zeros((2, 3, len(KEYS), 2))
    sums[..., 1] = 1
    sums[0, :, 0, 0], sums[1, :, 0, 0] = [1, 2, 9], [3, 4, 9]
    table = Scores(sums).table(np.array([True, True, False]))
    assert table["lip_error"]["mean"] == pytest.approx(2.5)
    assert table["lip_error"]["interval"] == pytest.approx(12.706 * np.std([1.5, 3.5], ddof=1) / np.sqrt(2))


def test_shuffled_motion_is_always_anothers():
    motions = [motion([0.0] * frames) for frames in (5, 9, 7, 6)]
    assert all(mine is not other for mine, other in zip(motions, shuffled(motions), strict=True))
    assert len(shuffled(motions)[2]) == 6


# - test set -


class Clips:
    """What ``choose`` needs of a corpus."""

    path = "here"

    def __init__(self, *clips: tuple[str, str, int]) -> None:
        self.clips = [
            Clip(f"{voice}_{number}", voice, 0, split, 1.0) for voice, split, count in clips for number in range(count)
        ]

    def split(self, name):
        return [clip for clip in self.clips if clip.split == name]


def test_the_test_set_is_fixed_and_knows_new_voices():
    corpus = Clips(("a", "train", 1), ("b", "train", 1), ("a", "test", 90), ("b", "test", 30), ("new", "test", 7))
    corpus.clips += Clips(("noise", "test", 3), ("noise", "train", 3)).clips
    chosen = testset.choose(corpus, sentences=40)
    known = [clip.voice for group, clip in chosen if group == SEEN]
    assert len(known) == 40 and 22 <= known.count("a") <= 38 and set(known) == {"a", "b"}
    assert sorted(clip.name for group, clip in chosen if group == UNSEEN) == [f"new_{n}" for n in range(7)]
    assert len({clip.name for _, clip in chosen}) == 47
    corpus.clips.reverse()
    assert testset.choose(corpus, sentences=40) == chosen
    assert testset.choose(corpus, sentences=3)[:3] == chosen[:3]
    with pytest.raises(testset.CorpusError, match="no spoken test clips"):
        testset.choose(Clips(("noise", "test", 3)))


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

    for module in (checkpoint, dataset):
        monkeypatch.setattr(module, "open_recogniser", fake_recogniser)
    monkeypatch.setattr(articulation, "load_rig", lambda path: tiny_rig())
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
    takes = [Take(example, seed) for example in examples for seed in (3, 4)]
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
    together = free_run(talker, [Take(example, 3), Take(example, 5)])
    torch.testing.assert_close(together[0], alone, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(together[1], alone, atol=1e-3)


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


def test_mean_faces_and_the_nearest_mood():
    def sentence(offsets):
        return testset.Sentence(None, SEEN, (), np.array(offsets, float).reshape(-1, 1, 3), None)

    def example(intensities):
        return SimpleNamespace(moods=torch.tensor(intensities))

    spoken = [sentence([(0, 0, 0), (2, 0, 0), (9, 9, 9)]), sentence([(4, 0, 0), (0, 8, 0)])]
    heard = [example([[0.0, 0], [0.9, 0], [0.3, 0]]), example([[0.8, 0], [0, 0.7]])]
    centres = moods.mean_faces(["happy", "sad"], heard, spoken)
    np.testing.assert_allclose(centres["happy"], [(3, 0, 0)])
    np.testing.assert_allclose(centres["neutral"], [(0, 0, 0)])
    assert moods.nearest(np.array([(2.0, 0, 0)]), centres) == "happy"
    assert moods.nearest(np.array([(0.0, 5, 0)]), centres) == "sad"


def test_a_damaged_baseline_is_named(tiny_world):
    (tiny_world / "regression.safetensors").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="damaged"):
        load_regression(tiny_world / "regression.safetensors")


# - recordings -


def test_lips_at_heard_phones_and_at_other_times():
    opening = np.full(90, 0.01)
    opening[[30, 31, 60, 61]] = 0.0
    heard = [recording.Heard("m", 32 / 30), recording.Heard("b", 62 / 30), recording.Heard("aa", 45 / 30)]
    found = recording.judge(motion(opening), heard, 30)
    assert found["closed at its m b p"].share == 1 and found["closed at its m b p"].phones == 2
    assert found["closed at its m b p"].by_chance < 0.3
    assert found["open at its vowels"].share == 1
    assert found["round at its u o w"].phones == 0 and np.isnan(found["round at its u o w"].share)


def test_foreign_symbols_are_left_out():
    heard = recording.phones_of([("oʊ", 0.1), ("tʰ", 0.2), ("꜔", 0.3), ("b", 0.4)])
    assert [(each.name, each.seconds) for each in heard] == [("ow", 0.1), ("t", 0.2), ("b", 0.4)]


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


def test_every_row_of_the_table_is_there():
    asked = {
        "lip_share",
        "closed",
        "wrongly_closed",
        "at_teeth",
        "rounded",
        "correlation",
        "lag",
        "jitter",
        "upper_face",
    }
    assert asked == {measure.key for measure in measures.MEASURES if measure.goal(UNSEEN)}
