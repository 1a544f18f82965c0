"""Contact sheets of the face: ``python -m demo.gallery --out docs/pictures``.

Writes ``gallery_identities.jpg`` (every avatar at rest), ``gallery_visemes.jpg`` (every held mouth shape),
``gallery_moods.jpg`` (every mood, at rest and speaking), ``gallery_sentence.jpg`` (a sentence at marked phones, the
rule-made target over the model) and ``gallery_screens.jpg`` (what one sees while talking), drawn off-screen by the
demo's own renderer. Everything is seeded.
"""

import argparse
import io
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from demo import screens
from demo.avatar import Avatar, load_avatar
from demo.look import camera_pose, field_of_view
from demo.overlay import font
from demo.renderer import HIGH, OffscreenCanvas, Renderer
from streamingtalker.checkpoint import load_own_talker
from streamingtalker.data.clips import FPS, PlannedClip, make_face, make_sound
from streamingtalker.data.coarticulation import held_visemes
from streamingtalker.data.expression import join
from streamingtalker.data.moods import held_weights, mood_weights
from streamingtalker.data.phones import SILENCE, Phone
from streamingtalker.data.visemes import LipSeal
from streamingtalker.errors import UserError
from streamingtalker.generate import DEFAULT_WEIGHTS, generate
from streamingtalker.mood import MOODS, NEUTRAL, Mood
from streamingtalker.places import make_place
from streamingtalker.topology import avatar_names, avatar_path

MOST_BYTES, SCREENS_BYTES = 400_000, 300_000  # of a sheet
BACKGROUND, INK = (20, 22, 26), (225, 228, 232)
GAP, LABEL = 6, 26  # pixels between tiles and under each
SPOKEN = {"ee": "iy", "m": "p", "oo": "uw", "aa": "aa"}  # columns of the moods: viseme shown
SENTENCE = "Bob moved five blue boats through the foggy bay."
SPEAKER, SEED = "hibari", 3
MARKED = 12  # phones of the sentence that are shown


@dataclass(frozen=True)
class Tile:
    """One picture of a sheet."""

    label: str
    pixels: np.ndarray  # uint8 [H, W, 3]


class Studio:
    """Takes portraits and close-ups of one avatar."""

    def __init__(self, avatar: Avatar, canvas: OffscreenCanvas) -> None:
        """Several avatars may share a ``canvas``, which its owner closes."""
        self.avatar = avatar
        self.canvas = canvas
        self.renderer = Renderer(avatar, canvas, HIGH)

    def portrait(self, offsets: np.ndarray, width: int, height: int) -> np.ndarray:
        """Head and shoulders, uint8 [height, width, 3], with the talking mesh moved by ``offsets`` [V, 3] metres."""
        self.canvas.size = (width, height)
        self.renderer.draw(self.avatar.template + offsets)
        return self.renderer.read_pixels()

    def close_up(self, offsets: np.ndarray, size: int, top: float = 2.0, bottom: float = 1.15) -> np.ndarray:
        """The face alone, uint8 [size, size, 3]: from ``top`` over the mouth to ``bottom`` below it, in distances from
        mouth to eyes.
        """
        large = round(size * self._magnification(top + bottom))
        x, y, unit = self._mouth(large)
        picture = Image.fromarray(self.portrait(offsets, large, large))
        side = unit * (top + bottom)
        box = (x - side / 2, y - unit * top, x + side / 2, y + unit * bottom)
        return np.asarray(picture.resize((size, size), Image.Resampling.LANCZOS, box=box))

    def _magnification(self, units: float) -> float:
        """How much larger than the close-up a square portrait must be drawn to show it at full resolution."""
        return 1000 / (self._mouth(1000)[2] * units)

    def _mouth(self, size: int) -> tuple[float, float, float]:
        """Where the mouth is in a square portrait, and the distance from mouth to eyes, in pixels."""
        eye = camera_pose(self.avatar)[:3, 3]
        half = np.tan(field_of_view(self.avatar, 1.0) / 2)
        points = np.stack([self.avatar.mouth, self.avatar.pivots.mean(axis=0)]) - eye
        across, up = points[:, 0] / -points[:, 2] / half, points[:, 1] / -points[:, 2] / half
        return float((1 + across[0]) * size / 2), float((1 - up[0]) * size / 2), float((up[1] - up[0]) * size / 2)


def sheet(tiles: Sequence[Tile], columns: int) -> Image.Image:
    """The tiles, of one size, in rows of ``columns``, each over its label."""
    height, width = tiles[0].pixels.shape[:2]
    rows = -(-len(tiles) // columns)
    size = (columns * (width + GAP) + GAP, rows * (height + LABEL + GAP) + GAP)
    image = Image.new("RGB", size, BACKGROUND)
    draw = ImageDraw.Draw(image)
    for index, tile in enumerate(tiles):
        left, top = GAP + index % columns * (width + GAP), GAP + index // columns * (height + LABEL + GAP)
        image.paste(Image.fromarray(tile.pixels), (left, top))
        middle = (left + width / 2, top + height + LABEL / 2)
        draw.text(middle, tile.label, font=font(15, tile.label), fill=INK, anchor="mm")
    return image


def save(image: Image.Image, path: Path, most: int = MOST_BYTES) -> None:
    """Write a JPEG of at most ``most`` bytes, as good as fits."""
    for quality in range(90, 30, -6):
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality, optimize=True)
        if buffer.tell() < most:
            break
    path.write_bytes(buffer.getvalue())


def identities(names: Sequence[str], canvas: OffscreenCanvas) -> Image.Image:
    """Every avatar at rest."""
    tiles = []
    for name in names:
        studio = Studio(load_avatar(avatar_path(name)), canvas)
        rig = studio.avatar.rig
        weights = mood_weights(Mood(), rig.shape_names, LipSeal.of(rig))
        tiles.append(Tile(name, studio.portrait(rig.offsets(weights[None])[0], 400, 480)))
    return sheet(tiles, min(len(tiles), 5))


def visemes(studio: Studio) -> Image.Image:
    """Every mouth shape, held."""
    rig = studio.avatar.rig
    seal, neutral = LipSeal.of(rig), held_weights(Mood().vector()[None], rig.shape_names)
    shapes = {
        name: join(weights[None], neutral, seal, rig.shape_names)[0]
        for name, weights in held_visemes(seal, rig.shape_names).items()
    }
    labels = {"p": "m b p", "f": "f v", "sil": "silence", "t": "t d", "s": "s z", "sh": "sh ch j", "k": "k g ng"}
    tiles = [
        Tile(labels.get(name, name), studio.close_up(rig.offsets(weights[None])[0], 240, 1.25, 1.15))
        for name, weights in shapes.items()
    ]
    return sheet(tiles, 7)


def moods(studio: Studio) -> Image.Image:
    """Every mood, at rest and while it speaks."""
    rig = studio.avatar.rig
    seal = LipSeal.of(rig)
    shapes = held_visemes(seal, rig.shape_names)
    tiles = []
    for name in (NEUTRAL, *MOODS):
        mood = Mood(name)
        weights = {"rest": mood_weights(mood, rig.shape_names, seal)}
        lively = held_weights(mood.vector()[None], rig.shape_names)
        for label, viseme in SPOKEN.items():
            weights[label] = join(shapes[viseme][None], lively, seal, rig.shape_names)[0]
        for label, row in weights.items():
            tiles.append(Tile(f"{name}: {label}", studio.close_up(rig.offsets(row[None])[0], 260)))
    return sheet(tiles, 1 + len(SPOKEN))


def sentence(studio: Studio, checkpoint: Path) -> Image.Image:
    """A sentence at marked phones: what the rules want, and below it what the model does."""
    rig = studio.avatar.rig
    clip = PlannedClip("gallery", SPEAKER, "test", 0, SENTENCE, (SEED, 0))
    sound = make_sound(clip)
    target = rig.offsets(make_face(clip, sound, rig))
    talker = load_own_talker(checkpoint)
    model = generate(talker, sound.pcm, identity=clip.style, seed=SEED)
    shown = marked(sound.phones, MARKED)
    tiles = []
    for name, motion in (("target", target), ("model", model)):
        for phone in shown:
            frame = min(round((phone.start + phone.end) / 2 * FPS), len(motion) - 1)
            label = f"{name}: {phone.name}  {phone.start:.2f} s"
            tiles.append(Tile(label, studio.close_up(motion[frame], 210, 1.25, 1.15)))
    half = len(shown) // 2
    pairs = [tiles[start + row * half : start + (row + 1) * half] for row in (0, 1) for start in (0, len(shown))]
    return sheet([tile for row in pairs for tile in row], half)


def marked(phones: Sequence[Phone], count: int) -> list[Phone]:
    """``count`` phones (an even number) of a sentence in order: those that show most, then the longest."""
    telling = {"m", "b", "p", "f", "v", "uw", "ow", "w", "aa", "ay", "iy", "ey", "th", "sh"}
    spoken = [phone for phone in phones if phone.name != SILENCE]
    order = sorted(spoken, key=lambda phone: (phone.name not in telling, -phone.seconds))
    chosen = order[: min(count, len(spoken)) // 2 * 2]
    return sorted(chosen, key=lambda phone: phone.start)


SHEETS = ("identities", "visemes", "moods", "sentence", "screens")


def write(out: Path, avatar: str, checkpoint: Path, only: Sequence[str] = SHEETS) -> list[Path]:
    """Write the sheets named to ``out``. Raises UserError."""
    make_place(out / "gallery_identities.jpg", "The gallery")
    chosen = load_avatar(avatar_path(avatar))
    canvas = OffscreenCanvas(64, 64)
    studio = Studio(chosen, canvas)
    make: dict[str, Callable[[], Image.Image]] = {
        "identities": lambda: identities(avatar_names(), canvas),
        "visemes": lambda: visemes(studio),
        "moods": lambda: moods(studio),
        "sentence": lambda: sentence(studio, checkpoint),
        "screens": lambda: screens.draw(chosen, canvas, screens.shots()),
    }
    for name in only:
        save(make[name](), out / f"gallery_{name}.jpg", MOST_BYTES if name != "screens" else SCREENS_BYTES)
    studio.renderer.close()
    return [out / f"gallery_{name}.jpg" for name in only]


def main(argv: list[str] | None = None) -> int:
    """The command line. Gives the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m demo.gallery", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("docs/pictures"), metavar="DIR")
    parser.add_argument("--avatar", default="maya", metavar="NAME", help="who shows visemes, moods and the sentence")
    parser.add_argument("--checkpoint", type=Path, default=DEFAULT_WEIGHTS, metavar="FILE", help="the model's weights")
    parser.add_argument("--only", nargs="+", choices=SHEETS, default=SHEETS, metavar="SHEET", help="the sheets to draw")
    options = parser.parse_args(argv)
    try:
        files = write(options.out, options.avatar, options.checkpoint, options.only)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    for file in files:
        print(f"{file}: {file.stat().st_size // 1000} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
