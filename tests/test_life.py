"""A living face: natural in number and size, the same for the same seed, never frozen and never jumping."""

import itertools
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from demo.life import Bearing, Landmarks, Life
from demo.life.blinks import Blink, Blinks
from demo.life.gaze import Gaze, saccade_seconds
from demo.life.head import Head
from demo.life.landmarks import find_eyes
from demo.life.motion import Spring, rotation
from demo.life.rhythm import Rhythm
from streamingtalker.data.moods import held_weights
from streamingtalker.mood import MOODS, Mood
from streamingtalker.topology import load_rig

STATES = ("idle", "inviting", "listening", "hearing", "thinking", "speaking")
MM = 1e-3
FPS = 30


@pytest.fixture(scope="module")
def rig():
    return load_rig()


@pytest.fixture(scope="module")
def face(rig) -> Landmarks:
    return Landmarks.of_rig(rig)


def moments(seconds: float, fps: float = FPS, start: float = 100.0) -> Iterator[float]:
    return (start + number / fps for number in range(int(seconds * fps)))


def film(life: Life, seconds: float, state: str = "listening", start: float = 100.0) -> np.ndarray:
    life.bearing = replace(life.bearing, state=state)
    return np.stack([life.offsets(moment) for moment in moments(seconds, start=start)])


def talk(rig, seconds: float) -> np.ndarray:
    """Offsets of a mouth that opens 3.3 times a second, with a pause every two seconds."""
    times = np.arange(int(seconds * FPS)) / FPS
    jaw = 0.5 * np.maximum(np.sin(2 * np.pi * 3.3 * times), 0) ** 2 * (times % 2.0 < 1.6)
    return jaw[:, None, None] * rig.shapes[rig.shape_names.index("jawOpen")].astype(np.float32)


# --- blinks ---


def blinks_of(seed: int, state: str, minutes: float, fps: float = 10) -> list[Blink]:
    blinks, begun = Blinks(np.random.default_rng(seed)), []
    for moment in moments(60 * minutes, fps):
        blinks.step(moment, 1 / fps, state)
        if not begun or blinks.last is not begun[-1]:
            begun.append(blinks.last)
    return begun[1:]


@pytest.mark.parametrize("state", STATES)
def test_people_blink_eight_to_twenty_five_times_a_minute(state):
    rates = [len(blinks_of(seed, state, 10)) / 10 for seed in range(3)]
    assert min(rates) > 8 and max(rates) < 25
    assert len(blinks_of(9, "hearing", 30)) < len(blinks_of(9, "speaking", 30)), "who listens blinks less"


def test_some_blinks_come_twice_and_pauses_vary():
    starts = np.array([blink.start for blink in blinks_of(1, "listening", 60, fps=20)])
    pauses = np.diff(starts)
    doublets = pauses < 0.6
    assert 0.06 < doublets.mean() < 0.20
    assert pauses.min() > 0.24 and pauses.max() < 25
    assert 0.35 < np.log(pauses[~doublets]).std() < 0.8, "neither a metronome nor chance alone"


def test_blinks_close_the_eyes_within_a_tenth_of_a_second_and_open_them_slower():
    blink = Blink(10.0)
    times = np.arange(10, 10.4, 0.001)
    closed = np.array([blink.closed(moment) for moment in times])
    assert closed.max() == 1 and times[closed.argmax()] < 10.1
    assert blink.closed(9.9) == 0 and blink.closed(10.0 + blink.seconds) == 0
    assert (closed[closed.argmax() :] > 0.01).sum() > 1.5 * (closed[: closed.argmax()] > 0.01).sum()


def test_an_invited_blink_comes_soon_but_never_right_after_another():
    blinks = Blinks(np.random.default_rng(0))
    blinks.step(100.0, 0.0, "listening")
    blinks.invite(100.0, chance=1.0)
    closed = [blinks.step(moment, 1 / FPS, "listening") for moment in moments(0.5)]
    assert max(closed) > 0.8
    first = blinks.last
    blinks.invite(100.5, chance=1.0)
    for moment in moments(0.4, start=100.5):
        blinks.step(moment, 1 / FPS, "listening")
    assert blinks.last is first


# --- gaze ---


def looks(state: str, seed: int = 0, seconds: float = 120, fps: float = 120) -> tuple[np.ndarray, np.ndarray]:
    """Degrees [T, 2], and whether each is a look at the viewer."""
    gaze, directions, contact = Gaze(np.random.default_rng(seed)), [], []
    for moment in moments(seconds, fps):
        directions.append(np.degrees(gaze.step(moment, state)))
        contact.append(gaze.at_viewer)
    return np.array(directions), np.array(contact)


@pytest.mark.parametrize(
    ("state", "least", "most"),
    [("listening", 0.6, 0.9), ("hearing", 0.85, 1.0), ("thinking", 0.0, 0.3), ("speaking", 0.55, 0.85)],
)
def test_the_eyes_are_with_the_viewer_as_much_as_people_s_are(state, least, most):
    shares = [looks(state, seed, fps=30)[1].mean() for seed in range(4)]
    assert least <= np.mean(shares) <= most


def test_who_thinks_looks_up_and_aside():
    directions, contact = looks("thinking")
    away = directions[~contact]
    assert np.abs(away[:, 0]).mean() > 5 and away[:, 1].mean() > 4
    gaze = Gaze(np.random.default_rng(3))
    for moment in moments(3):
        gaze.step(moment, "hearing")
    gaze._centre = np.zeros(2)
    after = [np.abs(gaze.step(moment, "thinking")).max() for moment in moments(0.5, start=103)]
    assert np.degrees(after[-1]) > 4, "within half a second"


def test_a_jump_takes_the_time_of_the_main_sequence():
    directions, _ = looks("speaking", seconds=60, fps=1000)
    speed = np.abs(np.diff(directions, axis=0)).max(axis=1) * 1000  # degrees a second
    jumping = speed > 15
    edges = np.flatnonzero(np.diff(np.r_[0, jumping.astype(int), 0]))
    for begin, end in edges.reshape(-1, 2):
        size = np.abs(directions[end] - directions[begin]).max()
        if size > 2:
            assert (end - begin) / 1000 == pytest.approx(saccade_seconds(np.radians(size)), abs=0.014)
            assert speed[begin:end].max() < 700
    assert len(edges) > 40


def test_eyes_stay_on_the_viewer_while_the_head_turns(face):
    """The line of sight of both eyes meets the viewer, whatever the head does."""
    viewer = np.array([0.1, 0.05, 1.5])
    life = Life(face, seed=5, viewer=viewer)
    missed = []
    for moment in moments(20):
        life.bearing = Bearing("hearing")
        vertices = face.template + life.offsets(moment)
        if not life._gaze.at_viewer:
            continue
        for eye in face.eyes:
            before, now = face.template[eye.members] - eye.pivot, vertices[eye.members]
            centre = now.mean(axis=0) - (before.mean(axis=0) @ fitted(before, now).T)
            sight = fitted(before, now) @ np.array([0, 0, 1.0])
            wanted = (viewer - centre) / np.linalg.norm(viewer - centre)
            missed.append(np.degrees(np.arccos(np.clip(sight @ wanted, -1, 1))))
    assert np.median(missed) < 1.0
    assert np.max(missed) < 12  # returning from a look aside


def fitted(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """The rotation that turned points about their centre."""
    u, _, v = np.linalg.svd((before - before.mean(axis=0)).T @ (after - after.mean(axis=0)))
    return (u @ np.diag([1, 1, np.linalg.det(u @ v)]) @ v).T


# --- head ---


def carriages(state: str, seconds: float, mood: str = "neutral", seed: int = 0, after: str = "listening") -> np.ndarray:
    """Yaw, pitch, roll, lean in degrees [T, 4] and the breath, in ``state``, 3 s after it began."""
    head, gaze, vector = Head(np.random.default_rng(seed)), Gaze(np.random.default_rng(seed)), Mood(mood).vector()
    rows = []
    for moment in moments(seconds + 8):
        now = after if moment < 105 else state
        gaze.step(moment, now)
        pose = head.step(moment, 1 / FPS, now, vector, gaze)
        rows.append([*np.degrees([pose.yaw, pose.pitch, pose.roll, pose.lean]), pose.breath])
    return np.array(rows)[8 * FPS :]


def test_who_listens_leans_and_tilts_and_who_is_sad_hangs_the_head():
    listening = np.mean([carriages("listening", 20, seed=seed)[:, 3].mean() for seed in range(4)])
    hearing = np.array([np.abs(carriages("hearing", 20, seed=seed)).mean(axis=0) for seed in range(4)]).mean(axis=0)
    assert hearing[3] > listening + 0.7 and hearing[2] > 2
    assert carriages("idle", 20, "sad")[:, 1].mean() < carriages("idle", 20)[:, 1].mean() - 2.5


def test_the_chest_breathes_ten_to_twenty_times_a_minute():
    breath = carriages("listening", 120)[:, 4]
    breaths = ((breath[1:] > 0.5) & (breath[:-1] <= 0.5)).sum() / 2
    assert 10 < breaths < 20 and breath.min() < 0.02 and breath.max() > 0.98


def test_who_listens_nods_now_and_then():
    head, gaze = Head(np.random.default_rng(0)), Gaze(np.random.default_rng(0))
    count, before = 0, 0
    for moment in moments(60):
        head.step(moment, 1 / FPS, "hearing", np.zeros(4), gaze)
        nodding = sum(nod.at(moment) > 0.3 for nod in head._nods) > 0
        count, before = count + (nodding and not before), nodding
    assert 6 <= count <= 30


def test_a_question_heard_is_acknowledged():
    """The head goes down and up again when the user has finished."""
    pitches = []
    for seed in range(6):
        head, gaze = Head(np.random.default_rng(seed)), Gaze(np.random.default_rng(seed))
        for moment in moments(4):
            head.step(moment, 1 / FPS, "hearing", np.zeros(4), gaze)
        head.step(104.0, 1 / FPS, "thinking", np.zeros(4), gaze)
        pitches.append(max(nod.at(104.35) for nod in head._nods))
    assert min(pitches) > 0.5


def test_the_rhythm_finds_stresses_and_phrase_ends(rig):
    upper, lower = rig.topology.lip_pairs.T
    openings = [float((frame[upper, 1] - frame[lower, 1]).mean()) for frame in talk(rig, 12)]
    rhythm = Rhythm()
    heard = [rhythm.hear(number / FPS, 1 / FPS, opening) for number, opening in enumerate(openings)]
    beats = [number / FPS for number, one in enumerate(heard) if one.beat]
    assert 12 <= len(beats) <= 12 * 3.3 and np.diff(beats).min() >= 0.37
    assert all(beat % 2.0 < 1.7 for beat in beats)
    ends = [number / FPS % 2.0 for number, one in enumerate(heard) if one.phrase_ends]
    assert len(ends) == 6 and all(1.4 < end < 1.95 for end in ends)


def test_silence_and_stillness_have_no_rhythm():
    rhythm = Rhythm()
    heard = [rhythm.hear(number / FPS, 1 / FPS, 0.0) for number in range(300)]
    assert not any(one.beat or one.phrase_ends for one in heard)


def test_nods_go_with_the_stress(rig, face):
    """Speaking, the head moves faster than in silence, and only where there is stress to go with."""

    def unrest(speech: np.ndarray) -> float:
        life = Life(face, seed=2)
        life.bearing = Bearing("speaking")
        top = face.template[:, 1].argmax()
        path = [life.offsets(100 + number / FPS, 1.0, frame)[top] for number, frame in enumerate(speech)]
        return float(np.abs(np.diff(path, n=2, axis=0)).mean())

    speech = talk(rig, 15)
    assert unrest(speech) > 1.5 * unrest(np.zeros_like(speech))


# --- the whole face ---


def test_the_same_seed_moves_the_same(face):
    mine, again, other = (film(Life(face, seed), 12) for seed in (3, 3, 4))
    np.testing.assert_array_equal(mine, again)
    assert not np.array_equal(mine, other)


def test_a_face_is_never_frozen(face):
    for state in STATES:
        steps = film(Life(face, seed=1), 6, state)
        moved = np.abs(np.diff(steps, axis=0)).max(axis=(1, 2))
        assert moved.min() > 0.01 * MM, state


def test_nothing_jumps_when_the_conversation_goes_on(rig, face):
    """Through every state and mood, in skin that neither lids nor glances move: at most 5 mm from one picture to the
    next, as the crown of a nodding head moves, and never by 2 mm more or less than in the picture before."""
    of_eyes = [index for index, name in enumerate(rig.shape_names) if "eye" in name]
    skin = np.abs(rig.shapes[of_eyes]).max(axis=(0, 2)) < 0.2 * MM
    skin[np.concatenate([eye.members for eye in face.eyes])] = False
    life, poses, speaking = Life(face, seed=6), [], 0.0
    states = ["listening", "hearing", "thinking", "speaking"] * 3
    for moment in moments(48):
        number = int((moment - 100) / 4)
        mood = Mood((*MOODS, "neutral")[number % 5])
        life.bearing = Bearing(states[number], mood)
        speech = rig.offsets(held_weights(life.mood[None], rig.shape_names))[0]  # as the model holds the face
        speaking = float(np.clip(speaking + (1 if states[number] == "speaking" else -1) / FPS / 0.1, 0, 1))
        poses.append(life.offsets(moment, speaking, speech * np.float32(speaking))[skin])
    steps = np.diff(poses, axis=0)
    assert np.linalg.norm(steps, axis=2).max() < 5 * MM
    assert np.linalg.norm(np.diff(steps, axis=0), axis=2).max() < 2 * MM


def test_how_often_one_looks_does_not_matter(face):
    """The pose is the same at 30 and at 60 pictures a second, but for what is drawn by chance between them."""
    few, many = Life(face, seed=8), Life(face, seed=8)
    for life, fps in ((few, 30), (many, 60)):
        for moment in moments(6, fps):
            last = life.offsets(moment)
        life.last = last
    top = face.template[:, 1].argmax()
    assert np.abs(few.last[top] - many.last[top]).max() < 4 * MM


def test_the_shoulders_stay_while_the_head_turns(face):
    template = face.template
    low = template[:, 1] < np.quantile(template[:, 1], 0.05)
    high = template[:, 1] > np.quantile(template[:, 1], 0.95)
    moved = np.linalg.norm(film(Life(face, seed=3), 20, "speaking"), axis=2).mean(axis=0)
    assert moved[low].max() < 6 * MM, "only breath and lean"
    assert 1 * MM < moved[high].mean() < 20 * MM


def lid_gap(rig, offsets):
    """How far the left upper lid has come down, in metres, at the vertex that a blink moves most."""
    blink = rig.shapes[rig.shape_names.index("eyeBlinkLeft")]
    most = np.abs(blink[:, 1]).argmax()
    return -offsets[most, 1], -blink[most, 1]


def test_blinks_close_the_lids_once_even_if_the_model_blinks_too(rig, face):
    blink = rig.shapes[rig.shape_names.index("eyeBlinkLeft")] + rig.shapes[rig.shape_names.index("eyeBlinkRight")]
    alone, joined = Life(face, seed=3), Life(face, seed=3)
    alone.bearing = joined.bearing = Bearing("speaking")
    for moment in moments(30):
        mine, both = alone.offsets(moment, 1.0, 0 * blink), joined.offsets(moment, 1.0, blink)
        if alone._blinks.last.closed(moment) > 0.99:
            break
    down, whole = lid_gap(rig, mine - head_only(face, alone, mine))
    again, _ = lid_gap(rig, both - head_only(face, joined, both))
    assert down == pytest.approx(whole, rel=0.12) and again == pytest.approx(whole, rel=0.12)


def head_only(face, life, offsets) -> np.ndarray:
    """What the head does to every vertex, judged by the nose and ears: the rigid part of ``offsets``."""
    still = np.abs(face.shapes["eyeBlinkLeft"]).max(axis=1) == 0
    part = still & (face.neck.head[:, 0] == 1) & (np.abs(face.shapes["jawOpen"]).max(axis=1) == 0)
    before, after = face.template[part], (face.template + offsets)[part]
    turn = fitted(before, after)
    return (face.template - before.mean(axis=0)) @ turn.T + after.mean(axis=0) - face.template


def test_speech_is_joined_and_left_alone(rig, face):
    jaw = rig.shapes[rig.shape_names.index("jawOpen")].astype(np.float32)
    silent, speaking = Life(face, seed=1), Life(face, seed=1)
    kept = jaw.copy()
    for moment in moments(0.3):
        difference = speaking.offsets(moment, 1.0, jaw) - silent.offsets(moment, 1.0, np.zeros_like(jaw))
    np.testing.assert_array_equal(kept, jaw)
    assert np.abs(difference - jaw).max() < 4 * MM


def test_a_mood_comes_with_what_is_said_and_goes_slowly(face):
    life = Life(face, seed=1)

    def smile(moment: float) -> float:
        life.offsets(moment)
        return float(life.mood[MOODS.index("happy")])

    life.bearing = Bearing("speaking", Mood("happy"))
    assert [smile(moment) for moment in moments(0.7)][-1] > 0.95
    life.bearing = Bearing("listening", Mood())
    fading = [smile(moment) for moment in moments(8, start=101)]
    assert fading[int(0.5 * FPS)] > 0.8 and fading[2 * FPS] > 0.3 and fading[-1] < 0.05


@pytest.mark.parametrize("mood", MOODS)
def test_each_mood_is_seen_at_rest_and_lips_stay_closed(rig, face, mood):
    calm, moved = Life(face, seed=1), Life(face, seed=1)
    moved.bearing = Bearing("listening", Mood(mood))
    for moment in moments(8):
        neutral, shown = calm.offsets(moment), moved.offsets(moment)
    assert np.linalg.norm(shown - neutral, axis=1).max() > 2 * MM
    pairs = (face.template + shown)[rig.topology.lip_pairs]
    assert np.linalg.norm(pairs[:, 0] - pairs[:, 1], axis=1).mean() < 1.5 * MM


def test_a_model_without_moods_is_helped_to_show_them(face):
    speech = np.zeros_like(face.template)
    shown = []
    for drawn in (True, False):
        life = Life(face, seed=1)
        life.bearing = Bearing("speaking", Mood("happy"), mood_is_drawn=drawn)
        shown.append([life.offsets(moment, 1.0, speech) for moment in moments(2)][-1])
    assert np.linalg.norm(shown[1] - shown[0], axis=1).max() > 2 * MM


# --- faces of which less is known ---


def test_eyeballs_are_found_in_a_bare_mesh(rig):
    eyes = find_eyes(rig.topology)
    assert len(eyes) == 2
    for eye, members, pivot in zip(eyes, rig.eyes, rig.pivots, strict=True):
        assert set(eye.members) == set(members)
        assert np.linalg.norm(eye.pivot - pivot) < 2 * MM


def test_a_bare_mesh_with_eyeballs_closes_its_lids(rig, face):
    bare = Landmarks.of_topology(rig.topology)
    for name in ("eyeBlinkLeft", "eyeBlinkRight"):
        known, made = face.shapes[name], bare.shapes[name]
        most = np.abs(known[:, 1]).argmax()
        assert made[most, 1] == pytest.approx(known[most, 1], rel=0.35)
        assert np.abs(made[known[:, 1] == 0]).max() < 6 * MM
        lips = rig.topology.lips
        assert np.abs(made[lips]).max() == 0


def test_a_bare_mesh_lives(rig):
    steps = film(Life(Landmarks.of_topology(rig.topology), seed=2), 10, "hearing")
    assert np.isfinite(steps).all()
    assert np.abs(np.diff(steps, axis=0)).max(axis=(1, 2)).min() > 0.01 * MM


def test_a_mask_without_eyes_and_neck_moves_as_one(rig):
    """As the meshes of BIWI are: nothing but the front of a face."""
    topology = rig.topology
    kept = np.zeros(topology.vertex_count, bool)
    kept[np.unique(topology.faces)] = True
    kept[np.concatenate(rig.eyes)] = False
    kept &= topology.template[:, 1] > topology.template[topology.lips, 1].mean() - 0.045
    number = np.cumsum(kept) - 1
    faces = topology.faces[kept[topology.faces].all(axis=1)]
    mask = replace(
        topology,
        template=topology.template[kept],
        faces=number[faces].astype(np.int32),
        lip_pairs=number[topology.lip_pairs],
        lips=number[topology.lips],
        upper_face=number[topology.upper_face[kept[topology.upper_face]]],
    )
    bare = Landmarks.of_topology(mask)
    assert not bare.eyes and not bare.shapes
    steps = film(Life(bare, seed=2), 5)
    upper = mask.template[:, 1] > 0
    turned = fitted(mask.template[upper], (mask.template + steps[-1])[upper])
    rigid = (mask.template - mask.template[upper].mean(0)) @ turned.T + (mask.template + steps[-1])[upper].mean(0)
    assert np.abs(rigid - mask.template - steps[-1])[upper].max() < 0.1 * MM
    assert np.abs(np.diff(steps, axis=0)).max(axis=(1, 2)).min() > 0.001 * MM


# --- arithmetic ---


def test_a_spring_reaches_its_goal_and_does_not_care_how_often_one_looks():
    coarse, fine = Spring(np.zeros(1)), Spring(np.zeros(1))
    for _ in range(10):
        coarse.follow(np.ones(1), 0.1, 1.0)
    for _ in range(100):
        fine.follow(np.ones(1), 0.01, 1.0)
    assert coarse.value == pytest.approx(fine.value, abs=1e-9)
    assert 0.94 < coarse.value[0] < 1


def test_turns_go_where_they_say():
    ahead = np.array([0, 0, 1.0])
    assert (rotation(0.3, 0, 0) @ ahead)[0] > 0, "yaw to the avatar's left, +x"
    assert (rotation(0, 0.3, 0) @ ahead)[1] > 0, "pitch up"


def test_pauses_between_pictures_do_no_harm(face):
    life = Life(face, seed=1)
    life.offsets(100.0)
    for moment in itertools.accumulate([3600.0] * 5, initial=101.0):
        assert np.isfinite(life.offsets(moment)).all()
        assert np.abs(life.offsets(moment)).max() < 0.06
    assert np.isfinite(life.offsets(50.0)).all(), "nor does time that runs backwards"
