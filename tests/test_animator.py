"""The animator: any rate and any chopping gives the same numbered frames; each turn starts anew."""

import numpy as np
import pytest

from demo.animator import Animator
from streamingtalker.mood import MOODS, Mood
from streamingtalker.streamer import FaceStreamer
from tests.conftest import tiny_talker
from tests.server_fakes import RATE, VERTICES, TinyStreamer


def sound(seconds: float, rate: int = RATE) -> np.ndarray:
    return np.random.default_rng(1).uniform(-0.5, 0.5, round(seconds * rate)).astype(np.float32)


def animate(animator: Animator, pcm: np.ndarray, size: int) -> list:
    animator.begin()
    frames = [frame for start in range(0, len(pcm), size) for frame in animator.feed(Mood(), pcm[start : start + size])]
    return frames + animator.finish()


@pytest.mark.parametrize("rate", [16_000, 22_050, 24_000, 48_000])
def test_a_turn_has_a_frame_for_every_thirtieth_of_a_second(rate):
    frames = animate(Animator(TinyStreamer(), rate), sound(1.5, rate), rate // 5)
    assert [frame.index for frame in frames] == list(range(45))
    assert all(len(frame.offsets) == VERTICES * 3 * 2 for frame in frames)


def test_frames_come_while_the_sound_goes_on():
    animator = Animator(TinyStreamer(), RATE)
    animator.begin()
    assert animator.feed(Mood(), sound(0.05)) == []
    early = animator.feed(Mood(), sound(1.0))
    assert 20 < len(early) < 32


def test_offsets_are_the_streamers_in_half_precision():
    animator = Animator(TinyStreamer(), 16_000)
    frames = animate(animator, np.full(16_000, 0.25, np.float32), 4_000)
    offsets = np.frombuffer(frames[5].offsets, "<f2").reshape(VERTICES, 3)
    np.testing.assert_allclose(offsets, 0.25, atol=1e-3)


def test_the_pieces_do_not_matter_and_a_turn_leaves_nothing_behind():
    animator, pcm = Animator(TinyStreamer(), RATE), sound(1.0)
    first = animate(animator, pcm, 4_800)
    assert animate(animator, pcm, 777) == first
    animator.begin()
    animator.feed(Mood(), sound(0.7))  # interrupted: never finished
    assert animate(animator, pcm, 4_800) == first


def test_a_silent_turn_has_no_frames():
    assert animate(Animator(TinyStreamer(), RATE), np.zeros(0, np.float32), 100) == []


def test_a_turn_begins_in_the_mood_of_its_first_sentence():
    """The real streamer blends from where it is; before the first sound there is nothing to blend from."""
    talker = tiny_talker(moods=MOODS)
    animators = [Animator(FaceStreamer(talker), RATE) for _ in range(3)]
    for animator, begun in zip(animators, (Mood(), Mood("happy"), Mood()), strict=True):
        animator.begin(begun)
    said = (Mood("happy"), Mood("happy"), Mood())
    one, same, other = (
        animator.feed(mood, sound(0.8)) + animator.finish() for animator, mood in zip(animators, said, strict=True)
    )
    assert one == same != other


def test_the_real_streamer_fits(talker):
    animator = Animator(FaceStreamer(talker), RATE)
    frames = animate(animator, sound(0.8), 4_800)
    assert len(frames) == 24
    assert len(frames[0].offsets) == talker.dims.motion.vertices * 3 * 2


def test_frames_that_nobody_waits_for_any_more_are_no_failure(caplog):
    """The client has left in the middle of a piece: whoever computed it gets an error, nobody is told of one."""

    class Left(TinyStreamer):
        closed = False

        def feed(self, pcm: np.ndarray) -> np.ndarray:
            if self.closed:
                raise RuntimeError("left")
            return super().feed(pcm)

    animator = Animator(Left(), RATE)
    animator.begin()
    animator.feed(Mood(), sound(0.5))
    animator.close()
    animator.feed(Mood(), sound(0.5))
    animator.finish()
    assert not animator.troubles() and not caplog.records
