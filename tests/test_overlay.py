"""Captions and signs: made once, readable, wrapped, away from the mouth."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from demo.avatar import load_avatar
from demo.controls import help_rows
from demo.life import Bearing, Landmarks, Life
from demo.look import Area, camera_pose, features, field_of_view
from demo.overlay import Captions, Meter, Overlay, Reading, Trouble, font, wrap
from demo.overlay.lettering import letters
from demo.overlay.speech import caption_size
from streamingtalker.topology import avatar_names, avatar_path
from tests.conftest import missing

LONG = "This is a rather long answer that goes on and on, " * 6
CHINESE = "语音识别、语言模型、声音和人脸模型都在同一台笔记本电脑上运行。" * 3
SIZES = [
    (640, 640),
    (512, 512),
    (1920, 1080),
    (1080, 1920),
    (1024, 768),
    (360, 800),
    (320, 320),
    (700, 300),
    (260, 520),
]
STATES = ("listening", "hearing", "thinking", "speaking")
SPANS = ("endpoint", "recognition", "first token", "first sentence", "voice", "first frame", "loudspeaker")
FIGURES = (
    ("voice to voice", "1812 ms"),
    *((f"· {name}", "310 ms") for name in SPANS),
    ("pictures/s", "30.0"),
    ("A/V offset", "-3 ms"),
    ("· 5 … 95 %", "-18 … +16"),
    ("late pictures", "2"),
    ("late sound", "1"),
)
NOTICE = (
    "Whisper tiny.en listens instead of Vosk: https://alphacephei.com/vosk/models cannot be reached, so the model "
    "vosk-en cannot be fetched."
)
FULL = Captions("speaking", LONG, LONG, 40, LONG, Reading(7, Trouble.LOUD), FIGURES)


def overlaps(one, other) -> bool:
    return one.left < other.right and other.left < one.right and one.top < other.bottom and other.top < one.bottom


# --- where things lie ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("text", ["Yes.", LONG, CHINESE])
def test_everything_stays_in_the_picture_and_nothing_lies_on_anything(width, height, text):
    made = Overlay().patches(replace(FULL, user=text, reply=text, notice=text), width, height)
    for patch in made:
        assert patch.left >= 0 and patch.top >= 0 and patch.right <= width and patch.bottom <= height
        assert patch.pixels.dtype == np.uint8 and patch.pixels[..., 3].max() > 240
    assert len(made) == 6
    assert not [pair for pair in itertools.combinations(made, 2) if overlaps(*pair)]


@pytest.fixture(scope="module")
def chins():
    """How far down each avatar's chin gets while the jaw falls open as in speech, by width over height."""

    def lowest(avatar, aspect: float) -> float:
        jaw = avatar.rig.shapes[avatar.rig.shape_names.index("jawOpen")]
        rest, spoken = avatar.surface(avatar.template), avatar.surface(avatar.template + 0.8 * jaw)
        moved = np.linalg.norm(spoken - rest, axis=1)
        seen = spoken[moved > 0.5 * moved.max()] - camera_pose(avatar)[:3, 3]
        half = np.tan(field_of_view(avatar, aspect) / 2)
        return float((0.5 - seen[:, 1] / -seen[:, 2] / half / 2).max())

    avatars = [load_avatar(avatar_path(name)) for name in avatar_names()]
    return {size: max(lowest(avatar, size[0] / size[1]) for avatar in avatars) for size in SIZES}


@pytest.mark.parametrize("asked", ["", LONG])
@pytest.mark.parametrize("size", SIZES)
def test_captions_cover_neither_mouth_nor_chin(chins, size, asked):
    nod = 0.02
    for reply, spoken in (("", None), (LONG, 40), (LONG, 200)):
        for patch in Overlay().patches(Captions(user=asked, reply=reply, spoken=spoken), *size):
            assert patch.top > (chins[size] + nod) * size[1]


def moving_features(avatar) -> np.ndarray:
    """Eyes with their lids, and lips, of a face that lives and speaks for a while: [n, 3] metres."""
    rig = avatar.rig
    shapes = dict(zip(rig.shape_names, rig.shapes, strict=True))
    blinks = np.linalg.norm(shapes["eyeBlinkLeft"] + shapes["eyeBlinkRight"], axis=1)
    members = np.unique(np.concatenate([*rig.eyes, np.flatnonzero(blinks > 0.3 * blinks.max()), rig.topology.lips]))
    life = Life(Landmarks.of_rig(rig), viewer=camera_pose(avatar)[:3, 3])
    seen = [(avatar.template + 0.8 * shapes["jawOpen"])[members]]
    for number, state in enumerate(state for state in STATES for _ in range(10)):
        life.bearing = Bearing(state)
        seen.append((avatar.template + life.offsets(0.4 * number))[members])
    return np.concatenate(seen)


@pytest.fixture(scope="module")
def faces():
    """By size: what part of the picture eyes, nose and mouth of any avatar take."""
    avatars = [load_avatar(avatar_path(name)) for name in avatar_names()]
    moving = [(avatar, moving_features(avatar) - camera_pose(avatar)[:3, 3]) for avatar in avatars]

    def seen(width: int, height: int) -> Area:
        places = []
        for avatar, points in moving:
            unit = height / 2 / np.tan(field_of_view(avatar, width / height) / 2) / -points[:, 2:]
            places.append((width / 2, height / 2) + points[:, :2] * (1, -1) * unit)
        places = np.concatenate(places)
        return Area(*places.min(axis=0).astype(int), *np.ceil(places.max(axis=0)).astype(int))

    return {size: seen(*size) for size in SIZES}


@pytest.mark.parametrize("size", SIZES)
def test_where_the_features_may_get_is_known_without_knowing_the_face(faces, size):
    face, allowed = faces[size], features(*size)
    assert allowed.left <= face.left and allowed.top <= face.top
    assert allowed.right >= face.right and allowed.bottom >= face.bottom
    assert allowed.right - allowed.left < 1.5 * (face.right - face.left), "and no more is kept free than needed"


@pytest.mark.parametrize("notice", ["", "Bye.", NOTICE, LONG])
@pytest.mark.parametrize("state", ["", "hearing"])
@pytest.mark.parametrize("size", [size for size in SIZES if min(size) >= 300])  # in smaller ones letters stay 7 pixels
def test_neither_figures_nor_notices_cover_eyes_nose_or_mouth(faces, size, state, notice):
    microphone = Reading(7, Trouble.LOUD) if state else None
    for patch in Overlay().patches(replace(FULL, state=state, notice=notice, microphone=microphone), *size):
        assert not overlaps(patch, faces[size])


@pytest.mark.parametrize("size", [(640, 640), (1920, 1080), (1080, 1920), (1024, 768)])
def test_a_long_notice_is_shown_to_its_end(size):
    one, other = (
        Overlay().patches(replace(FULL, notice=notice), *size)[2].pixels for notice in (NOTICE, NOTICE[:-2] + "D.")
    )
    assert not np.array_equal(one, other)


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_letters_are_legible_from_afar(width, height):
    """Two boxes of one line each: they are as high as their letters make them."""
    user, reply = Overlay().patches(Captions(user="Hgpq", reply="Hgpq"), width, height)
    for box in (user, reply):
        bright = np.flatnonzero((box.pixels[4:-4, 8:-8, 1] > 150).any(axis=1))
        assert bright[-1] - bright[0] + 1 >= 0.9 * height / 24, "from the top of H to the foot of g"
    assert caption_size(height) >= height / 24


def contrast(ink: np.ndarray, paper: np.ndarray) -> float:
    """WCAG's contrast of two sRGB colours."""

    def luminance(color: np.ndarray) -> float:
        share = color / 255
        linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    light, dark = sorted((luminance(ink), luminance(paper)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("backdrop", [0, 60, 130])  # of the picture behind; clothes and skin are no lighter down there
def test_words_stand_out_from_what_is_behind(backdrop):
    for box in Overlay().patches(FULL, 640, 640):
        alpha = box.pixels[..., 3:] / 255
        seen = box.pixels[..., :3] * alpha + backdrop * (1 - alpha)
        ink = seen.reshape(-1, 3)[seen.sum(axis=-1).argmax()]
        paper = seen[seen.shape[0] // 2, seen.shape[1] - 4]
        assert contrast(ink, np.asarray(paper)) > 4.5 or box.pixels.shape[0] < 40


# --- what they show --------------------------------------------------------------------------------------------------


def test_nothing_is_drawn_for_nothing():
    assert Overlay().patches(Captions(), 640, 640) == []


def test_every_state_has_its_own_shape_and_word():
    signs = [Overlay().patches(Captions(state), 640, 640)[0].pixels for state in STATES]
    masks = [sign[:, : sign.shape[0], :3].max(axis=-1) > 60 for sign in signs]  # without colour: where the shape is
    for one, other in itertools.combinations(masks, 2):
        assert (one != other).mean() > 0.02
    assert len({sign.shape[1] for sign in signs}) > 1


def test_what_both_sides_say_differs_not_in_colour_alone():
    user, reply = Overlay().patches(Captions(user="The same", reply="The same"), 640, 640)
    outlined = [box.pixels[box.pixels.shape[0] // 2, 0, :3].max() > 100 for box in (user, reply)]
    assert outlined == [True, False] and user.bottom <= reply.top


@pytest.mark.parametrize(
    "text", [LONG, "x" * 300, "이것은 매우 긴 문장입니다 " * 9, "Donaudampfschifffahrtsgesellschaft " * 4, CHINESE]
)
def test_lines_are_no_wider_than_allowed_and_lose_no_letter(text):
    face = font(20, text)
    lines = wrap(text, face, 200)
    assert max(face.getlength(line) for line in lines) <= 200
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


def test_no_line_begins_with_a_stop():
    assert not [line for line in wrap(CHINESE, font(20, CHINESE), 200) if line[0] in "、。"]


def test_of_a_long_question_the_newest_words_are_shown():
    def words(user):
        return Overlay().patches(Captions(user=user), 640, 640)[0].pixels

    assert not np.array_equal(words(LONG + " first"), words(LONG + " second"))


@pytest.mark.parametrize(
    "text", ["Grüße aus Köln: weiß, süß, öde", "Ça va, garçon ? Où est l'œuvre ?", "안녕하세요", "你好，世界"]
)
def test_letters_of_other_languages_are_no_boxes(text, caplog):
    face = font(40, text)
    if caplog.records:
        missing(caplog.records[0].getMessage())
    known = {letter for letter in text if letter.isalpha()}
    assert len({bytes(face.getmask(letter)) for letter in known}) == len(known), "all missing letters look the same"


def test_an_emoji_needs_no_eastern_font(caplog):
    font(16, "❤️ 🤔 Who are you?")
    assert not caplog.records


# --- the reply, word by word -----------------------------------------------------------------------------------------


def ink(patch) -> int:
    return int((patch.pixels[..., :3].min(axis=-1) > 200).sum())


def test_words_appear_one_after_another_and_stay_where_they_are():
    overlay, text = Overlay(), "One two three."
    boxes = [overlay.patches(Captions(reply=text, spoken=count), 640, 640)[0] for count in (0, 3, 6, 12)]
    assert [ink(box) > ink(before) for before, box in itertools.pairwise(boxes)] == [True] * 3 and ink(boxes[0]) == 0
    assert len({(box.left, box.top, box.pixels.shape) for box in boxes}) == 1
    for before, box in itertools.pairwise(boxes):
        written = before.pixels[..., :3].min(axis=-1) > 200
        np.testing.assert_array_equal(box.pixels[written], before.pixels[written])
    whole = Overlay().patches(Captions(reply=text), 640, 640)[0]
    np.testing.assert_array_equal(boxes[-1].pixels, whole.pixels)


def test_words_once_shown_do_not_vanish_when_the_estimate_is_corrected():
    overlay = Overlay()
    later = overlay.patches(Captions(reply="One two three.", spoken=6), 640, 640)
    assert overlay.patches(Captions(reply="One two three.", spoken=3), 640, 640) == later
    (other,) = overlay.patches(Captions(reply="One two four.", spoken=3), 640, 640)
    assert ink(other) < ink(later[0]), "another sentence begins anew"


def test_a_long_sentence_is_shown_in_pages_that_turn_with_the_voice():
    overlay, text = Overlay(), "a" * 20 + " " + LONG
    pages = [overlay.patches(Captions(reply=text, spoken=count), 640, 640)[0] for count in range(0, letters(text), 5)]
    most = max(ink(page) for page in pages)
    falls = sum(ink(page) < 0.5 * ink(before) for before, page in itertools.pairwise(pages) if ink(before) > 0.8 * most)
    assert falls >= 1 and all(ink(page) for page in pages[1:])


# --- what it costs ---------------------------------------------------------------------------------------------------


def test_what_has_not_changed_is_the_same_patch():
    overlay = Overlay()
    state, words = overlay.patches(Captions("listening", "Who"), 640, 640)
    assert overlay.patches(Captions("listening", "Who"), 640, 640) == [state, words]
    again, longer = overlay.patches(Captions("listening", "Who are"), 640, 640)
    assert again is state and longer is not words
    assert overlay.patches(Captions("listening", "Who are"), 800, 800)[0] is not state


def test_the_meter_makes_few_pictures_and_disturbs_no_other():
    overlay = Overlay()
    shown = [overlay.patches(Captions("listening", microphone=Reading(step % 11)), 640, 640) for step in range(500)]
    assert len({id(meter) for _, meter in shown}) == 11 and len({id(state) for state, _ in shown}) == 1


def test_a_level_meter_differs_for_each_trouble():
    def sign(reading):
        return Overlay().patches(Captions(microphone=reading), 640, 640)[0].pixels

    shapes = [sign(Reading(5, trouble)).shape for trouble in Trouble]
    assert len(set(shapes)) == len(shapes)


def test_the_keys_are_listed_in_the_middle():
    for width, height in SIZES:
        (panel,) = Overlay().patches(Captions(keys=help_rows()), width, height)
        assert abs((panel.left + panel.right) / 2 - width / 2) < 2 and panel.right <= width and panel.bottom <= height


# --- the microphone --------------------------------------------------------------------------------------------------


def test_the_meter_rises_at_once_and_sinks_slowly():
    meter = Meter()
    assert meter.read(-60.0, False, 0.0) == Reading(0)
    assert meter.read(-20.0, False, 0.1).lit == 7
    assert 4 <= meter.read(-60.0, False, 0.3).lit <= 6
    assert meter.read(-60.0, False, 2.0) == Reading(0)


def test_a_microphone_without_any_sound_is_told_after_a_while_and_a_quiet_room_is_not():
    meter = Meter()
    assert [meter.read(-100.0, False, seconds).trouble for seconds in (0.0, 2.9, 3.1)] == ["", "", "No sound"]
    assert meter.read(-70.0, False, 4.0).trouble == Trouble.NONE
    assert meter.read(-70.0, False, 9.0).trouble == Trouble.NONE


def test_clipping_stays_to_be_seen_for_a_moment():
    meter = Meter()
    assert meter.read(-2.0, False, 0.0) == Reading(10, Trouble.LOUD)
    assert meter.read(-40.0, False, 1.0).trouble == Trouble.LOUD
    assert meter.read(-40.0, False, 2.0).trouble == Trouble.NONE


def test_a_muted_microphone_is_shown_as_such_and_none_not_at_all():
    meter = Meter()
    assert meter.read(-100.0, True, 0.0) == Reading(0, Trouble.MUTED)
    meter.read(-100.0, True, 9.0)
    assert meter.read(-100.0, False, 9.1).trouble == Trouble.NONE, "only now it is listened to"
    assert meter.read(None, False, 10.0) is None


def test_a_recording_may_be_silent():
    meter = Meter(dead_seconds=math.inf)
    assert [meter.read(-100.0, False, seconds).trouble for seconds in (0.0, 60.0)] == ["", ""]
