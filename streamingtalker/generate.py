"""Speech file in, motion file out: ``python -m streamingtalker.generate SPEECH.wav --out MOTION.npz``."""

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from rich.progress import Progress, TimeRemainingColumn

from streamingtalker.audio import RATE, Resampler, load_audio
from streamingtalker.checkpoint import load_talker
from streamingtalker.config import frame_count
from streamingtalker.errors import command_line
from streamingtalker.mood import Mood
from streamingtalker.places import make_place, writing
from streamingtalker.streamer import FaceModel, FaceStreamer

DEFAULT_WEIGHTS = Path(__file__).resolve().parent.parent / "assets" / "weights" / "default.safetensors"


def generate(
    talker: FaceModel,
    pcm: np.ndarray,
    rate: int = RATE,
    *,
    identity: int = 0,
    mood: Mood = Mood(),
    seed: int = 0,
    progress: Callable[[int], None] = lambda frames: None,
) -> np.ndarray:
    """Offsets [frames, V, 3] in metres for mono ``pcm`` [n] at ``rate``. ``progress`` hears of new frames."""
    streamer = FaceStreamer(talker, identity=identity, mood=mood, seed=seed)
    pieces = []
    for frames in streamer.stream(_at_model_rate(pcm, rate)):
        pieces.append(frames)
        progress(len(frames))
    return np.concatenate(pieces)


def save_motion(path: Path, talker: FaceModel, offsets: np.ndarray) -> None:
    """Write ``vertices`` float32 [frames, V, 3] in metres, y up, with what is needed to draw and to judge them."""
    face = talker.topology
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        np.savez(
            file,
            vertices=face.template + offsets,
            template=face.template,
            faces=face.faces,
            fps=np.int64(talker.dims.fps),
            lip_pairs=face.lip_pairs,
            upper_face=face.upper_face,
        )


def _at_model_rate(pcm: np.ndarray, rate: int) -> Iterator[np.ndarray]:
    resampler = Resampler(rate, RATE)
    yield resampler.feed(pcm)
    yield resampler.finish()


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m streamingtalker.generate",
        description="Let a face speak a recording: the motion of its mesh, frame by frame, as a NumPy archive.",
    )
    parser.add_argument("speech", type=Path, help="WAV, FLAC or MP3, any rate", metavar="SPEECH.wav")
    parser.add_argument("--out", type=Path, required=True, help="where the motion goes", metavar="MOTION.npz")
    parser.add_argument(
        "--checkpoint", type=Path, default=DEFAULT_WEIGHTS, help="weights, if not the default ones", metavar="FILE"
    )
    parser.add_argument("--identity", type=int, default=0, help="speaking style, counted from 0", metavar="N")
    parser.add_argument(
        "--mood", type=Mood.parse, default=Mood(), help="neutral, happy, serious, sad or surprised; happy:0.6 for less"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the face's variation", metavar="N")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or mps (default: cpu)")
    return parser.parse_args(argv)


@command_line
def main(argv: list[str] | None = None) -> int:
    """The command line. Gives the exit status."""
    arguments = _arguments(argv)
    make_place(arguments.out, "The motion")
    pcm, rate = load_audio(arguments.speech)
    talker = load_talker(arguments.checkpoint, arguments.device)
    with Progress(*Progress.get_default_columns()[:-1], TimeRemainingColumn()) as bar:
        task = bar.add_task("frames", total=frame_count(round(len(pcm) * RATE / rate), talker.dims.fps))
        offsets = generate(
            talker,
            pcm,
            rate,
            identity=arguments.identity,
            mood=arguments.mood,
            seed=arguments.seed,
            progress=lambda count: bar.advance(task, count),
        )
    with writing(arguments.out):
        save_motion(arguments.out, talker, offsets)
    print(f"{arguments.out}: {len(offsets)} frames at {talker.dims.fps} a second.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
