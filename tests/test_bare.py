"""Weights that bring their own mesh: which face is shown, how it looks, and that it speaks in the demo."""

import dataclasses

import numpy as np
import pytest

from demo.bare import FPS, bare_face, shown_face
from demo.engines import load_face
from demo.settings import Settings
from streamingtalker.checkpoint import save_talker
from streamingtalker.released import ReleasedMotion, ReleasedTalker
from streamingtalker.topology import DEFAULT_AVATAR, load_topology
from tests.test_released import DIMS, speech


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A published network over the avatar's mesh, as the converter leaves it, at 25 frames a second."""
    mesh = load_topology()
    motion = ReleasedMotion(mesh.vertex_count, width=16, layers=1, heads=2, feedforward=8, components=4, code_dim=4)
    talker = ReleasedTalker(dataclasses.replace(DIMS, motion=motion, fps=25), mesh)
    place = tmp_path_factory.mktemp("published")
    save_talker(place / "talker.safetensors", talker)
    return place


def test_the_mesh_of_the_weights_is_shown_unless_a_face_is_asked_for(folder):
    own = shown_face(Settings(talker=folder), DEFAULT_AVATAR)
    assert own.fps == 25 and [part.name for part in own.look.parts] == ["skin"]
    for settings in (Settings(talker=folder, avatar="maya"), Settings(), Settings(talker=folder, server="ws://x:1")):
        shown = shown_face(settings, DEFAULT_AVATAR)
        assert shown.fps == FPS and len(shown.look.parts) > 1


def test_it_has_eyes_that_look_and_blink():
    mesh = load_topology()
    face = bare_face(mesh, 30.0)
    assert len(face.landmarks.eyes) == 2 and len(face.landmarks.shapes) == 2
    assert len(np.unique(face.look.colors, axis=0)) == 4
    np.testing.assert_allclose(face.look.surface(mesh.template), mesh.template, atol=1e-6)
    assert face.look.pivots[0, 0] > 0 > face.look.pivots[1, 0]


def test_without_regions_it_looks_the_same():
    mesh = load_topology()
    bare = dataclasses.replace(mesh, upper_face=np.zeros(0, np.int32), lips=mesh.lip_pairs.ravel())
    face, other = bare_face(mesh, 30.0), bare_face(bare, 30.0)
    np.testing.assert_array_equal(other.look.colors, face.look.colors)
    assert other.landmarks.unit == pytest.approx(face.landmarks.unit, rel=0.1)


def test_without_eyeballs_it_still_stands_before_the_camera():
    mesh = load_topology()
    eyes = np.concatenate([eye.members for eye in bare_face(mesh, 30.0).landmarks.eyes])
    blind = dataclasses.replace(mesh, faces=mesh.faces[~np.isin(mesh.faces, eyes).any(axis=1)])
    face = bare_face(blind, 30.0)
    assert not face.landmarks.eyes and np.isfinite(face.look.pivots).all()


def test_it_speaks_before_the_voice_is_over(folder):
    face = load_face(Settings(talker=folder, device="cpu"))
    assert (face.fps, face.vertices) == (25, load_topology().vertex_count)
    streamer = face.new_streamer()
    first = np.concatenate([streamer.feed(speech(2.0)), streamer.feed(speech(0.0))])
    assert 20 < len(first) < 50 and len(first) + len(streamer.finish()) == 50
