"""The drawn picture, off-screen: framing, motion, overlay, steady memory, errors."""

import gc
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from demo.avatar import Part, load_avatar
from demo.look import batches, camera_pose, field_of_view, linear, turned
from demo.overlay import Captions, Overlay, Patch
from demo.renderer import HIGH, LOW, MEDIUM, DisplayError, OffscreenCanvas, Renderer, WindowCanvas


@pytest.fixture(scope="module")
def avatar():
    return load_avatar()


@pytest.fixture(scope="module")
def renderer(avatar):
    renderer = Renderer(avatar, OffscreenCanvas(200, 240), LOW)
    yield renderer
    renderer.close()


def draw(renderer, vertices, patches=(), size=(200, 240)) -> np.ndarray:
    renderer.canvas.size = size
    renderer.draw(vertices, patches)
    renderer.present()
    return renderer.read_pixels()


def shape(avatar, name: str) -> np.ndarray:
    return avatar.template + avatar.rig.shapes[avatar.rig.shape_names.index(name)]


def test_a_face_is_drawn_in_the_middle(avatar, renderer):
    pixels = draw(renderer, avatar.template)
    assert pixels.shape == (240, 200, 3) and pixels.dtype == np.uint8
    reddish = pixels[..., 0].astype(int) - pixels[..., 2] > 15
    assert reddish[80:140, 80:120].mean() > 0.6
    assert reddish[:12].mean() < 0.05 and reddish[60:120, :20].mean() < 0.05


def test_only_what_moves_changes_the_picture(avatar, renderer):
    rest, again = draw(renderer, avatar.template), draw(renderer, avatar.template)
    np.testing.assert_array_equal(rest, again)
    open_mouth = draw(renderer, shape(avatar, "jawOpen"))
    changed = np.abs(open_mouth.astype(int) - rest).max(axis=-1) > 12
    assert changed.sum() > 150
    assert not changed[:60].any()
    np.testing.assert_array_equal(draw(renderer, avatar.template), rest)


@pytest.mark.parametrize("size", [(200, 200), (400, 150), (120, 300), (333, 257)])
def test_head_and_shoulders_fit_any_picture(avatar, renderer, size):
    pixels = draw(renderer, avatar.template, size=size)
    assert pixels.shape == (size[1], size[0], 3)
    projected = project(avatar, size)
    eyes_and_mouth = np.vstack([avatar.pivots, avatar.mouth[None]])
    for x, y in projected(eyes_and_mouth):
        assert 0.3 < x < 0.7 and 0.2 < y < 0.62
    top = avatar.surface(avatar.template)[:, 1].max()
    assert 0 < projected(np.array([[0.0, top, avatar.pivots[0, 2] - 0.08]]))[0, 1] < 0.35


def project(avatar, size):
    """Where points are in the picture, from 0 to 1, left to right and top to bottom."""
    eye = camera_pose(avatar)[:3, 3]
    half = np.tan(field_of_view(avatar, size[0] / size[1]) / 2)

    def of(points):
        seen = points - eye
        return np.stack(
            [0.5 + seen[:, 0] / -seen[:, 2] / half / 2 * size[1] / size[0], 0.5 - seen[:, 1] / -seen[:, 2] / half / 2],
            1,
        )

    return of


@pytest.mark.parametrize("quality", [LOW, MEDIUM, HIGH])
def test_patches_lie_where_they_should_on_every_quality(avatar, renderer, quality):
    red = np.zeros((10, 20, 4), np.uint8)
    red[...] = 255, 0, 0, 255
    half = red.copy()
    half[..., 3] = 128
    renderer.quality = quality
    plain = draw(renderer, avatar.template)
    pixels = draw(renderer, avatar.template, [Patch(5, 7, red), Patch(170, 220, half)])
    renderer.quality = LOW
    assert (pixels[7:17, 5:25] == (255, 0, 0)).all()
    mixed = (plain[220:230, 170:190].astype(int) + np.array([255, 0, 0])) / 2
    assert np.abs(pixels[220:230, 170:190] - mixed).max() <= 3
    pixels[7:17, 5:25], pixels[220:230, 170:190] = plain[7:17, 5:25], plain[220:230, 170:190]
    np.testing.assert_array_equal(pixels, plain)


def test_a_picture_larger_than_the_quality_allows_is_magnified(avatar, renderer):
    """Drawn smaller inside, but as large as wanted outside."""
    rest = draw(renderer, avatar.template, size=(400, 400)).astype(int)
    for quality in (LOW, MEDIUM, HIGH):
        renderer.quality = replace(quality, most_pixels=40_000)
        pixels = draw(renderer, avatar.template, size=(400, 400))
        assert np.abs(pixels - rest).mean() < 6
    renderer.quality = LOW


@pytest.mark.parametrize(("yaw", "pitch"), [(0, 0), (-9, 5), (13, -6)])
def test_hair_that_is_left_out_is_not_missed(avatar, renderer, yaw, pitch):
    turn = turned(avatar, yaw, pitch)
    vertices = (avatar.template @ turn[:3, :3].T + turn[:3, 3]).astype(np.float32)
    spared = draw(renderer, vertices, size=(400, 400)).astype(int)
    whole = Renderer(avatar, renderer.canvas, LOW)
    whole._scene.keep(whole._gl, [np.ones(len(batch.faces), bool) for batch in batches(avatar)])
    assert (np.abs(draw(whole, vertices, size=(400, 400)) - spared).max(axis=-1) > 16).sum() <= 3
    assert all(primitive.indices.size >= 0.9 * 3 * len(batch.faces) for batch, primitive in whole._scene._moving)


def test_a_processor_draws_much_less_hair_and_all_of_the_rest(avatar, renderer):
    if not renderer.software:
        pytest.skip("a graphics card draws all of it")
    for batch, primitive in renderer._scene._moving:
        left, rest = len(primitive.indices), int((~batch.layered).sum())
        assert left == rest if not batch.layered.any() else rest < left < rest + 0.6 * batch.layered.sum()


def resident_kb() -> int:
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * 4


class Ball:
    """The plainest look there is: a sphere of 2500 vertices."""

    def __init__(self) -> None:
        rows, columns = np.meshgrid(np.linspace(0.01, np.pi - 0.01, 50), np.linspace(0, 2 * np.pi, 50), indexing="ij")
        across = np.sin(rows)
        points = np.stack([across * np.cos(columns), np.cos(rows), across * np.sin(columns)], axis=-1)
        self.template = (0.1 * points.reshape(-1, 3)).astype(np.float32)
        corner = (np.arange(49)[:, None] * 50 + np.arange(49)).reshape(-1, 1)
        halves = [corner + np.array(half) for half in ([0, 1, 50], [1, 51, 50])]
        self.faces = np.concatenate(halves).astype(np.int32)
        self.colors = np.full((2500, 4), 255, np.uint8)
        self.parts = (Part("ball", (0, len(self.faces)), (0, 2500)),)
        self.pivots, self.mouth = np.array([[0, 0.03, 0.1]] * 2), np.array([0, -0.03, 0.1])

    def surface(self, vertices: np.ndarray) -> np.ndarray:
        return vertices

    def normals(self, positions: np.ndarray) -> np.ndarray:
        return positions * 10


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_stays_after_thousands_of_moving_frames(renderer):
    """Half a gigabyte would be gone if every frame left its vertices behind."""
    overlay, ball = Overlay(), Ball()
    mover = Renderer(ball, renderer.canvas, MEDIUM)

    def run(frames: int) -> None:
        for index in range(frames):
            captions = Captions("speaking", reply=f"word {index // 10}")
            mover.draw(ball.template * np.float32(1 + index % 10 / 20), overlay.patches(captions, 96, 96))
            mover.present()

    renderer.canvas.size = (96, 96)
    run(300)
    gc.collect()
    before = resident_kb()
    run(2000)
    gc.collect()
    assert resident_kb() - before < 20_000


def test_colours_are_linearised():
    values = linear(np.array([[0, 128, 255, 64], [10, 10, 10, 255]], np.uint8))
    np.testing.assert_allclose(values[0], [0, 0.2158605, 1, 64 / 255], atol=1e-5)
    np.testing.assert_allclose(values[1, 0], 10 / 255 / 12.92, atol=1e-6)


def test_a_window_in_an_off_screen_process_is_refused(renderer):
    with pytest.raises(DisplayError, match="either in windows or off-screen"):
        WindowCanvas(64, 64)
