"""What counts as a shape, what is counted, the choice of the test set, the shares at heard phones: by hand."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from streamingtalker import metrics
from streamingtalker.data.dataset import Clip
from streamingtalker.evaluation import measures, moods, recording, testset
from streamingtalker.evaluation.measures import KEYS, MEASURES, SEEN, UNSEEN, Measure, measure_clip, ratios, reached
from streamingtalker.evaluation.mouth import Motion, Mouth, Thresholds
from streamingtalker.evaluation.tally import Scores, shuffled
from tests.conftest import tiny_face

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
    assert mean == 3 and half == pytest.approx(2.776445 * np.sqrt(2.5) / np.sqrt(5))
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
    assert table["lip_error"]["interval"] == pytest.approx(12.706205 * np.std([1.5, 3.5], ddof=1) / np.sqrt(2))


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


# - recordings -


def test_lips_at_heard_phones_and_at_other_times():
    opening = np.full(90, 0.01)
    opening[[30, 31, 60, 61]] = 0.0
    heard = [recording.Heard("m", 32 / 30), recording.Heard("b", 62 / 30), recording.Heard("aa", 45 / 30)]
    found = recording.judge(motion(opening), heard, LIMITS, 30)
    assert found["closed at its m b p"].share == 1 and found["closed at its m b p"].phones == 2
    assert found["closed at its m b p"].by_chance < 0.3
    assert found["open at its vowels"].share == 1
    assert found["round at its u o w"].phones == 0 and np.isnan(found["round at its u o w"].share)


def test_foreign_symbols_are_left_out():
    heard = recording.phones_of([("oʊ", 0.1), ("tʰ", 0.2), ("꜔", 0.3), ("b", 0.4)])
    assert [(each.name, each.seconds) for each in heard] == [("ow", 0.1), ("t", 0.2), ("b", 0.4)]


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
