"""``python -m demo.export MOTION.npz --out DIR``: a motion taken along into Blender, Unreal, Unity or a web page."""

import argparse
import shutil
import sys
from pathlib import Path

from demo.avatar import Avatar, load_avatar
from demo.export.arkit import Fit, write_live_link, write_weights
from demo.export.fitting import fit_weights
from demo.export.gltf import write_gltf
from demo.export.gltf_parts import gltf_library
from demo.export.motion import ExportError, check_mesh, load_motion
from streamingtalker.errors import UserError
from streamingtalker.places import make_place
from streamingtalker.topology import avatar_path

FORMATS = {"csv": ".csv", "gltf": ".glb", "npz": ".arkit.npz"}  # and how the file's name ends


def export(motion: Path, out: Path, avatar: str, sound: Path | None, formats: list[str]) -> tuple[Fit, list[Path]]:
    """Write ``motion`` to the folder ``out`` in all ``formats``. The weights, and the files. Raises UserError."""
    if "gltf" in formats:
        gltf_library()  # said before the work
    files = {name: out / (motion.stem + FORMATS[name]) for name in formats}
    for file in files.values():
        make_place(file, "The export")
    moved, look = load_motion(motion), load_avatar(avatar_path(avatar))
    check_mesh(moved, look.rig)
    copied = _copy(sound, out) if sound else None
    fit = fit_weights(look.rig, moved.offsets)
    for name, file in files.items():
        _write(name, file, look, fit, moved.fps, copied)
    return fit, [*files.values(), *([copied] if copied else [])]


def _write(name: str, file: Path, avatar: Avatar, fit: Fit, fps: float, sound: Path | None) -> None:
    if name == "csv":
        write_live_link(file, fit, fps)
    elif name == "gltf":
        write_gltf(file, avatar, fit, fps, sound.name if sound else None)
    else:
        write_weights(file, fit, fps)


def _copy(sound: Path, out: Path) -> Path:
    """Put the sound beside what refers to it."""
    if not sound.is_file():
        raise ExportError(f"The sound {sound} does not exist; check the path.")
    copy = out / sound.name
    if not copy.exists() or not copy.samefile(sound):
        shutil.copyfile(sound, copy)
    return copy


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m demo.export",
        description="Take a motion along: ARKit weights as a Live Link Face take (CSV) and a NumPy archive, "
        "and a head that moves by them (glTF) for Blender, three.js and others.",
    )
    parser.add_argument("motion", type=Path, metavar="MOTION.npz", help="of python -m streamingtalker.generate")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder to write to")
    parser.add_argument("--avatar", default="maya", metavar="NAME", help="who wears it (default: maya)")
    parser.add_argument("--sound", type=Path, metavar="SPEECH.wav", help="the speech, copied beside and referred to")
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS), help="default: all")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """The command line. Gives the exit status."""
    try:
        options = _arguments(argv)
        fit, files = export(options.motion, options.out, options.avatar, options.sound, options.formats)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    except OSError as error:
        print(f"{options.out} cannot be written to ({error}); check the free space there.", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    for file in files:
        print(f"{file}: {file.stat().st_size / 1000:.0f} kB")
    print(
        f"{len(fit.weights)} frames; between the weights and the motion lie {fit.mean_mm.mean():.3f} mm on average, "
        f"{fit.max_mm.max():.2f} mm at most."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
