"""What holds of the committed avatar, and of the drawn surface in general."""

from pathlib import Path

import numpy as np
import pytest

from demo.avatar import Avatar, load_avatar
from streamingtalker.bake.rig import SHAPES
from streamingtalker.errors import UserError
from streamingtalker.tensor_file import CheckpointError, read_tensors, write_tensors
from streamingtalker.topology import DEFAULT_AVATAR, avatar_names, avatar_path, load_topology

MM = 1e-3


@pytest.fixture(scope="module")
def maya() -> Avatar:
    return load_avatar()


def pose(avatar: Avatar, **weights: float) -> np.ndarray:
    """The talking mesh with some shapes; a name without its side means both."""
    row = np.zeros((1, len(SHAPES)), np.float32)
    for name, weight in weights.items():
        for full in [name] if name in SHAPES else [f"{name}Left", f"{name}Right"]:
            row[0, avatar.rig.shape_names.index(full)] = weight
    return avatar.template + avatar.rig.offsets(row)[0]


def lip_gaps(avatar: Avatar, **weights: float) -> np.ndarray:
    """Metres [5] between the lips of each pair."""
    upper, lower = pose(avatar, **weights)[avatar.topology.lip_pairs].transpose(1, 0, 2)
    return np.linalg.norm(upper - lower, axis=1)


def part(avatar: Avatar, name: str) -> slice:
    """The vertices of a drawn part."""
    return next(slice(*part.vertices) for part in avatar.parts if part.name == name)


def test_vertex_count_and_names_are_frozen(maya: Avatar):
    assert maya.topology.vertex_count == 5534  # trained weights depend on it
    assert maya.rig.shape_names == SHAPES
    assert len(set(SHAPES)) == 52
    assert {"jawOpen", "mouthClose", "tongueOut", "eyeBlinkLeft", "eyeBlinkRight"} <= set(SHAPES)


def test_everything_is_finite_and_indices_are_valid(maya: Avatar):
    tensors, _ = read_tensors(DEFAULT_AVATAR, kind="avatar")
    for name, tensor in tensors.items():
        assert np.isfinite(tensor).all(), name
    count, drawn = maya.topology.vertex_count, len(maya.colors)
    for name in ("faces", "lip_pairs", "lips", "upper_face"):
        indices = getattr(maya.topology, name)
        assert indices.min() >= 0 and indices.max() < count, name
    assert maya.faces.min() == 0 and maya.faces.max() == drawn - 1
    assert maya.weights.shape == (drawn, count)


def test_face_has_the_measures_of_a_face(maya: Avatar):
    left, right = maya.pivots
    assert left[0] > 0 > right[0]  # the avatar's own left is +x
    assert 0.05 < left[0] - right[0] < 0.07
    assert maya.mouth[1] < left[1] and maya.mouth[2] > left[2]
    assert maya.template[:, 1].max() - maya.mouth[1] < 0.2


def test_lip_pairs_run_from_the_viewers_left_to_right(maya: Avatar):
    across = maya.template[maya.topology.lip_pairs, 0].mean(axis=1)
    assert (np.diff(across) > 2 * MM).all()
    assert abs(across[2]) < MM
    upper, lower = pose(maya, jawOpen=0.5)[maya.topology.lip_pairs].transpose(1, 0, 2)
    assert (upper[:, 1] > lower[:, 1] + 5 * MM).all()
    assert np.isin(maya.topology.lip_pairs, maya.topology.lips).all()


def test_lips_are_closed_at_rest(maya: Avatar):
    assert lip_gaps(maya).max() < MM


@pytest.mark.parametrize("opening", [0.05, 0.3, 0.6, 1.0])
def test_mouth_close_closes_an_open_jaw(maya: Avatar, opening: float):
    assert lip_gaps(maya, jawOpen=opening).max() > 20 * MM * opening
    assert lip_gaps(maya, jawOpen=opening, mouthClose=opening).max() < MM


def test_lower_teeth_and_tongue_follow_the_jaw(maya: Avatar):
    rest, open_ = maya.surface(maya.template), maya.surface(pose(maya, jawOpen=1.0))
    for name in ("teeth_lower", "gums_lower", "tongue"):
        front = rest[part(maya, name), 2] > np.median(rest[part(maya, name), 2])  # the tongue's root stays
        assert (open_ - rest)[part(maya, name), 1][front].mean() < -12 * MM, name
    for name in ("teeth_upper", "hair", "eye_left", "top"):
        assert np.abs(open_ - rest)[part(maya, name)].max() < 0.1 * MM, name


def test_teeth_stay_behind_closed_lips(maya: Avatar):
    lips = maya.template[maya.topology.lip_pairs[2], 2].min()
    drawn = maya.surface(maya.template)
    for name in ("teeth_upper", "teeth_lower", "tongue"):
        assert drawn[part(maya, name), 2].max() < lips - 5 * MM, name


@pytest.mark.parametrize("side", ["Left", "Right"])
def test_lids_close_fully_over_the_eye(maya: Avatar, side: str):
    """With closed lids no ray from the front reaches the eyeball where it showed before."""
    index = 0 if side == "Left" else 1
    eye = part(maya, f"eye_{side.lower()}")
    centre = maya.pivots[index]
    assert visible(maya, maya.surface(maya.template), eye, centre) > 0.2
    assert visible(maya, maya.surface(pose(maya, **{f"eyeBlink{side}": 1.0})), eye, centre) == 0.0


def visible(avatar: Avatar, positions: np.ndarray, eye: slice, centre: np.ndarray) -> float:
    """The share of a grid of points before an eye where the eyeball is in front of the skin."""
    skin = next(entry for entry in avatar.parts if entry.name == "skin")
    a, b, c = (positions[avatar.faces[slice(*skin.faces)][:, corner]] for corner in range(3))
    near = (np.abs(a[:, :2] - centre[:2]) < 0.022).all(axis=1) & (a[:, 2] > centre[2])
    a, b, c = a[near], b[near], c[near]
    a2, b2, c2 = a[:, :2], b[:, :2], c[:, :2]
    offsets = np.stack(np.meshgrid(np.linspace(-0.010, 0.010, 21), np.linspace(-0.008, 0.008, 17)), -1).reshape(-1, 2)
    radius = np.linalg.norm(positions[eye] - centre, axis=1).max()
    ball = centre[2] + np.sqrt(radius**2 - (offsets**2).sum(axis=1))
    point = centre[:2] + offsets
    area = _cross2(b2 - a2, c2 - a2)
    u = _cross2(b2[None] - point[:, None], c2[None] - point[:, None]) / area
    v = _cross2(c2[None] - point[:, None], a2[None] - point[:, None]) / area
    inside = (u >= 0) & (v >= 0) & (u + v <= 1)
    height = np.where(inside, u * a[:, 2] + v * b[:, 2] + (1 - u - v) * c[:, 2], -np.inf).max(axis=1)
    return float((height < ball - 0.5 * MM).mean())


def _cross2(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def test_surface_is_an_average_of_the_talking_mesh(maya: Avatar):
    assert np.allclose(maya.weights.sum(axis=1), 1, atol=1e-5)
    turn = np.array([[0.8, 0, 0.6], [0, 1, 0], [-0.6, 0, 0.8]], np.float32)
    shift = np.array([0.1, -0.2, 0.3], np.float32)
    moved = maya.surface(maya.template @ turn.T + shift)
    assert np.allclose(moved, maya.surface(maya.template) @ turn.T + shift, atol=1e-5)
    assert moved.dtype == np.float32


def test_top_stays_when_only_the_head_turns(maya: Avatar):
    """The cloth hangs on the shoulders, the hair on the skull."""
    vertices = maya.template.copy()
    vertices[vertices[:, 1] > -0.08] += np.float32([0.01, 0, 0])
    moved = maya.surface(vertices) - maya.surface(maya.template)
    assert np.abs(moved[part(maya, "top")]).max() < 0.1 * MM
    assert np.allclose(moved[part(maya, "hair"), 0], 0.01, atol=1e-5)


def test_normals_are_unit_and_point_outwards(maya: Avatar):
    positions = maya.surface(maya.template)
    normals = maya.normals(positions)
    assert np.allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-3)
    for index, name in enumerate(("eye_left", "eye_right")):
        outward = positions[part(maya, name)] - maya.pivots[index]
        assert ((normals[part(maya, name)] * outward).sum(axis=1) > 0).mean() > 0.99
    nose = positions[part(maya, "skin"), 2].argmax()
    assert normals[part(maya, "skin")][nose, 2] > 0.8


def test_parts_cover_the_surface_once(maya: Avatar):
    assert [part.vertices[0] for part in maya.parts[1:]] == [part.vertices[1] for part in maya.parts[:-1]]
    assert [part.faces[0] for part in maya.parts[1:]] == [part.faces[1] for part in maya.parts[:-1]]
    assert maya.parts[-1].vertices[1] == len(maya.colors) and maya.parts[-1].faces[1] == len(maya.faces)
    for entry in maya.parts:
        corners = maya.faces[slice(*entry.faces)]
        assert corners.min() >= entry.vertices[0] and corners.max() < entry.vertices[1], entry.name


def test_drawing_is_cheap_enough_for_software_opengl(maya: Avatar):
    assert len(maya.faces) <= 45_000
    assert len(maya.colors) <= 27_000


def test_what_is_drawn_is_used(maya: Avatar):
    assert np.array_equal(np.unique(maya.faces), np.arange(len(maya.colors)))


def test_credits_name_the_sources(maya: Avatar):
    assert any("MakeHuman" in line for line in maya.credits)
    assert any("Suominen" in line for line in maya.credits)


def test_topology_alone_is_the_avatars(maya: Avatar):
    assert np.array_equal(load_topology().faces, maya.topology.faces)


def test_file_without_a_surface_is_refused(tmp_path: Path):
    tensors, metadata = read_tensors(DEFAULT_AVATAR, kind="avatar")
    rest = {name: tensor for name, tensor in tensors.items() if not name.startswith("surface/")}
    write_tensors(tmp_path / "bare.safetensors", rest, "avatar", {k: v for k, v in metadata.items() if k != "kind"})
    with pytest.raises(CheckpointError, match="bake it again"):
        load_avatar(tmp_path / "bare.safetensors")


def test_an_avatar_is_named_or_a_file(tmp_path: Path):
    assert avatar_path("maya") == DEFAULT_AVATAR
    assert avatar_path(DEFAULT_AVATAR) == DEFAULT_AVATAR
    assert "maya" in avatar_names() and list(avatar_names()) == sorted(avatar_names())
    for wrong in ("nobody", "../avatars/maya", tmp_path / "gone.safetensors"):
        with pytest.raises(UserError, match=r"There is no avatar .*, only .*maya"):
            avatar_path(wrong)
