"""Captions and signs: made once, readable, wrapped, away from the mouth."""

import numpy as np
import pytest

from demo.overlay import Captions, Overlay, font, wrap

LONG = "This is a rather long answer that goes on and on, " * 6
SIZES = [(640, 640), (512, 512), (1920, 1080), (360, 800)]


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("reply", ["Yes.", LONG])
def test_captions_stay_in_the_picture_and_below_the_chin(width, height, reply):
    for patch in Overlay().patches(Captions("speaking", LONG, reply, LONG), width, height):
        rows, columns = patch.pixels.shape[:2]
        assert patch.left >= 0 and patch.top >= 0
        assert patch.left + columns <= width and patch.top + rows <= height
        assert patch.top + rows < 0.2 * height or patch.top > 0.66 * height
        assert patch.pixels.dtype == np.uint8 and patch.pixels[..., 3].max() == 255


def test_nothing_is_drawn_for_nothing():
    assert Overlay().patches(Captions(), 640, 640) == []


def test_what_has_not_changed_is_the_same_patch():
    overlay = Overlay()
    state, words = overlay.patches(Captions("listening", "Who"), 640, 640)
    assert overlay.patches(Captions("listening", "Who"), 640, 640) == [state, words]
    again, longer = overlay.patches(Captions("listening", "Who are"), 640, 640)
    assert again is state and longer is not words
    assert overlay.patches(Captions("listening", "Who are"), 800, 640)[0] is not state


def test_every_state_has_its_own_sign():
    signs = [
        Overlay().patches(Captions(state), 640, 640)[0] for state in ("listening", "hearing", "thinking", "speaking")
    ]
    assert len({sign.pixels.tobytes() for sign in signs}) == 4


@pytest.mark.parametrize(
    "text", [LONG, "x" * 300, "이것은 매우 긴 문장입니다 " * 9, "Donaudampfschifffahrtsgesellschaft " * 4]
)
def test_lines_are_no_wider_than_allowed_and_lose_no_letter(text):
    face = font(20, text)
    lines = wrap(text, face, 200)
    assert max(face.getlength(line) for line in lines) <= 200
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


def test_of_a_long_question_the_newest_words_are_shown():
    def words(user):
        return Overlay().patches(Captions(user=user), 640, 640)[0].pixels

    assert not np.array_equal(words(LONG + " first"), words(LONG + " second"))


def test_an_emoji_needs_no_eastern_font(caplog):
    font(16, "❤️ 🤔 Who are you?")
    assert not caplog.records


def test_a_long_notice_leaves_the_sign_free():
    captions = Captions(state="speaking", notice="Whisper tiny.en listens instead of Vosk: its site cannot be reached.")
    for width, height in ((640, 640), (1280, 720), (400, 640)):
        sign, notice = Overlay().patches(captions, width, height)
        assert sign.left + sign.pixels.shape[1] < notice.left
