"""Published files made into ours: from tiny networks in exactly their formats, and from files that mean harm."""

import dataclasses
import os
import pickle
import zipfile

import numpy as np
import pytest
import torch

from streamingtalker.checkpoint import load_talker
from streamingtalker.convert.__main__ import main
from streamingtalker.convert.names import AUDIO, MOTION, TALKER, modules
from streamingtalker.data.prepare.datasets import BIWI, DATA_SETS, VOCASET
from streamingtalker.generate import generate
from streamingtalker.generate import main as generate_main
from streamingtalker.released import ReleasedDims, ReleasedMotion, ReleasedPredictor, ReleasedTalker
from streamingtalker.released.dims import NETWORKS
from tests.conftest import tiny_face
from tests.test_released import HUBERT, speech

SETS = {"vocaset": VOCASET, "biwi": BIWI}
SECONDS = 5  # until a file that means harm is refused


def dims(name: str) -> ReleasedDims:
    """Few and narrow layers over the real mesh."""
    voca = name == "vocaset"
    return ReleasedDims(
        motion=ReleasedMotion(
            SETS[name].vertices, width=16, layers=2, feedforward=12, components=4, code_dim=4, codes=6, bridged=not voca
        ),
        predictor=ReleasedPredictor(
            width=12, heads=4, feedforward=10, audio=12,
            activation="relu" if voca else "gelu", period=30 if voca else 25, history=60 if voca else 120,
        ),
        fps=SETS[name].fps,
        styles=len(SETS[name].identities),
        hubert={**HUBERT, "num_attention_heads": 1},
    )  # fmt: skip


def random_talker(name: str) -> ReleasedTalker:
    torch.manual_seed(0)
    talker = ReleasedTalker(dims(name), tiny_face(SETS[name].vertices)).eval()
    talker.start.copy_(talker.vqvae.still().detach())
    return talker


def published(talker: ReleasedTalker) -> dict[str, torch.Tensor]:
    """Its tensors under their published names."""
    own = talker.state_dict()
    state = {}
    for source, name in modules(talker.dims):
        state |= {f"{source}.{kind}": own[f"{name}.{kind}"] for kind in ("weight", "bias") if f"{name}.{kind}" in own}
    width, period = talker.dims.predictor.width, talker.dims.predictor.period
    state[f"{TALKER}obj_vector.weight"] = own["predictor.style.weight"].T.contiguous()
    state[f"{TALKER}PPE.pe"] = own["predictor.positions"].repeat(3, 1)[None]
    state[f"{MOTION}quantize.embedding.weight"] = own["vqvae.quantiser.codebook"][0]
    for half in ("encoder", "decoder"):
        table = torch.randn(7, 1, talker.dims.motion.width)
        table[0, 0] = own[f"vqvae.{half}.position"]
        state[f"{MOTION}{half}.{half}_pos_embedding.pe"] = table
    for i in range(talker.dims.predictor.layers):
        layer, name = f"{TALKER}transformer_decoder.layers.{i}", f"predictor.layers.{i}"
        for kind, shape in (("weight", (2 * width, width)), ("bias", (2 * width,))):
            state[f"{layer}.self_attn.in_proj_{kind}"] = own[f"{name}.attention.qkv.{kind}"]
            value = own[f"{name}.audio.value.{kind}"]
            state[f"{layer}.multihead_attn.in_proj_{kind}"] = torch.cat([torch.randn(shape), value])
    assert period == len(own["predictor.positions"])
    old = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    for name, value in own.items():
        if name.startswith("hearing.hubert."):
            for new, was in old.items():
                name = name.replace(new, was)
            state[AUDIO + name.removeprefix("hearing.hubert.")] = value
    return state


def checkpoint(state: dict) -> dict:
    """As the training library writes it."""
    return {
        "epoch": 199, "global_step": 62800, "pytorch-lightning_version": "1.9.0", "state_dict": state,
        "callbacks": {"ModelCheckpoint{'monitor': None}": {"best_model_score": None, "dirpath": "./checkpoints"}},
        "optimizer_states": [{"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 1e-4}]}],
        "lr_schedulers": [],
    }  # fmt: skip


def write_ply(path, vertices: int) -> None:
    """As FLAME_sample.ply: binary, little-endian."""
    faces = np.arange(vertices - 2)[:, None] + np.arange(3)
    rows = np.zeros(len(faces), dtype=[("n", "u1"), ("corners", "<i4", 3)])
    rows["n"], rows["corners"] = 3, faces
    points = np.random.default_rng(0).normal(size=(vertices, 3)).astype("<f4")
    head = (
        f"ply\nformat binary_little_endian 1.0\nelement vertex {vertices}\nproperty float x\nproperty float y\n"
        f"property float z\nelement face {len(faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    )
    path.write_bytes(head.encode() + points.tobytes() + rows.tobytes())


def templates(data_set) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {subject: random.normal(size=(data_set.vertices, 3)) for subject in data_set.identities[:2]}


class Files:
    """The published files of one data set, in a folder, and the command that converts them."""

    def __init__(self, folder, name: str) -> None:
        self.name, self.data_set = name, SETS[name]
        self.talker = random_talker(name)
        self.state = published(self.talker)
        self.folder, self.out = folder, folder / "out"
        self.paths = {
            "vqvae": folder / "vae.ckpt",
            "talker": folder / "diffar.ckpt",
            "templates": folder / "templates.pkl",
            "mesh": folder / "mesh.ply",
        }
        self.save("vqvae", {key: value for key, value in self.state.items() if key.startswith(MOTION)})
        self.save("talker", self.state)
        self.paths["templates"].write_bytes(pickle.dumps(templates(self.data_set), protocol=2))
        write_ply(self.paths["mesh"], self.data_set.vertices)

    def save(self, which: str, state: dict) -> None:
        torch.save(checkpoint(state), self.paths[which])

    def run(self, *more: object) -> int:
        options = [text for which, path in self.paths.items() for text in (f"--{which}", str(path))]
        return main(["released", *options, "--out", str(self.out), *map(str, more)])

    def refuses(self, capsys, which: str, *, why: str = "") -> None:
        """The command fails in time and names the file."""
        start = sum(os.times()[:4])  # processor time, ours and our children's: others use this machine, too
        assert self.run() == 2
        said = capsys.readouterr().err
        assert sum(os.times()[:4]) - start < SECONDS
        assert self.paths[which].name in said and why in said and said.count("\n") == 1
        assert not self.out.exists() or not list(self.out.iterdir())


@pytest.fixture
def files(tmp_path):
    return Files(tmp_path, "vocaset")


@pytest.mark.parametrize("name", SETS)
def test_the_network_comes_back_whole(tmp_path, capsys, name):
    files = Files(tmp_path, name)
    assert files.run("--subject", files.data_set.identities[1]) == 0
    said = capsys.readouterr().out
    assert "optimizer_states" in said and "no regions" in said and str(files.out) in said
    loaded = load_talker(files.out)
    assert dataclasses.replace(loaded.dims, hubert={}) == dataclasses.replace(files.talker.dims, hubert={})
    np.testing.assert_allclose(loaded.topology.template, templates(files.data_set)[files.data_set.identities[1]], 1e-6)
    pcm = speech(0.4)
    np.testing.assert_allclose(generate(loaded, pcm), generate(files.talker, pcm), atol=1e-6)


def test_it_speaks_from_the_command_line(files, tmp_path):
    import soundfile

    assert files.run() == 0
    soundfile.write(tmp_path / "speech.wav", speech(0.5), 16000)
    options = ["--checkpoint", str(files.out), "--out", str(tmp_path / "motion.npz"), "--identity", "7"]
    assert generate_main([str(tmp_path / "speech.wav"), *options]) == 0
    with np.load(tmp_path / "motion.npz") as motion:
        assert motion["vertices"].shape == (15, 5023, 3) and motion["fps"] == 30


def test_regions_of_both_data_sets(tmp_path, files):
    masks = {"lips": np.arange(1700, 1900), "forehead": np.arange(10), "eye_region": np.arange(5, 20)}
    (tmp_path / "masks.pkl").write_bytes(pickle.dumps(masks, protocol=2))
    assert files.run("--masks", tmp_path / "masks.pkl") == 0
    face = load_talker(files.out).topology
    np.testing.assert_array_equal(face.lips, masks["lips"])
    np.testing.assert_array_equal(face.upper_face, np.arange(20))
    (tmp_path / "biwi").mkdir()
    biwi = Files(tmp_path / "biwi", "biwi")
    for name, text in (("lve.txt", "5, 6, 7"), ("fdd.txt", "1 2")):
        (tmp_path / "biwi" / name).write_text(text)
    assert biwi.run("--regions", tmp_path / "biwi") == 0
    np.testing.assert_array_equal(load_talker(biwi.out).topology.lips, [5, 6, 7])
    assert biwi.run("--masks", tmp_path / "masks.pkl") == 2


def test_a_decoder_that_was_trained_on_is_the_talkers(files, capsys):
    trained = {
        name: value + 0.1 * (".decoder.blocks" in name or "decoder.vertice" in name)
        for name, value in files.state.items()
    }
    files.save("talker", trained)
    assert files.run() == 0
    assert "decoder left out" in capsys.readouterr().out
    assert not torch.equal(load_talker(files.out).vqvae.out.bias, files.talker.vqvae.out.bias)


def test_a_talker_file_without_its_vqvae_or_its_ears(files, capsys):
    files.save("talker", {name: value for name, value in files.state.items() if name.startswith(TALKER)})
    assert files.run() == 0
    assert "cannot hear" in capsys.readouterr().out
    assert load_talker(files.out).hearing is None


@pytest.mark.parametrize("which", ["vqvae", "talker", "templates", "mesh"])
class TestEveryFile:
    """What goes wrong with any file."""

    def test_missing(self, files, capsys, which):
        files.paths[which].unlink()
        files.refuses(capsys, which, why="does not exist")

    @pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
    def test_truncated(self, files, capsys, which, share):
        data = files.paths[which].read_bytes()
        files.paths[which].write_bytes(data[: int(share * len(data))])
        files.refuses(capsys, which)

    def test_nonsense(self, files, capsys, which):
        files.paths[which].write_bytes(np.random.default_rng(0).bytes(5000))
        files.refuses(capsys, which)


class Canary:
    """Pickled, it touches a file where it is opened."""

    def __init__(self, path) -> None:
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("which", ["vqvae", "talker", "templates"])
@pytest.mark.parametrize("form", ["torch", "legacy", "pickle"])
def test_a_canary_never_runs(files, capsys, tmp_path, which, form):
    content = {"state_dict": {**files.state, "x": Canary(tmp_path / "sung")}, "F2": Canary(tmp_path / "sung")}
    if form == "pickle":
        files.paths[which].write_bytes(pickle.dumps(content))
    else:
        torch.save(content, files.paths[which], _use_new_zipfile_serialization=form == "torch")
    files.refuses(capsys, which)
    assert not (tmp_path / "sung").exists()


class TestCheckpoints:
    """Torch files that are well-formed and yet do not serve."""

    @pytest.mark.parametrize("which", ["vqvae", "talker"])
    def test_numbers_that_are_not_finite(self, files, capsys, which):
        name = f"{MOTION}encoder.squasher.0.0.bias"
        part = {key: value for key, value in files.state.items() if which == "talker" or key.startswith(MOTION)}
        files.save(which, part | {name: torch.full_like(files.state[name], torch.nan)})
        files.refuses(capsys, which, why=name)

    @pytest.mark.parametrize(
        "change",
        [
            lambda state: state.pop(f"{TALKER}denoiser.0.bias"),
            lambda state: state.update({f"{TALKER}more": torch.zeros(3)}),
            lambda state: state.update({f"{TALKER}denoiser.0.bias": torch.zeros(3)}),
            lambda state: state.update({f"{TALKER}denoiser.0.weight": torch.zeros(())}),
            lambda state: state.update({f"{TALKER}vq_latent_map.weight": torch.zeros(3)}),
            lambda state: state.update({f"{TALKER}PPE.pe": torch.randn(1, 90, 12)}),
            lambda state: state.update({f"{TALKER}PPE.pe": torch.zeros(0)}),
            lambda state: state.update({f"{TALKER}obj_vector.weight": torch.zeros(8)}),
            lambda state: state.update(
                {f"{TALKER}transformer_decoder.layers.1.multihead_attn.in_proj_bias": torch.ones(())}
            ),
            lambda state: state.update({f"{AUDIO}more": torch.zeros(3)}),
            lambda state: state.update({f"{AUDIO}encoder.layers.0.attention.q_proj.bias": torch.zeros(5)}),
            lambda state: state.update({f"{AUDIO}feature_projection.projection.weight": torch.zeros(0, 8)}),
            lambda state: state.update({f"{AUDIO}encoder.layers.7.x": torch.zeros(1)}),
            lambda state: state.update({f"{TALKER}denoiser.0.bias": "text"}),
            lambda state: state.update({f"{TALKER}denoiser.0.bias": torch.zeros(1).expand(1 << 40)}),
            lambda state: state.update({f"{TALKER}vq_latent_map.weight": torch.zeros(1 << 18, 16)}),
        ],
    )
    def test_another_network(self, files, capsys, change):
        state = dict(files.state)
        change(state)
        files.save("talker", state)
        files.refuses(capsys, "talker")

    def test_files_that_do_not_belong_together(self, files, capsys):
        name = f"{MOTION}quantize.embedding.weight"
        files.save("talker", {**files.state, name: files.state[name] + 1})
        files.refuses(capsys, "talker", why="belong together")
        files.save("vqvae", files.state)
        files.refuses(capsys, "vqvae")

    @pytest.mark.parametrize(
        "content", [3, {}, [torch.zeros(3)], {"state_dict": 3}, {"state_dict": {1: torch.zeros(1)}}]
    )
    def test_no_table_of_weights(self, files, capsys, content):
        torch.save(content, files.paths["vqvae"])
        files.refuses(capsys, "vqvae")

    def test_a_file_that_grows(self, files, capsys):
        with zipfile.ZipFile(files.paths["talker"]) as source:
            entries = {entry: source.read(entry) for entry in source.namelist()}
        with zipfile.ZipFile(files.paths["talker"], "w", zipfile.ZIP_DEFLATED) as bomb:
            for entry, data in entries.items():
                bomb.writestr(entry, data)
            bomb.writestr("archive/data/999", bytes(50_000_000))
        files.refuses(capsys, "talker", why="grows")

    def test_a_mesh_of_no_data_set(self, tmp_path, capsys, files):
        small = dataclasses.replace(
            dims("vocaset"), motion=ReleasedMotion(12, width=16, layers=1, components=4, code_dim=4)
        )
        state = published(ReleasedTalker(small, tiny_face()))
        files.save("vqvae", {key: value for key, value in state.items() if key.startswith(MOTION)})
        files.save("talker", state)
        files.refuses(capsys, "talker", why="12 vertices")


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table.update({VOCASET.identities[0]: np.zeros((7, 3))}),
        lambda table: table.update({VOCASET.identities[0]: np.full((5023, 3), np.nan)}),
        lambda table: table.update({VOCASET.identities[0]: ["a"]}),
        lambda table: table.pop(VOCASET.identities[0]),
    ],
)
def test_templates_that_do_not_fit(files, capsys, change):
    table = templates(VOCASET)
    change(table)
    files.paths["templates"].write_bytes(pickle.dumps(table, protocol=2))
    files.refuses(capsys, "templates")


def test_meshes_that_do_not_fit(files, capsys):
    write_ply(files.paths["mesh"], 5000)
    files.refuses(capsys, "mesh", why="5000")
    files.paths["mesh"].write_bytes(files.paths["mesh"].read_bytes().replace(b"vertex 5000", b"vertex 9999999999"))
    files.refuses(capsys, "mesh")


@pytest.mark.parametrize(
    "masks", [{}, {"lips": np.array([9999]), "forehead": np.zeros(1, int), "eye_region": np.zeros(1, int)}]
)
def test_masks_that_do_not_fit(files, capsys, tmp_path, masks):
    (tmp_path / "masks.pkl").write_bytes(pickle.dumps(masks, protocol=2))
    assert files.run("--masks", tmp_path / "masks.pkl") == 2
    assert "masks.pkl" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["1.5", "9" * 30, "23370"])
def test_lists_of_vertices_that_do_not_fit(tmp_path, capsys, text):
    biwi = Files(tmp_path, "biwi")
    for name in ("lve.txt", "fdd.txt"):
        (tmp_path / name).write_text(text)
    assert biwi.run("--regions", tmp_path) == 2
    assert "lve.txt" in capsys.readouterr().err


def test_counters_of_the_training_are_left_out_and_named(files, capsys):
    files.save("talker", {**files.state, "losses.losses_train.total": torch.tensor(3)})
    assert files.run() == 0
    assert "losses.losses_train.total" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["--help"], ["released", "--help"]])
def test_the_help_teaches(capsys, arguments):
    with pytest.raises(SystemExit):
        main(arguments)
    text = capsys.readouterr().out
    for word in ("voca_vae.ckpt", "diffar_biwi", "FLAME_masks.pkl", "run_demo.py --talker"):
        assert word in text


@pytest.mark.parametrize("name", DATA_SETS)
def test_a_published_network_and_its_data_set_have_the_same_mesh_and_pace(name):
    network, data_set = NETWORKS[name], DATA_SETS[name]
    assert (network.motion.vertices, network.fps) == (data_set.vertices, data_set.fps)
    assert network.motion.bridged or network.motion.latent == network.motion.width
