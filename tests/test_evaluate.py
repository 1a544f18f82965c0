"""Scores of a split: figures worked out by hand, the identity policy, long sequences, tables, pictures."""

import json

import av
import numpy as np
import pytest
import soundfile
from PIL import Image

from streamingtalker.evaluate import main
from streamingtalker.evaluation import figures, pictures
from streamingtalker.evaluation.methods import PredictionError, SavedMethod, TalkerMethod
from streamingtalker.evaluation.sequences import SplitError, TestBed, joined
from streamingtalker.generate import DEFAULT_WEIGHTS
from streamingtalker.tensor_file import write_tensors
from tests.conftest import tiny_face, tiny_talker

FRAMES = {"a": 40, "b": 70, "c": 45, "d": 30}
SPEAKERS = {"a": ("anna", 0), "b": ("bert", 1), "c": ("carl", -1), "d": ("dora", -1)}


def write_topology(folder, face) -> None:
    names = ("template", "faces", "lip_pairs", "lips", "upper_face")
    tensors = {f"topology/{name}": getattr(face, name) for name in names}
    write_tensors(folder / "topology.safetensors", tensors, kind="avatar", metadata={"name": face.name})


@pytest.fixture
def corpus(tmp_path):
    """Four clips of 12 vertices at 30 fps; their speakers' templates differ; c and d are unknown to the models."""
    folder, random, face = tmp_path / "corpus", np.random.default_rng(0), tiny_face()
    (folder / "vertices_npy").mkdir(parents=True)
    (folder / "wav").mkdir()
    templates = {voice: face.template + random.normal(size=(12, 3)) for voice, _ in SPEAKERS.values()}
    clips = []
    for name, frames in FRAMES.items():
        voice, style = SPEAKERS[name]
        motion = templates[voice] + 0.01 * random.normal(size=(frames, 12, 3))
        np.save(folder / "vertices_npy" / f"{name}.npy", motion.reshape(frames, -1).astype(np.float32))
        sound = 0.1 * random.normal(size=frames * 533 + 100 * len(clips))  # too short, too long
        soundfile.write(folder / "wav" / f"{name}.wav", sound, 16000)
        seconds = frames / 30
        clips.append({"name": name, "voice": voice, "style": style, "split": "test", "seconds": seconds})
    np.savez(folder / "templates.npz", **templates)
    write_topology(folder, face)
    document = {"kind": "vocaset", "units": "m", "fps": 30, "styles": [{"name": "anna"}, {"name": "bert"}]}
    document["regions"] = {"lips": {"source": "FLAME_masks.pkl: lips", "vertices": 10}}
    (folder / "corpus.json").write_text(json.dumps({**document, "clips": clips}))
    return folder


def save_predictions(folder, corpus, change):
    """The truth of every clip, changed."""
    folder.mkdir()
    for file in (corpus / "vertices_npy").glob("*.npy"):
        vertices = np.load(file)
        np.save(folder / file.name, change(vertices.reshape(len(vertices), 12, 3)))
    return folder


def run(corpus, *more) -> dict:
    report = corpus.parent / "report.json"
    assert main(["--data", str(corpus), "--json", str(report), *map(str, more)]) == 0
    return json.loads(report.read_text())


def test_the_truth_itself_scores_zero(corpus, tmp_path):
    report = run(corpus, "--predictions", save_predictions(tmp_path / "same", corpus, lambda v: v.reshape(len(v), -1)))
    assert all(value == 0 for value in report["figures"].values())
    assert report["mean_vertex_error"] == 0 and report["diversity"]["lips"] is None
    assert report["still_face"]["lve"] > 1e-5


def test_figures_of_a_known_change(corpus, tmp_path):
    """All vertices 1 mm aside; lip vertex 0, the upper lip of a pair, 3 mm more in every second frame."""

    def change(vertices):
        moved = vertices + np.array([0.001, 0, 0], np.float32)
        moved[::2, 0] += np.array([0.003, 0, 0], np.float32)
        return moved

    report = run(corpus, "--predictions", save_predictions(tmp_path / "moved", corpus, change), "--name", "Other's")
    shares = {name: np.ceil(frames / 2) / frames for name, frames in FRAMES.items()}
    lve = {name: 16e-6 * share + 1e-6 * (1 - share) for name, share in shares.items()}
    assert report["method"] == "Other's"
    assert report["figures"]["lve"] == pytest.approx(np.mean(list(lve.values())), rel=1e-3)  # over sequences
    pooled = sum(lve[name] * FRAMES[name] for name in FRAMES) / sum(FRAMES.values())
    assert report["pooled"]["lve"] == pytest.approx(pooled, rel=1e-3)  # over frames
    assert report["figures"]["lip_distance"] == pytest.approx(
        np.mean([0.004 * s + 0.001 * (1 - s) for s in shares.values()]), rel=1e-3
    )
    truth = TestBed(corpus)
    mods, fdds = [], []
    for target in truth.targets("test"):
        true = np.concatenate(list(truth.true_motion(target)))
        gaps = [np.linalg.norm(v[:, 0] - v[:, 5], axis=1) for v in (true, change(true))]
        mods.append(np.abs(gaps[0] - gaps[1]).mean() / 5)  # one pair of five
        rest = target.segments[0].template
        squares = [np.square(v - rest).sum(2)[:, 10:].std(0).mean() for v in (true, change(true))]
        fdds.append(squares[0] - squares[1])
    assert report["figures"]["mod"] == pytest.approx(np.mean(mods), rel=1e-3)
    assert report["figures"]["fdd"] == pytest.approx(np.mean(fdds), rel=1e-2)
    assert report["figures"]["fdd_absolute"] == pytest.approx(np.mean(np.abs(fdds)), rel=1e-2)


def test_a_face_at_rest_scores_as_the_still_face(corpus, tmp_path):
    templates = np.load(corpus / "templates.npz")
    folder = tmp_path / "still"
    folder.mkdir()
    for name, frames in FRAMES.items():
        rest = templates[SPEAKERS[name][0]].astype(np.float32)
        np.save(folder / f"{name}.npy", np.repeat(rest[None], frames, axis=0))
    report = run(corpus, "--predictions", folder)
    assert report["figures"] == pytest.approx(report["still_face"], rel=1e-4)


def test_the_report_says_what_the_literature_leaves_unsaid(corpus, tmp_path):
    report = run(corpus, "--predictions", save_predictions(tmp_path / "same", corpus, lambda v: v))
    assert report["units"]["lve"] == "m²" and report["units"]["mod"] == "m"
    assert report["regions"]["lips"] == {"source": "FLAME_masks.pkl: lips", "vertices": 10}
    assert report["data"]["sequences"] == 4 and report["data"]["frames"] == sum(FRAMES.values())
    assert "every style" in report["identity_policy"] and "over sequences" in report["aggregation"]
    assert [row["name"] for row in report["sequences"]] == ["a", "b", "c", "d"]


def test_several_styles_of_one_sequence_are_averaged(corpus, tmp_path):
    folder = save_predictions(tmp_path / "styles", corpus, lambda v: v)
    truth = np.load(folder / "c.npy")
    (folder / "c.npy").unlink()
    np.save(folder / "c_condition_anna.npy", truth)
    np.save(folder / "c_condition_bert.npy", truth + np.float32(0.002 / np.sqrt(3)))
    report = run(corpus, "--predictions", folder)
    row = next(row for row in report["sequences"] if row["name"] == "c")
    assert row["lve"] == pytest.approx((0 + 4e-6) / 2, rel=1e-3)
    assert report["conditions"] == ["", "anna", "bert"]


def test_a_little_short_is_told_and_much_too_short_refused(corpus, tmp_path, capsys):
    folder = save_predictions(tmp_path / "short", corpus, lambda v: v[:-3])
    assert run(corpus, "--predictions", folder)["data"]["frames_without_prediction"] == 12
    np.save(folder / "b.npy", np.load(folder / "b.npy")[:20])
    assert main(["--data", str(corpus), "--predictions", str(folder)]) == 2
    assert "prediction of b has 20 frames, the truth 70" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (np.zeros((40, 35), np.float32), "40 × 35"),
        (np.zeros((40, 36), np.int32), "int32"),
        (np.full((40, 36), np.nan, np.float32), "not finite"),
        (None, "does not exist"),
        (b"\x93NUMPY cut off", "damaged"),
        (np.array([{}], dtype=object), "damaged"),
    ],
)
def test_broken_predictions_are_named(corpus, tmp_path, capsys, content, reason):
    folder = save_predictions(tmp_path / "broken", corpus, lambda v: v)
    (folder / "a.npy").unlink()
    if isinstance(content, bytes):
        (folder / "a.npy").write_bytes(content)
    elif content is not None:
        np.save(folder / "a.npy", content)
    assert main(["--data", str(corpus), "--predictions", str(folder)]) == 2
    told = capsys.readouterr().err
    assert "a.npy" in told and reason in told and len(told.splitlines()) == 1


def test_a_known_speaker_keeps_their_style_and_an_unknown_one_gets_all(corpus):
    bed = TestBed(corpus)
    method = TalkerMethod(tiny_talker(), bed, "tiny")
    targets = {target.name: target for target in bed.targets("test")}
    assert method.conditions(targets["b"]) == ["1"] and method.conditions(targets["c"]) == ["0", "1"]
    assert TalkerMethod(tiny_talker(), bed, "tiny", identity=1).conditions(targets["c"]) == ["1"]
    both = figures.score(bed, method, targets["c"], [0])
    each = [figures.score(bed, TalkerMethod(tiny_talker(), bed, "t", k), targets["c"], [0]) for k in (0, 1)]
    assert both.figures.lve == pytest.approx(np.mean([one.figures.lve for one in each]))
    assert each[0].figures.lve != each[1].figures.lve


def test_a_models_frames_stand_on_the_speakers_template_and_are_as_many_as_the_truths(corpus):
    bed, talker = TestBed(corpus), tiny_talker()
    for target in bed.targets("test"):
        assert len(bed.sound(target)) == target.frames * 16000 // 30
        frames = np.concatenate(list(TalkerMethod(talker, bed, "tiny").motion(target, "0", 0)))
        assert frames.shape == (target.frames, 12, 3)
        assert np.abs(frames - target.segments[0].template).max() < 0.5  # templates are several metres apart


def test_seeds_give_diversity(corpus):
    bed = TestBed(corpus)
    method = TalkerMethod(tiny_talker(), bed, "tiny")
    target = bed.targets("test", 1)[0]
    one, same, two = (figures.score(bed, method, target, seeds) for seeds in ([0], [0, 0], [0, 1]))
    assert np.isnan(one.diversity_lips) and same.diversity_lips == 0 and two.diversity_lips > 1e-6
    assert two.figures.lve == pytest.approx(np.mean([each.lve for each in two.by_seed]))


def test_saved_motion_has_no_seeds_to_tell_apart(corpus, tmp_path, capsys):
    folder = save_predictions(tmp_path / "same", corpus, lambda v: v)
    assert run(corpus, "--predictions", folder, "--seeds", 3)["diversity"]["lips"] is None
    assert main(["--data", str(corpus), "--predictions", str(folder), "--seeds", "0", "1"]) == 2
    assert "leave out --seeds" in capsys.readouterr().err


def test_long_sequences_are_joined_by_identity_and_cut_to_length(corpus):
    bed = TestBed(corpus)
    long = joined(bed.targets("test"), 60)
    assert [target.name for target in long] == ["long60_-1_0", "long60_1_0"]
    assert [(part.clip.name, part.frames) for part in long[0].segments] == [("c", 45), ("d", 15)]
    assert all(target.frames == 60 for target in long)
    true = np.concatenate(list(bed.true_motion(long[0])))
    parts = [np.load(corpus / "vertices_npy" / f"{name}.npy").reshape(-1, 12, 3) for name in "cd"]
    np.testing.assert_array_equal(true, np.concatenate([parts[0], parts[1][:15]]))
    rest = long[0].templates(0, 60)
    assert (rest[44] != rest[45]).all() and (rest[45] == rest[59]).all()
    assert len(bed.sound(long[0])) == 45 * 16000 // 30 + 15 * 16000 // 30
    with pytest.raises(SplitError, match="at most --long 75"):
        joined(bed.targets("test"), 100)


def test_exported_sequences_are_those_that_are_scored(corpus, tmp_path, capsys):
    assert main(["--data", str(corpus), "--long", "60", "--export", str(tmp_path / "long")]) == 0
    assert "2 sequences" in capsys.readouterr().out
    sound, rate = soundfile.read(tmp_path / "long" / "wav" / "long60_1_0.wav")
    assert rate == 16000 and len(sound) == 32000
    report = run(corpus, "--long", 60, "--predictions", tmp_path / "long" / "vertices_npy")
    assert report["figures"]["lve"] == 0 and report["data"]["frames"] == 120


def test_tenths_follow_a_growing_error(corpus, tmp_path):
    def drift(vertices):
        grown = np.linspace(0, 0.01, len(vertices), dtype=np.float32)
        return vertices + grown[:, None, None] * np.array([1, 0, 0], np.float32)

    folder = save_predictions(tmp_path / "drift", corpus, drift)
    truth = TestBed(corpus)
    for target in joined(truth.targets("test"), 60):
        np.save(folder / f"{target.name}.npy", drift(np.concatenate(list(truth.true_motion(target)))))
    report = run(corpus, "--predictions", folder, "--long", 60)
    lve = [tenth["lve"] for tenth in report["tenths"]]
    assert len(lve) == 10 and lve == sorted(lve)
    assert lve[-1] == pytest.approx(np.mean(np.linspace(0, 0.01, 60)[-6:] ** 2), rel=1e-2)
    assert np.mean(lve) == pytest.approx(report["figures"]["lve"])


def test_reports_stand_side_by_side(corpus, tmp_path, capsys):
    reports = []
    for name, shift in (("FaceFormer", 0.003), ("ours", 0.001)):
        folder = save_predictions(tmp_path / name, corpus, lambda v, s=shift: v + np.float32(s / np.sqrt(3)))
        run(corpus, "--predictions", folder)
        reports.append(tmp_path / f"{name}.json")
        (corpus.parent / "report.json").rename(reports[-1])
    capsys.readouterr()
    assert main(["--table", *map(str, reports)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "LVE ↓ (10⁻⁵ m²)" in lines[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:4]]
    assert [row[0] for row in cells] == ["FaceFormer", "ours"]
    assert [float(row[4]) for row in cells] == pytest.approx([0.9, 0.1], rel=1e-3)
    assert len({line.count("|") for line in lines[:4]}) == 1
    reports[0].write_text("{}")
    assert main(["--table", *map(str, reports)]) == 2
    assert "FaceFormer.json is no report" in capsys.readouterr().err


def test_a_model_of_another_face_is_refused(corpus, capsys):
    assert main(["--data", str(corpus), "--checkpoint", str(DEFAULT_WEIGHTS)]) == 2
    assert "score it on the corpus of its own face" in capsys.readouterr().err
    with pytest.raises(PredictionError, match="moves 12 vertices at 30"):
        bed = TestBed(corpus)
        bed.corpus.fps = 25
        TalkerMethod(tiny_talker(), bed, "tiny")


def test_an_unknown_split_is_named_with_those_there_are(corpus, capsys):
    assert main(["--data", str(corpus), "--split", "test-b"]) == 2
    assert "no sequences of a split 'test-b'; it has test" in capsys.readouterr().err


def test_heat_maps_and_films_are_drawn(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "WIDTH", 192)
    monkeypatch.setattr(pictures, "HEIGHT", 96)
    folder = save_predictions(tmp_path / "moved", corpus, lambda v: v + np.float32(0.002))
    other = save_predictions(tmp_path / "other", corpus, lambda v: v)
    run(corpus, "--predictions", folder, "--pictures", tmp_path / "pictures", "--beside", other)
    assert len(Image.open(tmp_path / "pictures" / "errors.png").getcolors(10**6)) > 10
    with av.open(str(tmp_path / "pictures" / "a.mp4")) as film:
        assert film.streams.video[0].width == 3 * 192 and film.streams.audio
        assert sum(1 for _ in film.decode(video=0)) == FRAMES["a"]


def test_heat_goes_from_blue_to_red():
    cold, warm = pictures.heat(np.array([0.0, 1.0]))
    assert cold[2] > cold[0] and warm[0] > warm[2]


def test_pieces_of_two_sequences_are_paired_until_one_ends():
    ones = [np.arange(0, 3), np.arange(3, 4), np.arange(4, 9)]
    others = [np.arange(0, 2), np.arange(2, 7)]
    pairs = list(figures.paired(ones, others))
    assert np.concatenate([left for left, _ in pairs]).tolist() == list(range(7))
    assert all((left == right).all() for left, right in pairs)


def test_a_saved_folder_that_is_none_is_named(tmp_path):
    with pytest.raises(PredictionError, match="nowhere is no folder"):
        SavedMethod(tmp_path / "nowhere")
