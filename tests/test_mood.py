"""Moods: their names, their intensities and how one blends into the next."""

import numpy as np
import pytest

from streamingtalker.mood import BLEND_SECONDS, MOODS, Mood, MoodBlend, MoodChange, MoodError, mood_curve


def test_a_mood_is_read_as_it_is_written():
    for mood in (Mood(), Mood("happy"), Mood("sad", 0.25)):
        assert Mood.parse(str(mood)) == mood
    assert Mood.parse(" Surprised : 0.5 ") == Mood("surprised", 0.5)


@pytest.mark.parametrize("text", ["angry", "", "happy:", "happy:x", "happy:1.5", "happy:-1", "happy:nan"])
def test_what_is_no_mood_is_refused_by_name(text):
    with pytest.raises(MoodError):
        Mood.parse(text)


def test_a_mood_the_model_does_not_know_shows_a_neutral_face():
    assert Mood("sad", 0.5).vector().tolist() == [0, 0, 0.5, 0]
    assert Mood("sad").vector(("happy",)).tolist() == [0] and Mood().vector().tolist() == [0] * len(MOODS)


def test_a_change_takes_half_a_second_and_begins_where_the_face_is():
    changes = [MoodChange(0, Mood("happy")), MoodChange(1, Mood("sad")), MoodChange(1.25, Mood())]
    curve = mood_curve(changes, 100, 40)
    assert (curve[:40] == [1, 0, 0, 0]).all()
    assert curve[50] == pytest.approx([0.575, 0, 0.425, 0], abs=0.01)
    assert np.abs(np.diff(curve, axis=0)).max() < 1.6 / (BLEND_SECONDS * 40) and (curve[70:] == 0).all()


def test_a_stream_blends_like_the_curve_however_it_is_cut():
    blend = MoodBlend(30, mood=Mood("happy", 0.8))
    before = blend.next(7)
    blend.turn_to(Mood("surprised"))
    pieces = [before, blend.next(1), blend.next(4), blend.next(0), blend.next(20)]
    changes = [MoodChange(0, Mood("happy", 0.8)), MoodChange(6 / 30, Mood("surprised"))]
    np.testing.assert_allclose(np.concatenate(pieces), mood_curve(changes, 32, 30), atol=1e-6)


def test_a_stream_follows_moods_known_ahead_frame_by_frame_and_goes_on_from_their_end():
    changes = [MoodChange(0, Mood("happy")), MoodChange(0.41, Mood("sad", 0.5))]
    curve, blend = mood_curve(changes, 20, 30), MoodBlend(30)
    blend.follow(curve)
    pieces = [blend.next(count) for count in (1, 0, 12, 10)]
    np.testing.assert_array_equal(np.concatenate(pieces)[:20], curve)
    np.testing.assert_array_equal(pieces[-1][-3:], curve[[-1, -1, -1]])
    blend.turn_to(Mood())
    assert np.abs(np.diff(np.concatenate([curve[-1:], blend.next(20)]), axis=0)).max() < 0.1
    blend.follow(curve)
    blend.reset(Mood())
    assert not blend.next(20).any()
