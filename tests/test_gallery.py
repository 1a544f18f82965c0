"""Contact sheets: what is on them, how large they are, what is said when they cannot be made."""

import numpy as np
import pytest
from PIL import Image

from demo import gallery
from demo.avatar import load_avatar
from demo.canvas import OffscreenCanvas
from streamingtalker.data.coarticulation import held_visemes
from streamingtalker.data.phones import Phone
from streamingtalker.data.visemes import LipSeal
from streamingtalker.mood import MOODS


@pytest.fixture(scope="module")
def studio():
    studio = gallery.Studio(load_avatar(), OffscreenCanvas(64, 64))
    yield studio
    studio.renderer.close()


def tiles(count: int, width: int = 20, height: int = 10) -> list[gallery.Tile]:
    return [gallery.Tile(str(n), np.full((height, width, 3), 10 + n, np.uint8)) for n in range(count)]


def test_tiles_stand_in_rows_over_their_labels():
    image = np.asarray(gallery.sheet(tiles(5), 3))
    assert image.shape == (2 * (10 + gallery.LABEL) + 3 * gallery.GAP, 3 * 20 + 4 * gallery.GAP, 3)
    for number in range(5):
        top = gallery.GAP + number // 3 * (10 + gallery.LABEL + gallery.GAP)
        left = gallery.GAP + number % 3 * (20 + gallery.GAP)
        assert (image[top : top + 10, left : left + 20] == 10 + number).all()
        label = image[top + 10 : top + 10 + gallery.LABEL, left : left + 20].astype(int)
        assert label.max() > 100  # something is written there


def test_a_sheet_is_never_too_large(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (700, 900, 3)).astype(np.uint8)
    gallery.save(Image.fromarray(noise), tmp_path / "noise.jpg")
    assert (tmp_path / "noise.jpg").stat().st_size < gallery.MOST_BYTES
    assert Image.open(tmp_path / "noise.jpg").size == (900, 700)


def test_a_close_up_shows_the_mouth_in_its_place(studio):
    """What a falling jaw changes lies about the mouth, 1.25 of 2.4 units below the upper edge, and in the middle."""
    rig = studio.avatar.rig
    rest = studio.close_up(np.zeros_like(rig.shapes[0]), 120, 1.25, 1.15)
    open_mouth = studio.close_up(0.6 * rig.shapes[rig.shape_names.index("jawOpen")], 120, 1.25, 1.15)
    changed = np.argwhere(np.abs(open_mouth.astype(int) - rest).max(2) > 40)
    assert rest.shape == (120, 120, 3)
    assert 60 < changed[:, 0].mean() < 100 and abs(changed[:, 1].mean() - 60) < 6


def test_every_viseme_and_every_mood_is_shown(studio, monkeypatch):
    shown = []
    monkeypatch.setattr(gallery, "sheet", lambda tiles, columns: shown.append((tiles, columns)))
    gallery.visemes(studio)
    gallery.moods(studio)
    (visemes, _), (moods, columns) = shown
    rig = studio.avatar.rig
    assert len(visemes) == len(held_visemes(LipSeal.of(rig), rig.shape_names))
    assert len({tile.label for tile in visemes}) == len(visemes)
    assert len(moods) == (1 + len(MOODS)) * columns and columns == 5
    pictures = {tile.pixels.tobytes() for tile in [*visemes, *moods]}
    assert len(pictures) > 0.85 * (len(visemes) + len(moods))  # few look alike


def test_marked_phones_are_telling_ones_in_order():
    names = ["sil", "b", "aa", "b", "n", "t", "uw", "d", "ax"]
    phones = [Phone(name, index / 10, (index + 1) / 10) for index, name in enumerate(names)]
    marked = gallery.marked(phones, 4)
    assert [phone.name for phone in marked] == ["b", "aa", "b", "uw"]
    assert len(gallery.marked(phones, 5)) == 4 and len(gallery.marked(phones, 99)) == 8


def test_an_unknown_avatar_is_named(tmp_path, capsys):
    assert gallery.main(["--out", str(tmp_path), "--avatar", "nobody"]) == 2
    assert "no avatar 'nobody'" in capsys.readouterr().err
