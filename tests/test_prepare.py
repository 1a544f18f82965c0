"""VOCASET and BIWI made into corpora, from tiny data sets in exactly their file formats."""

import dataclasses
import io
import json
import pickle
import tarfile

import numpy as np
import pytest
import soundfile

from streamingtalker.data.dataset import Corpus
from streamingtalker.data.prepare.__main__ import main
from streamingtalker.data.prepare.datasets import BIWI, VOCASET
from streamingtalker.data.prepare.meshes import MeshError, normalised, read_indices, read_obj, read_ply, surface
from streamingtalker.evaluate import main as evaluate
from streamingtalker.evaluation.figures import score
from streamingtalker.evaluation.methods import TalkerMethod
from streamingtalker.evaluation.sequences import TestBed, joined
from streamingtalker.topology import load_topology
from tests.conftest import TINY, tiny_talker

VOCA_CLIPS = [  # subject, sentence
    (VOCASET.identities[0], "sentence01"),
    (VOCASET.identities[3], "sentence40"),
    ("FaceTalk_170811_03275_TA", "sentence21"),
    ("FaceTalk_170809_00138_TA", "sentence21"),
    ("FaceTalk_170809_00138_TA", "sentence22"),
]
BIWI_CLIPS = [("F2", "e01"), ("M5", "e33"), ("F3", "e40"), ("F1", "e37"), ("M6", "e40")]


def triangles(vertices: int) -> np.ndarray:
    index = np.arange(vertices - 2)
    return np.stack([index, index + 1, index + 2], axis=1)


def write_ply(path, vertices: np.ndarray, faces: np.ndarray) -> None:
    """Binary, little-endian, as the published ones are."""
    head = (
        f"ply\nformat binary_little_endian 1.0\nelement vertex {len(vertices)}\nproperty float x\nproperty float y\n"
        f"property float z\nelement face {len(faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    )
    rows = np.zeros(len(faces), dtype=[("n", "u1"), ("corners", "<i4", 3)])
    rows["n"], rows["corners"] = 3, faces
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(head.encode() + vertices.astype("<f4").tobytes() + rows.tobytes())


def write_pickle(path, content) -> None:
    path.write_bytes(pickle.dumps(content, protocol=2))


def make_vocaset(folder):
    """The raw files of VOCASET: 8 frames at 60 fps of each clip, the rows of each shuffled."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    subjects = dict.fromkeys(subject for subject, _ in VOCA_CLIPS)
    templates = {subject: random.normal(size=(5023, 3)) * 0.1 for subject in subjects}
    rows = random.permutation(8 * len(VOCA_CLIPS))
    vertices = np.zeros((len(rows), 5023, 3), np.float32)
    places, sounds = {}, {}
    for number, (subject, sentence) in enumerate(VOCA_CLIPS):
        mine = rows[8 * number : 8 * number + 8]
        vertices[mine] = templates[subject] + np.arange(8)[:, None, None] * 1e-3
        places.setdefault(subject, {})[sentence] = {8 - k: int(row) for k, row in enumerate(mine[::-1])}
        wave = (8000 * np.sin(np.arange(2933) / 9)).astype(np.int16)
        sounds.setdefault(subject, {})[sentence] = {"audio": wave, "sample_rate": 22000}
    np.save(folder / "data_verts.npy", vertices)
    write_pickle(folder / "subj_seq_to_idx.pkl", places)
    write_pickle(folder / "raw_audio_fixed.pkl", sounds)
    write_pickle(folder / "templates.pkl", templates)
    masks = {"lips": np.arange(1700, 1900), "forehead": np.arange(10), "eye_region": np.arange(5, 20)}
    write_pickle(folder / "FLAME_masks.pkl", masks)
    write_ply(folder / "templates" / "FLAME_sample.ply", templates[VOCA_CLIPS[0][0]], triangles(5023))
    return folder, templates


def make_biwi(folder):
    """The raw files of BIWI: 3 frames a clip, two of them in tars and the rest in folders."""
    random = np.random.default_rng(0)
    shape = random.normal(size=(23370, 3)) * 80
    (folder / "rigid_scans").mkdir(parents=True)
    (folder / "wav").mkdir()
    (folder / "regions").mkdir()
    faces = "".join(f"f {a}/{a} {b}/{b} {c}/{c}\n" for a, b, c in triangles(23370) + 1)
    points = "".join(f"v {x:.5f} {y:.5f} {z:.5f}\nvt 0 0\n" for x, y, z in shape)
    for number, (subject, sentence) in enumerate(BIWI_CLIPS):
        (folder / "rigid_scans" / f"{subject}.obj").write_text("mtllib none\n" + points + faces)
        frames = {
            f"frame_{k:03d}.vl": np.uint32(23370).tobytes() + (shape * (1 + 0.01 * k)).astype("<f4").tobytes()
            for k in (1, 2, 3)
        }
        place = folder / "faces" / subject
        if number < 2:
            place.mkdir(parents=True, exist_ok=True)
            with tarfile.open(place / f"{sentence}.tar", "w") as tar:
                for name, content in reversed(frames.items()):
                    entry = tarfile.TarInfo(f"./{name}")
                    entry.size = len(content)
                    tar.addfile(entry, io.BytesIO(content))
        else:
            (place / sentence).mkdir(parents=True)
            for name, content in frames.items():
                (place / sentence / name).write_bytes(content)
        soundfile.write(folder / "wav" / f"{subject}_{sentence}.wav", np.zeros(5292), 44100)
    (folder / "regions" / "lve.txt").write_text("3, 4, 5")
    (folder / "regions" / "fdd.txt").write_text("100, 101")
    return folder, shape


@pytest.fixture(scope="module")
def vocaset(tmp_path_factory):
    return make_vocaset(tmp_path_factory.mktemp("voca") / "raw")


@pytest.fixture(scope="module")
def biwi(tmp_path_factory):
    return make_biwi(tmp_path_factory.mktemp("biwi") / "raw")


@pytest.fixture(scope="module")
def voca_corpus(vocaset, tmp_path_factory):
    out = tmp_path_factory.mktemp("voca_corpus")
    assert main(["vocaset", "--raw", str(vocaset[0]), "--out", str(out)]) == 1  # most of the data set is missing
    return out


def test_splits_are_those_of_the_papers_appendix():
    def count(data_set):
        splits = [wanted.split for wanted in data_set.wanted()]
        return {split: splits.count(split) for split in dict.fromkeys(splits)}

    assert count(VOCASET) == {"train": 320, "val": 40, "test": 40}
    assert count(BIWI) == {"train": 192, "val": 24, "test-a": 24, "test-b": 32}
    subjects = {wanted.split: set() for wanted in BIWI.wanted()}
    for wanted in BIWI.wanted():
        subjects[wanted.split].add(wanted.subject)
    assert subjects["train"] == subjects["val"] == subjects["test-a"] == set(BIWI.identities)
    assert len(subjects["test-b"]) == 8 and not subjects["test-b"] & subjects["train"]
    names = [wanted.name for data_set in (VOCASET, BIWI) for wanted in data_set.wanted()]
    assert len(names) == len(set(names))


def test_raw_vocaset_becomes_a_corpus_at_30_fps(vocaset, voca_corpus):
    _, templates = vocaset
    corpus = Corpus(voca_corpus)
    assert corpus.fps == 30 and [style["name"] for style in corpus.styles] == list(VOCASET.identities)
    clips = {clip.name: clip for clip in corpus.clips}
    assert len(clips) == 5 and [len(corpus.split(split)) for split in ("train", "val", "test")] == [2, 1, 2]
    assert clips["FaceTalk_170915_00223_TA_sentence40"].style == 3
    assert clips["FaceTalk_170809_00138_TA_sentence21"].style == -1  # unknown to the model
    for clip in corpus.clips:
        vertices = corpus.vertices(clip)
        assert isinstance(vertices.base, np.memmap) or isinstance(vertices, np.memmap)
        steps = (vertices - templates[clip.voice]).mean((1, 2))
        np.testing.assert_allclose(steps, [0, 2e-3, 4e-3, 6e-3], atol=1e-6)  # every second frame, in order
        sound, rate = soundfile.read(voca_corpus / "wav" / f"{clip.name}.wav")
        assert rate == 16000 and len(sound) == pytest.approx(2933 * 16000 / 22000, abs=2)
        assert np.abs(sound).max() == pytest.approx(8000 / 32768, rel=0.02)


def test_the_topology_carries_the_regions_of_the_literature(voca_corpus):
    face = load_topology(voca_corpus / "topology.safetensors")
    assert face.template.shape == (5023, 3) and len(face.faces) == 5021
    assert face.lips.tolist() == list(range(1700, 1900)) and face.upper_face.tolist() == list(range(20))
    assert face.lip_pairs[0].tolist() == [2865, 2907]
    regions = json.loads((voca_corpus / "corpus.json").read_text())["regions"]
    assert regions["upper_face"] == {"source": "FLAME_masks.pkl: forehead + eye_region", "vertices": 20}


def test_motion_is_offsets_from_each_speakers_own_template(voca_corpus):
    corpus = Corpus(voca_corpus)
    rig = corpus.rig("no avatar is needed")
    for clip in corpus.clips:
        steps = np.arange(4)[:, None, None] * 2e-3
        np.testing.assert_allclose(corpus.offsets(clip, rig), np.broadcast_to(steps, (4, 5023, 3)), atol=1e-6)


def test_a_prepared_corpus_can_be_scored(voca_corpus, tmp_path):
    report = tmp_path / "report.json"
    command = ["--data", voca_corpus, "--predictions", voca_corpus / "vertices_npy", "--json", report]
    assert evaluate(list(map(str, command))) == 0
    found = json.loads(report.read_text())
    assert found["data"]["sequences"] == 2 and found["data"]["kind"] == "vocaset"
    assert found["figures"]["lve"] == 0 and found["still_face"]["lve"] == pytest.approx(3 * 14e-6, rel=1e-3)


def test_every_missing_sequence_is_named(voca_corpus):
    missing = json.loads((voca_corpus / "corpus.json").read_text())["missing"]
    assert len(missing) == 400 - 5
    reasons = {entry["name"]: entry["reason"] for entry in missing}
    assert "subj_seq_to_idx.pkl" in reasons[f"{VOCASET.identities[0]}_sentence02"]
    assert "no template" in reasons["FaceTalk_170731_00024_TA_sentence21"]


def test_a_run_goes_on_where_it_stopped(vocaset, tmp_path, capsys):
    command = ["vocaset", "--raw", str(vocaset[0]), "--out", str(tmp_path)]
    main(command)
    files = sorted((tmp_path / "vertices_npy").glob("*.npy"))
    stamps = [file.stat().st_mtime_ns for file in files]
    files[0].unlink()
    main(command)
    assert [file.stat().st_mtime_ns for file in files[1:]] == stamps[1:] and files[0].exists()
    assert not list(tmp_path.rglob("*.part"))
    assert "train 2, val 1, test 2; 395 missing or broken" in capsys.readouterr().out


def test_the_prepared_layout_gives_the_same_corpus(vocaset, voca_corpus, tmp_path):
    raw, _ = vocaset
    (tmp_path / "raw" / "vertices_npy").mkdir(parents=True)
    (tmp_path / "raw" / "wav").mkdir()
    data = np.load(raw / "data_verts.npy")
    places = pickle.loads((raw / "subj_seq_to_idx.pkl").read_bytes())
    sounds = pickle.loads((raw / "raw_audio_fixed.pkl").read_bytes())
    for subject, sentence in VOCA_CLIPS:
        rows = [row for _, row in sorted(places[subject][sentence].items())]
        np.save(tmp_path / "raw" / "vertices_npy" / f"{subject}_{sentence}.npy", data[rows].reshape(len(rows), -1))
        sound = sounds[subject][sentence]["audio"]
        soundfile.write(tmp_path / "raw" / "wav" / f"{subject}_{sentence}.wav", sound, 22000)
    for name in ("templates.pkl", "FLAME_masks.pkl", "templates/FLAME_sample.ply"):
        target = tmp_path / "raw" / name
        target.parent.mkdir(exist_ok=True)
        target.write_bytes((raw / name).read_bytes())
    assert main(["vocaset", "--raw", str(tmp_path / "raw"), "--out", str(tmp_path / "out")]) == 1
    for folder in ("vertices_npy", "wav"):
        for file in (voca_corpus / folder).iterdir():
            assert (tmp_path / "out" / folder / file.name).read_bytes() == file.read_bytes()


def test_check_names_what_broke_since(voca_corpus, tmp_path, capsys):
    for file in voca_corpus.rglob("*"):
        target = tmp_path / file.relative_to(voca_corpus)
        target.parent.mkdir(parents=True, exist_ok=True)
        if file.is_file():
            target.write_bytes(file.read_bytes())
    cut, strange, silent = (f"{subject}_{sentence}" for subject, sentence in VOCA_CLIPS[:3])
    file = tmp_path / "vertices_npy" / f"{cut}.npy"
    file.write_bytes(file.read_bytes()[:5000])
    np.save(tmp_path / "vertices_npy" / f"{strange}.npy", np.full((4, 15069), np.nan, np.float32))
    (tmp_path / "wav" / f"{silent}.wav").unlink()
    assert main(["vocaset", "--out", str(tmp_path), "--check"]) == 1
    told = capsys.readouterr().out
    assert f"train {cut}: {cut}.npy is damaged" in told
    assert f"train {strange}: its motion holds values that are not finite" in told
    assert f"val {silent}: its sound {silent}.wav is missing" in told
    assert "5 sequences, 398 missing or broken" in told


def test_raw_biwi_becomes_a_corpus(biwi, tmp_path):
    raw, shape = biwi
    assert main(["biwi", "--raw", str(raw), "--out", str(tmp_path)]) == 1
    corpus = Corpus(tmp_path)
    assert corpus.fps == 25 and [clip.split for clip in corpus.clips] == ["train", "val", "test-a", "test-b", "test-b"]
    assert [clip.style for clip in corpus.clips] == [0, 5, 1, -1, -1]
    expected = normalised(shape, triangles(23370))  # a larger face has the same form
    for clip in corpus.clips:
        vertices = corpus.vertices(clip)
        assert vertices.shape == (3, 23370, 3)
        np.testing.assert_allclose(vertices, np.broadcast_to(expected, vertices.shape), atol=2e-5)
        assert soundfile.info(tmp_path / "wav" / f"{clip.name}.wav").samplerate == 16000
    assert load_topology(tmp_path / "topology.safetensors").lips.tolist() == [3, 4, 5]
    bed = TestBed(tmp_path)
    (long,) = joined(bed.targets("test-b"), 5)  # both speakers are unknown: 3 frames and 2
    assert [part.frames for part in long.segments] == [3, 2] and len(bed.sound(long)) == 5 * 640


def test_a_normalised_face_is_turned_centred_and_of_surface_1():
    random = np.random.default_rng(0)
    vertices, faces = random.normal(size=(30, 3)) * 50 + 7, triangles(30)
    face = normalised(vertices, faces)
    assert surface(face, faces) == pytest.approx(1, rel=1e-5)
    np.testing.assert_allclose(face.mean(0), 0, atol=1e-6)
    scale = np.sqrt(surface(vertices, faces))
    np.testing.assert_allclose(face[1] - face[0], (vertices[1] - vertices[0]) * (1, -1, -1) / scale, atol=1e-6)


def test_broken_frames_of_biwi_are_named(biwi, tmp_path, capsys):
    raw, shape = biwi
    broken = tmp_path / "raw"
    broken.mkdir()
    for name in ("rigid_scans", "wav", "regions"):
        (broken / name).symlink_to(raw / name)
    count = np.uint32(23370).tobytes()
    good = count + shape.astype("<f4").tobytes()
    second_frames = {
        "e01": (count + b"\0" * 999, "does not hold 23370 vertices"),
        "e02": (None, "frame 2 is missing"),
        "e03": (count + np.full(70110, np.nan, "<f4").tobytes(), "not finite"),
    }
    for clip, (second, _) in second_frames.items():
        frames = broken / "faces" / "F2" / clip
        frames.mkdir(parents=True)
        for number, content in ((1, good), (2, second), (3, good)):
            if content is not None:
                (frames / f"frame_{number:03d}.vl").write_bytes(content)
    (broken / "faces" / "F2" / "e04.tar").write_bytes(b"no archive")
    assert main(["biwi", "--raw", str(broken), "--out", str(tmp_path / "out")]) == 1
    told = capsys.readouterr().out.splitlines()
    for clip, (_, reason) in {**second_frames, "e04": (None, "e04.tar is damaged")}.items():
        assert [reason in line for line in told if f"F2_{clip}:" in line] == [True]


@pytest.mark.parametrize("name", ["templates.pkl", "subj_seq_to_idx.pkl", "raw_audio_fixed.pkl", "FLAME_masks.pkl"])
def test_a_pickle_that_is_no_table_stops_everything_and_is_named(vocaset, tmp_path, capsys, name):
    raw = tmp_path / "raw"
    raw.mkdir()
    for file in vocaset[0].iterdir():
        (raw / file.name).symlink_to(file)
    (raw / name).unlink()
    (raw / name).write_bytes(b"cposix\nsystem\n(S'touch canary'\ntR.")
    assert main(["vocaset", "--raw", str(raw), "--out", str(tmp_path / "out")]) == 2
    assert name in capsys.readouterr().err


def test_meshes_and_regions_that_are_none_are_named(tmp_path):
    path = tmp_path / "face.ply"
    write_ply(path, np.zeros((9, 3)), triangles(9))
    assert read_ply(path)[1].tolist() == triangles(9).tolist()
    content = path.read_bytes()
    for broken in (content[:150], content[:-20], b"", b"not a mesh", content.replace(b"vertex 9", b"vertex 7")):
        path.write_bytes(broken)
        with pytest.raises(MeshError, match=r"face\.ply"):
            read_ply(path)
    (tmp_path / "face.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nv 1 1 nan\nf 1 2 3\n")
    with pytest.raises(MeshError, match=r"face\.obj has vertices that are no points"):
        read_obj(tmp_path / "face.obj")
    (tmp_path / "lve.txt").write_text("1, two, 3")
    with pytest.raises(MeshError, match=r"lve\.txt is no list"):
        read_indices(tmp_path / "lve.txt")


def test_a_folder_without_the_data_set_is_named(tmp_path, capsys):
    assert main(["biwi", "--raw", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "neither faces nor vertices_npy" in capsys.readouterr().err


def test_a_model_of_the_data_sets_face_is_scored_in_every_style_for_an_unknown_speaker(voca_corpus):
    bed = TestBed(voca_corpus)
    talker = tiny_talker(motion=dataclasses.replace(TINY.motion, vertices=5023), styles=8)
    method = TalkerMethod(talker, bed, "random weights")
    (known, *_), (unknown, *_) = bed.targets("train"), bed.targets("test")
    assert method.conditions(known) == ["0"] and method.conditions(unknown) == [str(k) for k in range(8)]
    found = score(bed, method, unknown, [0])
    assert found.frames == 4 and found.cut == 0 and found.figures.lve > 0
