"""All avatars: one mesh, faces of their own, and what the reference's motion does on each of them."""

import numpy as np
import pytest

from demo.avatar import Avatar, load_avatar
from demo.look import camera_pose, field_of_view
from streamingtalker.bake.characters import CHARACTERS
from streamingtalker.data.visemes import CHANNEL_NAMES, VISEMES, LipSeal, to_shapes
from streamingtalker.topology import DEFAULT_AVATAR, avatar_names, avatar_path, load_rig
from tests.test_avatar import MM, part, visible

NAMES = avatar_names()


@pytest.fixture(scope="module")
def reference():
    return load_rig(DEFAULT_AVATAR)


@pytest.fixture(scope="module", params=NAMES)
def avatar(request) -> Avatar:
    return load_avatar(avatar_path(request.param))


def visemes(rig, closed: bool) -> np.ndarray:
    """The reference's offsets [n, V, 3] for all visemes, with the lips brought together or as they are."""
    weights = to_shapes(np.stack(list(VISEMES.values())), rig.shape_names)
    return rig.offsets(LipSeal.of(rig).bring_to(weights, 0.0002, np.ones(len(weights))) if closed else weights)


def gaps(face, vertices: np.ndarray) -> np.ndarray:
    """Metres [n, 5] between the lips of each pair."""
    upper, lower = np.moveaxis(vertices[:, face.lip_pairs], 2, 0)
    return np.linalg.norm(upper - lower, axis=-1)


def test_everybody_in_the_recipes_is_there_and_small():
    assert set(NAMES) == set(CHARACTERS) and len(NAMES) >= 4
    for name in NAMES:
        assert load_rig(avatar_path(name)).topology.name == name
        assert avatar_path(name).stat().st_size <= 5e6, name


def test_all_share_mesh_and_shapes(avatar: Avatar, reference):
    own = avatar.topology
    for name in ("faces", "lip_pairs", "lips", "upper_face"):
        assert np.array_equal(getattr(own, name), getattr(reference.topology, name)), name
    assert avatar.rig.shape_names == reference.shape_names
    assert np.array_equal(avatar.rig.shapes, reference.shapes)
    differs = np.linalg.norm(own.template - reference.topology.template, axis=1).mean()
    assert differs > 2 * MM or own.name == reference.topology.name  # a face of its own


def test_lips_rest_as_the_references_do(avatar: Avatar, reference):
    own, its = (gaps(face, face.template[None])[0] for face in (avatar.topology, reference.topology))
    assert np.abs(own - its).max() < 0.15 * MM


def test_lips_open_as_far_as_the_references_at_every_viseme(avatar: Avatar, reference):
    for closed in (False, True):
        offsets = visemes(reference, closed)
        own, its = (gaps(face, face.template + offsets) for face in (avatar.topology, reference.topology))
        assert np.abs(own - its).max() < 0.35 * MM


def test_lips_meet_at_m_b_p_and_still_when_smiling(avatar: Avatar, reference):
    closed = visemes(reference, closed=True)[list(VISEMES).index("p")]
    smile = sum(reference.shapes[reference.shape_names.index(f"mouthSmile{side}")] for side in ("Left", "Right"))
    for weight in (0.0, 0.3, 0.6):
        met = gaps(avatar.topology, (avatar.template + closed + weight * smile)[None])[0]
        assert met.mean() < 1.5 * MM


def test_upper_lip_stays_above_the_lower(avatar: Avatar, reference):
    upper, lower = np.moveaxis((avatar.template + visemes(reference, closed=False))[:, avatar.topology.lip_pairs], 2, 0)
    assert (upper - lower)[..., 1].min() > -0.3 * MM


def test_teeth_and_tongue_stay_behind_their_lip(avatar: Avatar, reference):
    """At every viseme, but for the tongue where a viseme puts it out."""
    out = {name for name, channels in VISEMES.items() if channels[CHANNEL_NAMES.index("tongue")] > 0}
    for name, offsets in zip(VISEMES, visemes(reference, closed=False), strict=True):
        vertices = avatar.template + offsets
        upper, lower = vertices[avatar.topology.lip_pairs[2], 2]
        drawn = avatar.surface(vertices)
        for inner, lip in {"teeth_upper": upper, "teeth_lower": lower, "tongue": lower}.items():
            if inner != "tongue" or name not in out:
                assert drawn[part(avatar, inner), 2].max() < lip - 2 * MM, (name, inner)


@pytest.mark.parametrize("side", ["Left", "Right"])
def test_lids_close_over_the_eye(avatar: Avatar, reference, side: str):
    index, eye = ("Left", "Right").index(side), part(avatar, f"eye_{side.lower()}")
    blink = reference.shapes[reference.shape_names.index(f"eyeBlink{side}")]
    assert visible(avatar, avatar.surface(avatar.template), eye, avatar.pivots[index]) > 0.2
    assert visible(avatar, avatar.surface(avatar.template + blink), eye, avatar.pivots[index]) == 0.0


def test_hair_and_top_do_not_follow_speech(avatar: Avatar, reference):
    for offsets in visemes(reference, closed=False):
        moved = avatar.weights @ offsets
        for name in ("hair", "hair_under", "top"):
            assert np.abs(moved[part(avatar, name)]).max() < 0.1 * MM, name


def test_drawing_is_cheap_enough_for_software_opengl(avatar: Avatar):
    assert len(avatar.faces) <= 43_000
    assert len(avatar.colors) <= 30_000


@pytest.mark.parametrize("aspect", [9 / 16, 1.0, 16 / 9, 21 / 9])
def test_the_head_fits_any_window_with_headroom(avatar: Avatar, aspect: float):
    camera, drawn = camera_pose(avatar)[:3, 3], avatar.surface(avatar.template)
    half = np.tan(field_of_view(avatar, aspect) / 2)
    head = drawn[drawn[:, 1] > avatar.mouth[1] - 0.06] - camera
    across, up = np.abs(head[:, 0] / -head[:, 2]).max() / (half * aspect), (head[:, 1] / -head[:, 2]).max() / half
    assert across < 0.9
    assert 0.0 < up < 0.97
