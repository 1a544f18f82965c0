"""Motion taken along: the weights found again, the CSV's columns, the glTF file's vertices, and any glTF head."""

import csv
import dataclasses
import io
import json
import sys
from pathlib import Path

import numpy as np
import pygltflib
import pytest
import trimesh
from PIL import Image

from demo.avatar import load_avatar
from demo.canvas import OffscreenCanvas
from demo.export.__main__ import main
from demo.export.arkit import ROTATIONS, SHAPES, Fit, timecode, write_live_link
from demo.export.fitting import fit_weights
from demo.export.gltf import write_gltf
from demo.export.gltf_parts import Numbers
from demo.gltf_head import HeadError, arkit_name, load_gltf_head
from demo.renderer import HIGH, Renderer
from streamingtalker.tensor_file import read_tensors, write_tensors
from streamingtalker.topology import DEFAULT_AVATAR

MM = 1e-3
FRAMES = 12


@pytest.fixture(scope="module")
def avatar():
    return load_avatar()


@pytest.fixture(scope="module")
def curves(avatar) -> np.ndarray:
    """Weights [T, S] that a face might have: each shape swells and fades, many stay at nothing."""
    random = np.random.default_rng(3)
    times = np.linspace(0, 1, FRAMES)[:, None]
    waves = np.sin(2 * np.pi * (random.uniform(0.5, 2, 52) * times + random.uniform(0, 1, 52)))
    return (np.clip(waves, 0, 1) * random.uniform(0, 1, 52)).astype(np.float32)


@pytest.fixture(scope="module")
def fit(avatar, curves) -> Fit:
    return fit_weights(avatar.rig, avatar.rig.offsets(curves))


@pytest.fixture(scope="module")
def exported(avatar, fit, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("export") / "speech.glb"
    write_gltf(path, avatar, fit, 30.0, "speech.wav")
    return path


@pytest.fixture(scope="module")
def head(exported):
    return load_gltf_head(exported)


@pytest.fixture(scope="module")
def document(exported):
    return pygltflib.GLTF2().load(str(exported))


def motion_file(path: Path, avatar, offsets: np.ndarray, faces: np.ndarray | None = None) -> Path:
    topology = avatar.topology
    template = topology.template[: offsets.shape[1]]
    faces = topology.faces if faces is None else faces
    np.savez(path, vertices=template + offsets, template=template, faces=faces, fps=np.int64(30))
    return path


def only_part(path: Path, name: str) -> Path:
    """An avatar file of which one part is drawn: quicker to export."""
    tensors, metadata = read_tensors(DEFAULT_AVATAR, kind="avatar")
    whole = load_avatar()
    part = next(part for part in whole.parts if part.name == name)
    (first, last), faces = part.vertices, whole.faces[slice(*part.faces)]
    surface = whole.weights[first:last]
    kept = {key: tensor for key, tensor in tensors.items() if not key.startswith(("look/", "surface/"))}
    kept |= {"look/faces": faces - first, "look/colors": whole.colors[first:last]}
    kept |= {f"surface/{key}": getattr(surface, key) for key in ("data", "indices", "indptr")}
    metadata["parts"] = [{"name": name, "faces": [0, len(faces)], "vertices": [0, last - first]}]
    write_tensors(path, kept, "avatar", {key: value for key, value in metadata.items() if key != "kind"})
    return path


def test_weights_are_found_again(fit, curves, avatar):
    assert fit.names == avatar.rig.shape_names
    assert np.abs(fit.weights - curves).max() < 2e-3
    assert fit.max_mm.max() < 0.01 and fit.weights.dtype == np.float32


def test_weights_beyond_the_bounds_are_the_best_within_them(avatar):
    wanted = np.random.default_rng(1).uniform(-0.3, 1.4, (6, 52)).astype(np.float32)
    offsets = avatar.rig.offsets(wanted)
    fit = fit_weights(avatar.rig, offsets)
    assert fit.weights.min() >= 0 and fit.weights.max() <= 1
    shapes = avatar.rig.shapes.reshape(52, -1).astype(float)
    slope = (fit.weights @ shapes - offsets.reshape(6, -1)) @ shapes.T / (shapes**2).sum(axis=1)
    assert slope[fit.weights > 1e-9].max() < 1e-3 and slope[fit.weights < 1].min() > -1e-3  # no way down from here
    distance = np.linalg.norm(avatar.rig.offsets(fit.weights) - offsets, axis=2) / MM
    assert np.allclose(fit.mean_mm, distance.mean(axis=1), rtol=1e-3)
    assert np.allclose(fit.max_mm, distance.max(axis=1), rtol=1e-3) and fit.max_mm.min() > 1


def test_poses_move_no_further_than_the_motion(avatar, curves):
    """What keeps time in the motion keeps it in the weights, where bounds hold them back, too."""
    offsets = avatar.rig.offsets(1.6 * curves - 0.2)
    posed = avatar.rig.offsets(fit_weights(avatar.rig, offsets).weights)
    steps = [np.linalg.norm(np.diff(motion.reshape(FRAMES, -1), axis=0), axis=1) for motion in (posed, offsets)]
    assert (steps[0] <= steps[1] * 1.001 + 1e-6).all() and steps[0].min() > 0


def test_a_take_is_written_as_live_link_face_does(tmp_path, fit):
    write_live_link(tmp_path / "take.csv", fit, 30.0)
    header, *rows = list(csv.reader((tmp_path / "take.csv").open()))
    assert header[:3] == ["Timecode", "BlendShapeCount", "EyeBlinkLeft"]
    assert header[53:] == ["TongueOut", *ROTATIONS] and header[16:20] == [
        "JawForward",
        "JawRight",
        "JawLeft",
        "JawOpen",
    ]
    assert len(rows) == FRAMES and {len(row) for row in rows} == {63} and {row[1] for row in rows} == {"61"}
    column = header.index("MouthSmileLeft")
    assert np.allclose(
        [float(row[column]) for row in rows], fit.weights[:, fit.names.index("mouthSmileLeft")], atol=1e-6
    )
    assert [rows[0][0], rows[-1][0]] == ["00:00:00:00.000", "00:00:00:11.000"]


def test_the_columns_are_arkits_52_shapes(avatar):
    assert len(SHAPES) == 52 and set(SHAPES) == set(avatar.rig.shape_names)


@pytest.mark.parametrize(
    ("frame", "fps", "code"),
    [(59, 30, "00:00:01:29.000"), (25 * 3725 + 7, 25, "01:02:05:07.000"), (60, 60.0, "00:00:01:00.000")],
)
def test_time_codes_count_frames(frame, fps, code):
    assert timecode(frame, fps) == code


def test_the_vertices_of_the_gltf_file_are_ours(head, avatar, document, fit):
    """At several frames: rest and weights times shapes, both out of the file, beside the drawn surface."""
    sampler = document.animations[0].samplers[0]
    weights = numbers(document, sampler.output).reshape(-1, 52)
    names = tuple(document.meshes[0].extras["targetNames"])
    assert np.array_equal(weights, fit.weights) and names == avatar.rig.shape_names
    for frame in (0, 4, FRAMES - 1):
        ours = avatar.surface(avatar.template + avatar.rig.offsets(fit.weights[frame : frame + 1])[0])
        assert np.abs(head.vertices(names, weights[frame : frame + 1])[0] - ours).max() < 0.1 * MM
        assert np.abs(ours - avatar.surface(avatar.template)).max() > 3 * MM  # it does move


def numbers(document, index: int) -> np.ndarray:
    """A dense accessor of floats."""
    accessor = document.accessors[index]
    start = document.bufferViews[accessor.bufferView].byteOffset + accessor.byteOffset
    return np.frombuffer(document.binary_blob(), "<f4", accessor.count, start)


def test_another_library_reads_the_same_face(exported, avatar):
    parts = trimesh.load(exported, process=False).geometry.values()
    assert sum(len(part.vertices) for part in parts) == len(avatar.colors)
    skin = next(part for part in parts if len(part.vertices) == avatar.parts[0].vertices[1])
    rest = avatar.surface(avatar.template)[: len(skin.vertices)]
    assert np.abs(skin.vertices - rest).max() < 1e-6
    assert np.array_equal(skin.faces, avatar.faces[: len(skin.faces)])


def test_parts_colours_and_triangles_come_through(head, avatar, document):
    assert np.array_equal(head.faces, avatar.faces)
    assert np.abs(head.colors.astype(int) - avatar.colors).max() <= 1
    assert [(part.name, part.vertices, part.double_sided) for part in head.parts] == [
        (part.name, part.vertices, part.double_sided) for part in avatar.parts
    ]
    assert np.allclose([part.roughness for part in head.parts], [part.roughness for part in avatar.parts])
    see_through = {part.name for part in avatar.parts if (avatar.colors[slice(*part.vertices), 3] < 255).any()}
    assert {material.name for material in document.materials if material.alphaMode == "BLEND"} == see_through


def test_the_file_keeps_gltfs_rules(document, exported):
    content = exported.read_bytes()
    written = json.loads(content[20 : 20 + int.from_bytes(content[12:16], "little")])  # as it stands there
    assert all("bufferView" in accessor or "byteOffset" not in accessor for accessor in written["accessors"])
    for accessor in document.accessors:
        assert (accessor.byteOffset or 0) % 4 == 0 and accessor.count > 0
        if accessor.sparse:
            assert accessor.sparse.count > 0 and accessor.sparse.values.byteOffset % 4 == 0
    for primitive in document.meshes[0].primitives:
        assert len(primitive.targets) == 52
        for attributes in primitive.targets:
            assert document.accessors[attributes["POSITION"]].max is not None
    last = document.bufferViews[-1]
    assert last.byteOffset + last.byteLength == document.buffers[0].byteLength
    assert exported.stat().st_size < 12e6


def test_the_curves_keep_time_and_name_the_sound(document):
    animation = document.animations[0]
    times = numbers(document, animation.samplers[0].input)
    assert np.allclose(times, np.arange(FRAMES) / 30, atol=1e-6)
    assert (animation.channels[0].target.node, animation.channels[0].target.path) == (0, "weights")
    assert animation.extras == document.scenes[0].extras == {"fps": 30.0, "frames": FRAMES, "sound": "speech.wav"}


def test_the_exported_head_looks_like_ours(head, avatar, fit):
    ours = avatar.template + avatar.rig.offsets(fit.weights[9:10])[0]
    canvas = OffscreenCanvas(160, 200)
    renderers = Renderer(avatar, canvas, HIGH), Renderer(_framed(head, avatar), canvas, HIGH)
    pictures = []
    for renderer, vertices in zip(renderers, (ours, head.wear(fit)[9]), strict=True):
        renderer.draw(vertices)
        pictures.append(renderer.read_pixels().astype(int))
    renderers[0].close()
    assert np.abs(pictures[0] - pictures[1]).mean() < 0.2 and pictures[0].std() > 10


def _framed(head, avatar):
    """Seen by the same camera."""
    return dataclasses.replace(head, pivots=avatar.pivots, mouth=avatar.mouth)


def test_eyes_and_mouth_are_found_by_what_moves(head, avatar):
    assert np.abs(head.pivots[:, :2] - avatar.pivots[:, :2]).max() < 3 * MM
    assert np.abs(head.mouth[:2] - avatar.mouth[:2]).max() < 3 * MM


def tiny(path: Path, names: list[str], **material) -> Path:
    """A triangle, turned by its node, with a dense target of each name that lifts its second corner by 1."""
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], np.float32)
    store = Numbers()
    attributes = pygltflib.Attributes(
        POSITION=store.add("vectors", corners, limits=True), TEXCOORD_0=store.add("curves", corners[:, :2].copy())
    )
    lifted = np.array([[0, 0, 0], [0, 0, 1], [0, 0, 0]], np.float32)
    targets = [{"POSITION": store.add("vectors", lifted, limits=True)} for _ in names]
    image = io.BytesIO()
    Image.fromarray(np.array([[[255, 0, 0], [0, 0, 255]]], np.uint8)).save(image, "PNG")
    picture = np.frombuffer(image.getvalue(), np.uint8)
    views, content = store.buffer()
    views.append(pygltflib.BufferView(buffer=0, byteOffset=len(content), byteLength=len(picture)))
    turned = pygltflib.Node(mesh=0, rotation=[0, 0.5**0.5, 0, 0.5**0.5], scale=[0.2, 0.2, 0.2])
    document = pygltflib.GLTF2(
        scene=0,
        scenes=[pygltflib.Scene(nodes=[0])],
        nodes=[pygltflib.Node(children=[1], translation=[0, 0, 5]), turned],
        meshes=[
            pygltflib.Mesh(
                primitives=[pygltflib.Primitive(attributes=attributes, targets=targets, material=0)],
                extras={"targetNames": names},
            )
        ],
        materials=[pygltflib.Material(name="face", pbrMetallicRoughness=pygltflib.PbrMetallicRoughness(**material))],
        textures=[pygltflib.Texture(source=0)],
        images=[pygltflib.Image(bufferView=len(views) - 1, mimeType="image/png")],
        accessors=store.accessors,
        bufferViews=views,
        buffers=[pygltflib.Buffer(byteLength=len(content) + len(picture))],
    )
    document.set_binary_blob(content + picture.tobytes())
    document.save_binary(str(path))
    return path


def test_a_foreign_head_moves_in_the_scenes_space(tmp_path):
    head = load_gltf_head(
        tiny(tmp_path / "tiny.glb", ["Something", "EyeBlink_L", "JawOpen"], baseColorFactor=[1, 0, 0, 1])
    )
    assert head.shape_names == ("eyeBlinkLeft", "jawOpen")
    assert np.allclose(head.template, [[0, 0, 5], [0, 0, 4.8], [0, 0.2, 5]], atol=1e-6)
    posed = head.vertices(("jawOpen", "cheekPuff"), np.array([[0.5, 1.0], [0.0, 1.0]]))
    assert np.allclose(posed - head.template, [[[0, 0, 0], [0.1, 0, 0], [0, 0, 0]], np.zeros((3, 3))], atol=1e-6)
    assert head.colors.tolist() == [[255, 0, 0, 255]] * 3 and head.parts[0].name == "face"


def test_a_head_may_lie_in_two_files(tmp_path):
    whole = pygltflib.GLTF2().load(str(tiny(tmp_path / "tiny.glb", ["jawOpen"])))
    (tmp_path / "tiny.bin").write_bytes(whole.binary_blob())
    whole.buffers[0].uri = "tiny.bin"
    whole.save_json(str(tmp_path / "tiny.gltf"))
    assert np.allclose(
        load_gltf_head(tmp_path / "tiny.gltf").template, [[0, 0, 5], [0, 0, 4.8], [0, 0.2, 5]], atol=1e-6
    )


def test_textures_colour_the_vertices(tmp_path):
    texture = pygltflib.TextureInfo(index=0)
    head = load_gltf_head(tiny(tmp_path / "tiny.glb", ["jawOpen"], baseColorTexture=texture))
    assert head.colors[:, :3].tolist() == [[255, 0, 0], [255, 0, 0], [255, 0, 0]]  # 1 is 0 again: textures repeat


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("eyeBlinkLeft", "eyeBlinkLeft"),
        ("EyeBlink_L", "eyeBlinkLeft"),
        ("Head.mouth_Left", "mouthLeft"),
        ("mouthR", "mouthRight"),
        ("browOuterUp_R", "browOuterUpRight"),
        ("mouthRollLower", "mouthRollLower"),
        ("viseme_aa", None),
    ],
)
def test_spellings_of_shapes(spelling, name):
    assert arkit_name(spelling) == name


def test_heads_that_cannot_be_shown_are_refused(tmp_path, exported):
    with pytest.raises(HeadError, match="no morph targets with ARKit's names"):
        load_gltf_head(tiny(tmp_path / "mute.glb", ["smirk"]))
    with pytest.raises(HeadError, match="does not exist"):
        load_gltf_head(tmp_path / "gone.glb")
    squeezed = pygltflib.GLTF2().load(str(tmp_path / "mute.glb"))
    squeezed.extensionsRequired = ["KHR_draco_mesh_compression"]
    squeezed.save_binary(str(tmp_path / "draco.glb"))
    with pytest.raises(HeadError, match="is compressed"):
        load_gltf_head(tmp_path / "draco.glb")
    (tmp_path / "noise.glb").write_bytes(b"only by name" * 9)
    (tmp_path / "short.glb").write_bytes(exported.read_bytes()[:-400_000])
    for name in ("noise.glb", "short.glb"):
        with pytest.raises(HeadError, match=r"is no glTF file|is damaged"):
            load_gltf_head(tmp_path / name)


def test_the_command_line_writes_everything(tmp_path, avatar, curves, capsys):
    motion = motion_file(tmp_path / "hello.npz", avatar, avatar.rig.offsets(curves))
    (tmp_path / "hello.wav").write_bytes(b"RIFF")
    out, tongue = tmp_path / "taken", only_part(tmp_path / "tongue.safetensors", "tongue")
    arguments = [str(motion), "--out", str(out), "--sound", str(tmp_path / "hello.wav"), "--avatar", str(tongue)]
    assert main(arguments) == 0
    assert {file.name for file in out.iterdir()} == {"hello.csv", "hello.glb", "hello.arkit.npz", "hello.wav"}
    assert f"{FRAMES} frames; between the weights and the motion lie 0.000 mm" in capsys.readouterr().out
    with np.load(out / "hello.arkit.npz") as file:
        assert file["weights"].shape == (FRAMES, 52) and "jawOpen" in file["shape_names"] and file["fps"] == 30
    assert pygltflib.GLTF2().load(str(out / "hello.glb")).animations[0].extras["sound"] == "hello.wav"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["other.npz"], "is that of another mesh"),
        (["gone.npz"], "does not exist; check the path"),
        (["noise.npz"], "is no motion file"),
        (["good.npz", "--avatar", "nobody"], "There is no avatar 'nobody'"),
        (["good.npz", "--sound", "gone.wav"], "The sound gone.wav does not exist"),
    ],
)
def test_what_cannot_be_taken_along_is_said_in_one_sentence(tmp_path, avatar, monkeypatch, capsys, arguments, said):
    monkeypatch.chdir(tmp_path)
    few = np.zeros((2, 5, 3), np.float32)
    motion_file(Path("other.npz"), avatar, few, faces=np.zeros((1, 3), np.int32))
    motion_file(Path("good.npz"), avatar, np.zeros((2, avatar.topology.vertex_count, 3), np.float32))
    Path("noise.npz").write_bytes(b"no archive")
    assert main([*arguments, "--out", "taken", "--formats", "csv"]) == 2
    message = capsys.readouterr().err
    assert said in message and message.count("\n") == 1


def test_without_its_library_gltf_is_refused_and_the_rest_works(tmp_path, avatar, monkeypatch, capsys):
    motion = motion_file(tmp_path / "hello.npz", avatar, np.zeros((2, avatar.topology.vertex_count, 3), np.float32))
    monkeypatch.setitem(sys.modules, "pygltflib", None)
    assert main([str(motion), "--out", str(tmp_path / "taken")]) == 2
    assert "pip install pygltflib==" in capsys.readouterr().err
    assert main([str(motion), "--out", str(tmp_path / "taken"), "--formats", "csv", "npz"]) == 0
