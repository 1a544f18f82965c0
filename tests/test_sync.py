"""The stage in virtual time: every picture at its moment, late ones dropped, rest when there is nothing to say."""

import numpy as np
import pytest

from demo.canvas import ContextLostError, DisplayError
from demo.clock import PlaybackClock
from demo.frame_queue import FrameQueue
from demo.life import Bearing
from demo.overlay import Captions
from demo.quality import LOW, LOWEST, MEDIUM
from demo.stage import Stage, SyncMeter
from demo.supervision import Restarts

FPS, RATE, LATENCY, BLOCK = 30, 48000, 0.05, 480
SHARE = {LOWEST: 0.5, LOW: 0.7, MEDIUM: 1.0}  # of what drawing at medium quality takes


class World:
    """Manual time with a loudspeaker that asks for a block every 10 ms, and a renderer that takes its time."""

    size = (64, 64)

    def __init__(self) -> None:
        self.seconds = 1000.0
        self.clock = PlaybackClock(RATE, lambda: self.seconds)
        self.frames = FrameQueue(1000)
        self.blocks = 0
        self.samples = 0  # of the turn, left to play
        self.played = 0
        self.drawing = 0.015
        self.canvas = self
        self.mouth: list[float] = []  # how far it was open in each picture shown
        self.drawn = 0.0
        self.quality = MEDIUM
        self.software = False
        self.bearing = Bearing()
        self.stage = Stage(self, self, self.clock, self.frames, FPS, monotonic=lambda: self.seconds, sleep=self.sleep)

    # the loudspeaker
    def sleep(self, seconds: float) -> None:
        end = self.seconds + seconds
        while (due := 1000.0 + self.blocks * BLOCK / RATE) <= end:
            self.seconds = max(self.seconds, due)
            self._play(due + LATENCY)
        self.seconds = end

    def _play(self, dac_time: float) -> None:
        count = min(self.samples, BLOCK)
        self.clock.advance(1, self.played, count, dac_time)
        self.clock.advance(None, 0, BLOCK - count, dac_time + count / RATE)
        self.samples -= count
        self.played += count
        self.blocks += 1

    def speak(self, seconds: float) -> None:
        self.frames.begin(1)
        self.clock.begin(1)
        self.samples, self.played = int(seconds * RATE), 0
        for index in range(int(seconds * FPS)):
            self.frames.put(1, index, np.full((4, 3), index, np.float32))

    # the renderer
    def draw(self, vertices: np.ndarray, _patches: object) -> None:
        self.drawn = float(vertices[0, 0])
        self.sleep(self.drawing * SHARE[self.quality])

    def present(self) -> None:
        self.sleep(0.001)
        self.mouth.append(self.drawn)

    # idle motion that does not move
    template = np.zeros((4, 3), np.float32)

    def offsets(self, _seconds: float, _speaking: float, speech: np.ndarray | None) -> np.ndarray:
        return np.zeros((4, 3), np.float32) if speech is None else speech


@pytest.fixture
def world():
    return World()


def run(world: World, seconds: float) -> list:
    end = world.seconds + seconds
    steps = []
    while world.seconds < end:
        steps.append(world.stage.step())
    return steps


def test_every_frame_is_shown_at_its_moment(world):
    run(world, 1.0)
    world.speak(3.0)
    run(world, 2.0)
    summary = world.stage.meter.summary()
    counts = world.frames.counts()
    assert summary.count > 55 and summary.max_abs < 1.0
    assert counts.skipped <= 1 and counts.late == 0
    assert world.mouth[-1] == pytest.approx(round(world.mouth[-1]), abs=0.01), "a frame of the model, no mixture"


@pytest.mark.parametrize("state", ["hearing", "thinking"])
def test_a_processor_that_draws_stands_back_while_an_answer_is_awaited(world, state):
    world.software = True
    pictures = {}
    for world.bearing in (Bearing("listening"), Bearing(state)):
        before = world.stage.pictures
        run(world, 2.0)
        pictures[world.bearing.state] = world.stage.pictures - before
    assert pictures["listening"] == pytest.approx(60, abs=2)
    assert pictures[state] == pytest.approx(2.0 / (1 / FPS + 0.015 + 0.001), abs=2), "a pause after each of them"


@pytest.mark.parametrize("wait", [0.0, 0.011, 0.023, 0.037, 0.049])  # wherever in its pause the answer finds it
def test_a_processor_that_stood_back_shows_the_first_frame_of_the_answer(world, wait):
    world.software, world.bearing = True, Bearing("thinking")
    run(world, 0.5 + wait)
    world.speak(0.5)
    spoken = [step for step in run(world, 0.4) if step.due is not None]
    assert spoken[0].due <= 1 / FPS and not any(step.dropped for step in spoken)
    assert world.stage.meter.summary().max_abs < 1.0


@pytest.mark.parametrize("wait", [0.0, 0.008, 0.016, 0.024])  # until the next picture is begun
def test_the_mouth_closes_as_soon_for_whoever_interrupts_and_is_heard(world, wait):
    """An answer is awaited from then on; a slow processor stands back only once the face is at rest."""
    world.software, world.drawing = True, 0.025
    world.speak(3.0)
    run(world, 1.0)
    interrupted, world.samples, world.bearing = world.seconds, 0, Bearing("hearing")
    world.clock.begin(-1)
    world.frames.begin(2)
    world.sleep(wait)
    while world.mouth[-1] > 0:
        world.stage.step()
    assert world.seconds - interrupted < 0.105


def test_a_graphics_card_draws_every_picture_also_then(world):
    world.bearing = Bearing("thinking")
    run(world, 2.0)
    assert world.stage.pictures == pytest.approx(60, abs=2)


def test_a_slow_renderer_skips_frames_and_stays_in_step(world):
    world.drawing = 0.055 / SHARE[LOWEST]
    run(world, 5.0)
    world.speak(3.0)
    run(world, 2.5)
    summary = world.stage.meter.summary()
    assert summary.max_abs < 2 and 30 <= summary.count <= 45
    assert world.frames.counts().skipped > 25


def test_a_picture_that_took_too_long_is_not_shown(world):
    run(world, 1.0)
    world.speak(3.0)
    run(world, 1.0)
    shown = len(world.mouth)
    world.drawing = 0.2
    steps = run(world, 0.15)
    assert [step.dropped for step in steps] == [True] and len(world.mouth) == shown
    world.drawing = 0.015
    run(world, 1.0)
    assert world.stage.dropped == 1 and world.stage.meter.summary().max_abs < 45


def test_the_face_goes_to_rest_within_a_tenth_of_a_second(world):
    run(world, 0.5)
    world.speak(1.0)
    run(world, 1.0)
    assert world.mouth[-1] > 20
    run(world, 0.4)
    assert world.mouth[-1] == 0
    silent_from = max(index for index, value in enumerate(world.mouth) if value > 28.5)
    assert len([value for value in world.mouth[silent_from:] if value > 0]) <= 6


def test_a_stopped_turn_goes_to_rest(world):
    run(world, 0.5)
    world.speak(2.0)
    run(world, 1.0)
    world.clock.begin(-1)
    world.frames.begin(2)
    world.samples = 0
    run(world, 0.15)
    assert world.mouth[-1] == 0


def test_starved_of_frames_the_face_rests_and_comes_back(world):
    run(world, 0.5)
    world.speak(3.0)
    world.frames.begin(1)
    for index in range(30):
        world.frames.put(1, index, np.full((4, 3), 10.0, np.float32))
    run(world, 1.6)
    assert world.mouth[-1] == 0
    for index in range(60, 90):
        world.frames.put(1, index, np.full((4, 3), 20.0, np.float32))
    run(world, 0.9)
    assert world.mouth[-1] == pytest.approx(20)


def test_while_the_sound_waits_for_the_voice_nothing_is_measured(world):
    run(world, 0.5)
    world.speak(1.0)
    run(world, 3.0)
    assert world.stage.meter.summary().max_abs < 1.0


def test_pictures_that_always_take_too_long_are_made_cheaper_and_better_again(world):
    world.drawing = 0.036
    run(world, 0.8)
    assert world.quality is MEDIUM, "not at once: a busy moment passes"
    run(world, 2.0)
    assert world.quality is LOW
    steps = run(world, 1.0)
    assert 28 <= len(steps) <= 31
    world.drawing = 0.015
    run(world, 7.0)
    assert world.quality is MEDIUM


def test_the_end_of_an_answer_does_no_harm_to_the_picture(world):
    run(world, 1.0)
    world.speak(3.0)
    run(world, 6.0)
    assert world.quality is MEDIUM


def test_where_the_face_hardly_keeps_ahead_of_the_sound_pictures_get_cheaper(world):
    run(world, 1.0)
    world.speak(3.0)
    world.frames.begin(1)
    for index in range(60):
        world.frames.put(1, index, np.zeros((4, 3), np.float32))
        if index > 4:
            run(world, 1 / FPS)
    assert world.quality is not MEDIUM and world.frames.counts().late == 0


def test_pictures_have_their_pace_whatever_the_quality(world):
    world.drawing = 0.036
    run(world, 3.0)
    world.speak(3.0)
    run(world, 2.0)
    assert world.quality is LOW and world.stage.meter.summary().max_abs < 1.0


def test_at_rest_pictures_keep_coming_at_the_model_s_pace(world):
    steps = run(world, 2.0)
    assert 58 <= len(steps) <= 61
    assert all(step.due is None and not step.dropped for step in steps)
    world.stage.captions = Captions("listening")
    run(world, 0.1)


@pytest.mark.parametrize(("late", "dropped"), [(0.020, False), (0.031, True)])
def test_a_single_picture_that_would_be_seen_late_is_left_out(world, late, dropped):
    """Drawn in time to be shown within 40 ms, had showing it taken no longer than usual."""
    world.speak(3.0)
    run(world, 1.0)
    usual, world.drawing = world.drawing, world.drawing + late
    step = world.stage.step()
    world.drawing = usual
    assert step.dropped is dropped
    run(world, 1.0)
    assert world.stage.meter.summary().least > -26


def test_a_face_does_not_stand_still_for_being_late(world):
    """On a machine so busy that every picture is a surprise, one is shown now and then all the same."""
    run(world, 1.0)
    world.speak(3.0)
    run(world, 1.0)
    shown = len(world.mouth)
    world.drawing = 0.3 / SHARE[world.quality]
    steps = run(world, 0.2)
    assert [step.dropped for step in steps] == [False] and len(world.mouth) == shown + 1


def lose(world, monkeypatch, seconds=0.3):
    """The next picture finds its OpenGL context gone; making another takes so long."""

    def draw(*_):
        monkeypatch.undo()
        raise ContextLostError("test")

    monkeypatch.setattr(world, "draw", draw)
    world.restore = lambda: world.sleep(seconds)


def test_a_lost_picture_is_made_anew_and_in_step_at_once(world, monkeypatch):
    world.speak(3)
    run(world, 1)
    lose(world, monkeypatch)
    lost = world.stage.step()
    assert lost.dropped and world.stage.dropped == 1
    shown = [step for step in run(world, 1) if step.presented is not None]
    assert len(shown) >= 25 and all(abs(step.due - step.presented) < 0.005 for step in shown[3:])


def test_a_picture_that_is_lost_again_and_again_is_an_end(world, monkeypatch):
    world.speak(30)
    for _ in range(Restarts.most):
        lose(world, monkeypatch)
        assert world.stage.step().dropped
        run(world, 1)
    lose(world, monkeypatch)
    with pytest.raises(DisplayError, match="The graphics driver lost the picture"):
        world.stage.step()


def test_twice_the_pictures_are_interpolated():
    world = World()
    world.drawing = 0.005
    world.stage = Stage(
        world,
        world,
        world.clock,
        world.frames,
        FPS,
        pictures_per_frame=2,
        monotonic=lambda: world.seconds,
        sleep=world.sleep,
    )
    run(world, 0.5)
    world.speak(2.0)
    run(world, 1.0)
    halves = [value for value in world.mouth if abs(value % 1 - 0.5) < 0.01]
    assert len(halves) > 20 and world.stage.meter.summary().max_abs < 1


def test_the_meter():
    meter = SyncMeter()
    assert meter.summary().as_trace() == {}
    for offset in range(-50, 51):
        meter.add(10.0, 10.0 - offset / 1000)
    trace = meter.summary().as_trace()
    assert trace == pytest.approx({"min": -50, "p5": -45, "p50": 0, "p95": 45, "max": 50, "max_abs": 50}, abs=1e-6)
    meter.reset()
    assert meter.summary().count == 0
