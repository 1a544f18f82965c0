"""glTF heads of anybody: shown, moved, alive; and files that are broken or mean harm."""

import io
import json
import logging
import struct
import time
import tracemalloc
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from demo.avatar import load_avatar
from demo.bare import gltf_face, shown_face
from demo.canvas import OffscreenCanvas
from demo.export.arkit import SHAPES
from demo.export.fitting import fit_weights
from demo.export.gltf import write_gltf
from demo.gltf_head import GltfHead, HeadError, load_gltf_head
from demo.life import Life
from demo.life.life import Bearing
from demo.look import camera_pose
from demo.preflight import check
from demo.puppet import Puppet, head_landmarks, missing_shapes
from demo.renderer import LOW, Renderer
from demo.settings import Settings

MM = 1e-3
GENTLE = 8  # columns and rows of a synthetic face


class Build:
    """A glTF document under construction."""

    def __init__(self) -> None:
        self.document: dict[str, Any] = {
            "asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": [0]}], "nodes": [{"mesh": 0}],
            "meshes": [], "accessors": [], "bufferViews": [], "buffers": [{"byteLength": 0}], "materials": [],
        }  # fmt: skip
        self.content = b""

    def add(self, array: np.ndarray) -> int:
        """An accessor of float32 [n, 2 or 3] or uint32 [n]."""
        kind = {1: "SCALAR", 2: "VEC2", 3: "VEC3"}[array.reshape(len(array), -1).shape[1]]
        view = {"buffer": 0, "byteOffset": len(self.content), "byteLength": array.nbytes}
        self.content += array.tobytes()
        self.document["bufferViews"].append(view)
        component = 5126 if array.dtype == np.float32 else 5125
        self.document["accessors"].append(
            {
                "bufferView": len(self.document["bufferViews"]) - 1,
                "componentType": component,
                "count": len(array),
                "type": kind,
            }
        )
        return len(self.document["accessors"]) - 1

    def save(self, path: Path) -> Path:
        """Write a .glb file."""
        self.document["buffers"][0]["byteLength"] = len(self.content)
        return glb(path, json.dumps(self.document).encode(), self.content)


def glb(path: Path, text: bytes, content: bytes = b"") -> Path:
    text += b" " * (-len(text) % 4)
    content += bytes(-len(content) % 4)
    chunks = struct.pack("<II", len(text), 0x4E4F534A) + text
    chunks += struct.pack("<II", len(content), 0x004E4942) + content if content else b""
    path.write_bytes(struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks)
    return path


def mask() -> np.ndarray:
    """A face of 8 x 8 points, 16 cm high, its eyes 6 cm above its mouth; float32 [64, 3]."""
    across, up = np.meshgrid(np.linspace(-0.07, 0.07, GENTLE), np.linspace(-0.06, 0.10, GENTLE))
    return np.stack([across, up, 0.05 - across**2 * 5], axis=-1).reshape(-1, 3).astype(np.float32)


def bump(points: np.ndarray, place: tuple[float, float], move: tuple[float, float, float]) -> np.ndarray:
    """A shape that moves what is about a place."""
    away = np.linalg.norm(points[:, :2] - place, axis=1)
    return (np.exp(-((away / 0.02) ** 2))[:, None] * move).astype(np.float32)


def shapes_of(points: np.ndarray) -> dict[str, np.ndarray]:
    """A few of ARKit's shapes for ``mask``."""
    return {
        "jawOpen": bump(points, (0, -0.03), (0, -0.02, 0)),
        "mouthPucker": bump(points, (0, -0.015), (0, 0, 0.01)),
        "eyeBlinkLeft": bump(points, (0.03, 0.045), (0, -0.01, 0)),
        "eyeBlinkRight": bump(points, (-0.03, 0.045), (0, -0.01, 0)),
        "eyeLookOutLeft": bump(points, (0.03, 0.045), (0.01, 0, 0)),
        "eyeLookInRight": bump(points, (-0.03, 0.045), (0.01, 0, 0)),
        "browInnerUp": bump(points, (0, 0.07), (0, 0.01, 0)),
    }


def face_file(path: Path, names: dict[str, str] | None = None, scale: float = 1.0, **changes: Any) -> Path:
    """A synthetic head; ``names``: how its file calls ARKit's shapes, where otherwise; None leaves it out."""
    build, points = Build(), mask()
    row = np.arange(GENTLE - 1)
    corner = (row[:, None] * GENTLE + row).ravel()
    faces = np.concatenate([np.stack([corner, corner + 1, corner + GENTLE], 1),
                            np.stack([corner + 1, corner + GENTLE + 1, corner + GENTLE], 1)])  # fmt: skip
    shapes = {(names or {}).get(name, name): shape for name, shape in shapes_of(points).items()}
    shapes = {name: shape for name, shape in shapes.items() if name}
    primitive = {
        "attributes": {"POSITION": build.add(points * scale)},
        "indices": build.add(faces.ravel().astype(np.uint32)),
        "targets": [{"POSITION": build.add(shape * scale)} for shape in shapes.values()],
        "material": 0,
    }
    build.document["meshes"] = [{"primitives": [primitive], "extras": {"targetNames": list(shapes)}}]
    build.document["materials"] = [{"name": "skin", "pbrMetallicRoughness": {"baseColorFactor": [0.5, 0.25, 0.2, 1]}}]
    build.document |= changes
    return build.save(path)


@pytest.fixture(scope="module")
def avatar():
    return load_avatar()


@pytest.fixture(scope="module")
def poses(avatar) -> np.ndarray:
    """Frames of the talking mesh that ARKit's weights can make, float32 [4, V, 3]."""
    weights = np.clip(np.random.default_rng(5).normal(0.1, 0.3, (4, 52)), 0, 1)
    return avatar.rig.offsets(weights)


@pytest.fixture(scope="module")
def exported(avatar, poses, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("heads") / "maya.glb"
    write_gltf(path, avatar, fit_weights(avatar.rig, poses), 30.0)
    return path


@pytest.fixture
def head(tmp_path) -> GltfHead:
    return load_gltf_head(face_file(tmp_path / "face.glb"))


def test_our_own_avatar_comes_back_as_it_went(exported, avatar, poses):
    """Frames of the talking mesh → weights → the file's head: within 0.1 mm of what we draw ourselves."""
    face = gltf_face(exported)
    assert face.puppet is not None and face.talking.mesh == avatar.topology.mesh and not missing_shapes(face.look)
    for pose in poses:
        ours = avatar.surface(avatar.template + pose)
        shown = face.look.surface(face.look.template + face.puppet.offsets(pose))
        assert np.linalg.norm(shown - ours, axis=1).max() < 0.1 * MM
    assert np.linalg.norm(ours - avatar.surface(avatar.template), axis=1).max() > 5 * MM
    assert np.abs(camera_pose(face.look)[:3, 3] - camera_pose(avatar)[:3, 3]).max() < 0.03


def test_the_queue_gives_out_the_heads_frames(exported, avatar, poses):
    face = gltf_face(exported)
    queue = face.queue(10)
    queue.begin(1)
    queue.put(1, 0, poses[0].astype(np.float16))
    shown = queue.at(1, 0.0, 30.0)
    assert shown.shape == face.look.template.shape and queue.at(2, 0.0, 30.0) is None
    assert np.linalg.norm(shown - avatar.surface(poses[0]), axis=1).max() < 0.5 * MM  # half floats on the wire


def test_other_names_and_missing_shapes_serve(tmp_path, avatar, caplog):
    names = {"jawOpen": "Face.JawOpen", "eyeBlinkLeft": "eyeBlink_L", "eyeBlinkRight": "EyeBlink_R", "browInnerUp": ""}
    with caplog.at_level(logging.INFO):
        face = gltf_face(face_file(tmp_path / "other.glb", names))
    assert set(face.look.shape_names) == set(shapes_of(mask())) - {"browInnerUp"}
    assert "lacks 46 of ARKit's 52 shapes" in caplog.text and "browInnerUp" in caplog.text
    rig = avatar.rig
    jaw = rig.offsets(np.eye(52)[[rig.shape_names.index("jawOpen")]] * 0.5)[0]
    moved = face.puppet.offsets(jaw)
    assert np.abs(moved - 0.5 * shapes_of(mask())["jawOpen"]).max() < 1e-4


def test_what_the_head_lacks_is_made_up_for_by_what_it_has(tmp_path, avatar):
    """The weights are the best of the shapes there are, not a selection of those for all."""
    head, rig = load_gltf_head(face_file(tmp_path / "face.glb")), avatar.rig
    frame = rig.offsets(np.eye(52)[[rig.shape_names.index("mouthFunnel")]])[0]
    weights = Puppet(head, rig)._solver.weights(frame[None])[0]
    assert weights.max() > 0.1  # a funnel is mostly a pucker


@pytest.mark.parametrize("scale", [100.0, 0.01, 39.37])
def test_heads_in_other_units_are_brought_to_metres(tmp_path, head, scale):
    other = load_gltf_head(face_file(tmp_path / "other.glb", scale=scale))
    unit = other.pivots[:, 1].mean() - other.mouth[1]
    assert 0.04 < unit < 0.1
    ratio = unit / (head.pivots[:, 1].mean() - head.mouth[1])
    assert np.allclose(other.shapes, head.shapes * ratio, atol=1e-6)


def test_a_head_off_the_middle_is_brought_before_the_camera(tmp_path, head):
    off = load_gltf_head(face_file(tmp_path / "off.glb", nodes=[{"mesh": 0, "translation": [3, 1.5, -2]}]))
    assert abs(off.pivots[:, 0].mean()) < 1e-5
    assert np.allclose(off.template - off.template[0], head.template - head.template[0], atol=1e-5)


def test_a_head_lives(tmp_path, head):
    life = Life(head_landmarks(head, "face"), seed=1)
    shapes = dict(zip(head.shape_names, head.shapes, strict=True))
    blinked, looked = 0.0, []
    for tick in range(900):
        life.bearing = Bearing("thinking")
        offsets = life.offsets(tick / 30)
        assert np.isfinite(offsets).all()
        eye = np.linalg.norm(shapes["eyeBlinkLeft"], axis=1).argmax()
        blinked = min(blinked, float(offsets[eye, 1] - offsets[:, 1].mean()))
        weights = life._lids(0.0, [(0.3, 0.0), (0.3, 0.0)], np.zeros(len(life._names)), None)
        looked.append(weights)
    assert blinked < -5 * MM
    weight = dict(zip(life._names, looked[0], strict=True))
    assert weight["eyeLookOutLeft"] == weight["eyeLookInRight"] == pytest.approx(0.3 / np.radians(32), rel=1e-6)


def test_a_head_is_drawn_in_the_colours_of_its_materials(head):
    canvas = OffscreenCanvas(96, 96)
    renderer = Renderer(head, canvas, LOW)
    renderer.draw(head.template)
    picture = renderer.read_pixels().astype(int)
    renderer.close()
    red, green, blue = picture[30:60, 40:56].mean(axis=(0, 1))
    assert red > green + 20 and green > blue + 5
    faces = (picture[..., 0] - picture[..., 2] > 15).mean()
    assert 0.4 < faces < 0.95, "the face fills the picture"


def test_textures_are_seen_at_the_vertices(tmp_path):
    image = io.BytesIO()
    Image.fromarray(np.array([[[255, 0, 0], [0, 0, 255]]], np.uint8)).save(image, "PNG")
    build = Build()
    points = mask()
    places = np.stack([(points[:, 0] > 0) * 0.5 + 0.25, np.full(64, 0.5)], 1).astype(np.float32)
    attributes = {"POSITION": build.add(points), "TEXCOORD_0": build.add(places)}
    target = {"POSITION": build.add(shapes_of(points)["jawOpen"])}
    build.document["bufferViews"].append(
        {"buffer": 0, "byteOffset": len(build.content), "byteLength": len(image.getvalue())}
    )
    build.content += image.getvalue()
    build.document["meshes"] = [{"primitives": [{"attributes": attributes, "targets": [target], "material": 0}],
                                 "extras": {"targetNames": ["jawOpen"]}}]  # fmt: skip
    build.document["images"] = [{"bufferView": len(build.document["bufferViews"]) - 1, "mimeType": "image/png"}]
    build.document["textures"] = [{"source": 0}]
    build.document["materials"] = [{"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}]
    primitive = build.document["meshes"][0]["primitives"][0]
    primitive["indices"] = build.add(np.arange(63, dtype=np.uint32))
    head = load_gltf_head(build.save(tmp_path / "textured.glb"))
    assert np.array_equal(head.colors[points[:, 0] > 0], np.tile([0, 0, 255, 255], (32, 1)))
    assert np.array_equal(head.colors[points[:, 0] < 0], np.tile([255, 0, 0, 255], (32, 1)))


def test_a_cut_in_the_texture_is_no_edge(tmp_path, head):
    """Vertices that lie at one place with one normal get one normal, however often the file has them."""
    normals = head.normals(head.template)
    doubled = GltfHead(
        template=np.concatenate([head.template, head.template]),
        faces=np.concatenate([head.faces[:49], head.faces[49:] + 64]),
        colors=np.tile(head.colors, (2, 1)),
        parts=head.parts,
        shape_names=head.shape_names,
        shapes=np.tile(head.shapes, (1, 2, 1)),
        pivots=head.pivots,
        mouth=head.mouth,
        places=np.tile(head.places, 2),
    )
    assert np.allclose(doubled.normals(doubled.template)[:64], normals, atol=1e-6)


def test_a_run_with_such_a_face_is_checked_before_it_begins(tmp_path):
    settings = Settings(server="ws://127.0.0.1:1", avatar=str(face_file(tmp_path / "face.glb")))
    check(settings)
    assert shown_face(settings, tmp_path / "face.glb").puppet is not None
    with pytest.raises(HeadError, match="does not exist"):
        check(Settings(server="ws://127.0.0.1:1", avatar=str(tmp_path / "gone.glb")))


# Broken and harmful files: one sentence, soon, in bounded memory


def refused(path: Path) -> str:
    """The sentence with which a file is refused."""
    tracemalloc.start()
    began = time.monotonic()
    with pytest.raises(HeadError) as refusal, warnings.catch_warnings(record=True, action="always") as warned:
        load_gltf_head(path)
    assert not [warning for warning in warned if warning.category is RuntimeWarning], "numpy has its say, too"
    seconds, peak = time.monotonic() - began, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    sentence = str(refusal.value)
    assert seconds < 5 and peak < 300e6, (seconds, peak)
    assert "\n" not in sentence and len(sentence) < 500 + len(str(path)) and sentence.endswith(".")
    return sentence


def changed(path: Path, *way: Any, value: Any) -> Path:
    """A synthetic head with one place of its document changed."""
    content = face_file(path).read_bytes()
    length = int.from_bytes(content[12:16], "little")
    document = json.loads(content[20 : 20 + length])
    place = document
    for step in way[:-1]:
        place = place[step]
    place[way[-1]] = value
    return glb(path, json.dumps(document).encode(), content[28 + length :])


@pytest.mark.parametrize(
    ("way", "value"),
    [
        (("accessors", 0, "count"), 10**9),
        (("accessors", 0, "count"), -1),
        (("accessors", 0, "count"), "64"),
        (("accessors", 0), {"componentType": 5126, "count": 10**12, "type": "VEC3"}),
        (("accessors", 0, "sparse"), {"count": 10**10, "indices": {}, "values": {}}),
        (("accessors", 0, "componentType"), 1),
        (("accessors", 0, "type"), "MAT9"),
        (("accessors", 1, "byteOffset"), 10**9),
        (("accessors", 2, "count"), 3),
        (("bufferViews", 0, "byteStride"), 10**9),
        (("bufferViews", 0, "byteStride"), -4),
        (("bufferViews", 0, "buffer"), 7),
        (("bufferViews", 0, "buffer"), -1),
        (("nodes", 0, "children"), [0]),
        (("nodes", 0, "scale"), [0, float("nan"), 0]),
        (("nodes", 0, "translation"), [1e300, 0, 0]),
        (("nodes", 0, "matrix"), [1, 2, 3]),
        (("nodes", 0, "mesh"), 99),
        (("nodes"), {"a": 1}),
        (("scenes", 0, "nodes"), []),
        (("meshes", 0, "primitives"), "none"),
        (("meshes", 0, "primitives", 0, "mode"), 1),
        (("meshes", 0, "primitives", 0, "material"), 3),
        (("meshes", 0, "extras"), {"targetNames": [1, 2, 3]}),
        (("meshes", 0, "extras"), {"targetNames": ["smile", "frown"]}),
        (("buffers", 0, "uri"), "../secret.bin"),
        (("buffers", 0, "uri"), "/dev/zero"),
        (("buffers", 0, "uri"), "file:///dev/zero"),
        (("buffers", 0, "uri"), "gone.bin"),
        (("buffers", 0, "uri"), "data:application/octet-stream;base64,!!"),
        (("asset", "version"), "1.0"),
        (("extensionsRequired",), ["KHR_draco_mesh_compression"]),
        (("materials", 0, "pbrMetallicRoughness", "roughnessFactor"), "rough"),
        (("materials", 0, "pbrMetallicRoughness"), [1]),
    ],
    ids=str,
)
def test_a_document_that_lies_is_refused(tmp_path, way, value):
    way = (way,) if isinstance(way, str) else way
    refused(changed(tmp_path / "lie.glb", *way, value=value))


@pytest.mark.parametrize("scale", [np.inf, np.nan, 3e38])
def test_places_that_are_nowhere_are_refused(tmp_path, scale):
    with np.errstate(all="ignore"):
        path = face_file(tmp_path / "nowhere.glb", scale=np.float32(scale))
    assert "nowhere" in refused(path)


def test_a_tree_that_multiplies_itself_is_refused(tmp_path):
    """Thirty floors, each hanging twice on the one above: a thousand million heads."""
    nodes = [{"children": [floor + 1, floor + 1]} for floor in range(30)] + [{"mesh": 0}]
    refused(face_file(tmp_path / "tower.glb", nodes=nodes))


def test_many_parts_of_one_mesh_are_refused(tmp_path):
    assert "too many" in refused(
        changed(tmp_path / "many.glb", "meshes", 0, "primitives", value=[{"attributes": {}}] * 99_999)
    )
    nodes = [{"mesh": 0} for _ in range(1900)]
    refused(face_file(tmp_path / "crowd.glb", nodes=nodes, scenes=[{"nodes": list(range(1900))}], materials=[]))


def test_an_image_that_unpacks_to_gigabytes_is_refused(tmp_path):
    image = io.BytesIO()
    Image.new("L", (9000, 9000)).save(image, "PNG")
    build = Build()
    points = mask()
    attributes = {"POSITION": build.add(points), "TEXCOORD_0": build.add(points[:, :2].copy())}
    target = {"POSITION": build.add(shapes_of(points)["jawOpen"])}
    build.document["bufferViews"].append(
        {"buffer": 0, "byteOffset": len(build.content), "byteLength": len(image.getvalue())}
    )
    build.content += image.getvalue()
    build.document["meshes"] = [{"primitives": [{"attributes": attributes, "targets": [target], "material": 0}],
                                 "extras": {"targetNames": ["jawOpen"]}}]  # fmt: skip
    build.document["images"] = [{"bufferView": len(build.document["bufferViews"]) - 1}]
    build.document["meshes"][0]["primitives"][0]["indices"] = build.add(np.arange(63, dtype=np.uint32))
    build.document["textures"] = [{"source": 0}]
    build.document["materials"] = [{"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}]
    assert "too large" in refused(build.save(tmp_path / "bomb.glb"))


def test_text_that_is_deep_or_long_or_none_is_refused(tmp_path):
    refused(glb(tmp_path / "deep.glb", b"[" * 200_000 + b"]" * 200_000))
    refused(glb(tmp_path / "long.glb", b'{"asset": {"version": "2.0"}, "nodes": [' + b"{}," * 4_000_000 + b"{}]}"))
    refused(glb(tmp_path / "empty.glb", b"{}"))
    refused(glb(tmp_path / "number.glb", b'{"asset": {"version": "2.0"}, "scene": ' + b"9" * 5000 + b"}"))
    (tmp_path / "nothing.glb").write_bytes(b"")
    (tmp_path / "name.glb").write_bytes(b"glTF")
    for name in ("nothing.glb", "name.glb"):
        refused(tmp_path / name)
    refused(tmp_path)


def test_a_file_cut_short_anywhere_is_refused(exported, tmp_path):
    content = exported.read_bytes()
    for share in np.linspace(0, 0.9999, 23):
        (tmp_path / "cut.glb").write_bytes(content[: int(share * len(content))])
        refused(tmp_path / "cut.glb")


def test_flipped_bits_are_shown_or_refused_but_never_worse(tmp_path):
    content = bytearray(face_file(tmp_path / "whole.glb").read_bytes())
    random, outcomes = np.random.default_rng(0), set()
    began = time.monotonic()
    for _ in range(300):
        broken = bytearray(content)
        for place in random.integers(0, len(content), 3):
            broken[place] ^= 1 << int(random.integers(8))
        (tmp_path / "flipped.glb").write_bytes(broken)
        try:
            head = load_gltf_head(tmp_path / "flipped.glb")
            assert np.isfinite(head.normals(head.template)).all()
            outcomes.add("shown")
        except HeadError:
            outcomes.add("refused")
    assert outcomes == {"shown", "refused"} and time.monotonic() - began < 20


def test_every_shape_has_a_spelling_of_its_own():
    from demo.gltf_head import arkit_name

    assert all(arkit_name(name) == name for name in SHAPES)
