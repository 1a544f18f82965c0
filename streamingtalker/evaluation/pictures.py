"""Pictures of scores: where on a face the errors are, and films of truth and predictions side by side.

Faces are drawn flat-shaded, far triangles first, by Pillow: no graphics card, no window.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from streamingtalker.config import RATE
from streamingtalker.evaluation.methods import Method
from streamingtalker.evaluation.sequences import Target, TestBed
from streamingtalker.topology import Topology

WIDTH, HEIGHT = 448, 512  # pixels of one face
FINE = 2  # drawn so many times larger and reduced, for smooth edges
LIGHT = np.array([0.3, 0.4, 0.87])  # towards it; the face looks along +z
SKIN = np.array([205, 190, 178])
PAPER = (250, 250, 250)
INK = (30, 30, 30)
HEAT = np.array([[49, 54, 149], [116, 173, 209], [255, 255, 191], [244, 109, 67], [165, 0, 38]])  # little … much
MARGIN = 1.45  # of the picture around lips and upper face


@dataclass(frozen=True)
class View:
    """Where a face is seen from: straight on, without perspective."""

    faces: np.ndarray  # int [F, 3]
    centre: np.ndarray  # [2] in the middle of the picture
    scale: float  # pixels for a unit of length

    @classmethod
    def of(cls, face: Topology) -> "View":
        """A view that holds the regions metrics look at, and a margin."""
        region = face.template[np.concatenate([face.lips, face.upper_face]), :2]
        low, high = region.min(0), region.max(0)
        scale = float((np.array([WIDTH, HEIGHT]) / (MARGIN * np.maximum(high - low, 1e-6))).min())
        return cls(face.faces, (low + high) / 2, scale)

    def draw(self, vertices: np.ndarray, colours: np.ndarray | None = None) -> Image.Image:
        """A picture of absolute ``vertices`` [V, 3], in ``colours`` [F, 3] of 0 … 255 where given."""
        corners = vertices[self.faces]  # [F, 3, 3]
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        length = np.maximum(np.linalg.norm(normals, axis=1), 1e-20)
        light = 0.35 + 0.65 * np.abs(normals @ LIGHT) / length
        shades = np.clip((SKIN if colours is None else colours) * light[:, None], 0, 255).astype(np.uint8)
        points = (corners[:, :, :2] - self.centre) * (self.scale, -self.scale) + (WIDTH / 2, HEIGHT / 2)
        picture = Image.new("RGB", (FINE * WIDTH, FINE * HEIGHT), PAPER)
        pen = ImageDraw.Draw(picture)
        flat = (FINE * points).reshape(-1, 6)
        for index in np.argsort(corners[:, :, 2].mean(1)):
            pen.polygon(flat[index].tolist(), fill=tuple(shades[index].tolist()))
        return picture.reduce(FINE)


def write_heat_map(path: Path, bed: TestBed, errors: Sequence[np.ndarray], name: str) -> None:
    """A PNG of the face at rest, coloured by how far each vertex is from the truth; ``errors`` [V] of each sequence."""
    mean = np.mean(errors, axis=0)
    most = float(np.quantile(mean, 0.995)) or 1.0
    view = View.of(bed.topology)
    colours = heat(mean[bed.topology.faces].mean(1) / most)
    picture = Image.new("RGB", (WIDTH, HEIGHT + 64), PAPER)
    picture.paste(view.draw(bed.topology.template, colours))
    unit, factor = ("mm", 1000) if bed.units == "m" else ("of the normalised face", 1)
    _legend(picture, f"{name}: mean vertex error", f"{most * factor:.3g} {unit}")
    picture.save(path)


def heat(values: np.ndarray) -> np.ndarray:
    """Colours [n, 3], 0 … 255, of values [n] from 0 to 1."""
    places = np.linspace(0, 1, len(HEAT))
    return np.stack([np.interp(values, places, channel) for channel in HEAT.T], axis=1)


def write_film(path: Path, bed: TestBed, target: Target, methods: Sequence[Method], seed: int) -> None:
    """An MP4 with the target's sound: the truth at the left, then each method in its first style."""
    import av

    columns = [bed.true_motion(target)]
    columns += [method.motion(target, method.conditions(target)[0], seed) for method in methods]
    labels = ["ground truth", *(method.name for method in methods)]
    size = (WIDTH * len(columns), HEIGHT + 32)
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=bed.corpus.fps, options={"crf": "20"})
        video.width, video.height, video.pix_fmt = *size, "yuv420p"
        sound = container.add_stream("aac", rate=RATE, layout="mono")
        pcm = bed.sound(target)
        view = View.of(bed.topology)
        for number, faces in enumerate(zip(*(_single(column) for column in columns), strict=False)):
            picture = Image.new("RGB", size, PAPER)
            for column, (vertices, label) in enumerate(zip(faces, labels, strict=True)):
                picture.paste(view.draw(vertices), (column * WIDTH, 32))
                _write(picture, label, (column * WIDTH + 12, 6))
            frame = av.VideoFrame.from_image(picture)
            frame.pts, frame.time_base = number, Fraction(1, bed.corpus.fps)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        heard = av.AudioFrame.from_ndarray(pcm[None].astype(np.float32), format="fltp", layout="mono")
        heard.sample_rate, heard.pts, heard.time_base = RATE, 0, Fraction(1, RATE)
        container.mux([*sound.encode(heard), *sound.encode(None)])


def _single(pieces: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Frame by frame."""
    for piece in pieces:
        yield from piece


def _legend(picture: Image.Image, title: str, most: str) -> None:
    bar = heat(np.linspace(0, 1, WIDTH - 120)).astype(np.uint8)[None].repeat(14, axis=0)
    picture.paste(Image.fromarray(bar), (24, HEIGHT + 38))
    _write(picture, title, (24, HEIGHT + 6))
    _write(picture, "0", (8, HEIGHT + 34))
    _write(picture, most, (WIDTH - 90, HEIGHT + 34))


def _write(picture: Image.Image, text: str, place: tuple[int, int]) -> None:
    ImageDraw.Draw(picture).text(place, text, fill=INK, font=ImageFont.load_default(16))
