"""Every spoken turn of a session taken along: motion, ARKit take, glTF head and sound, made in the background.

The client's thread only appends what passes to files, so a turn may be as long as it likes. What is made of them is
made by a process of its own, in chunks and with low priority: it neither holds up the face nor ends with Ctrl-C.
"""

import contextlib
import logging
import multiprocessing
import os
import signal
import sys
import zipfile
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import soundfile

from demo.avatar import Avatar, load_avatar
from demo.export.arkit import write_live_link
from demo.export.gltf import write_gltf
from demo.export.gltf_parts import gltf_library
from demo.export.motion import ExportError
from demo.interruption import without_ctrl_c
from demo.tap import Tap
from streamingtalker.places import make_place
from streamingtalker.topology import Topology, load_topology

log = logging.getLogger(__name__)

_CHUNK = 256  # frames written at a time
_NICENESS = 10


@dataclass(frozen=True)
class Take:
    """One turn as it lies on disk: ``stem``.wav and the frames, float16 [T, V, 3], in a file beside it."""

    stem: Path  # DIR/turn-NNN
    fps: float

    @property
    def frames(self) -> Path:
        """Where the frames are until the turn's files are made of them."""
        return self.stem.with_name(f".{self.stem.name}.frames")

    @property
    def sound(self) -> Path:
        """The voice."""
        return self.stem.with_suffix(".wav")


class TurnExporter(Tap):
    """Writes each turn that was heard to ``DIR/turn-NNN`` .wav, .npz, .csv and .glb, counting on from what is there.

    Use it as a context manager: whatever happens inside, the turns that were spoken are finished before it ends.
    """

    def __init__(self, folder: Path, avatar: Path, mesh: str) -> None:
        """``avatar``: the file of the face that wears the motion; ``mesh``: Topology.mesh of the frames.

        Raises ExportError, PlaceError or CheckpointError.
        """
        check_place(folder)
        if load_topology(avatar).mesh != mesh:
            raise ExportError("Only frames of our avatars' mesh have ARKit weights; leave out --export or --talker.")
        context = multiprocessing.get_context("spawn")
        far_end, self._pipe = context.Pipe(duplex=False)
        self._process = context.Process(target=work, args=(far_end, avatar), name="export")
        self._far_end = far_end
        self._folder, self._before = folder, last_turn(folder)
        self._take: _Writing | None = None
        self._lost = False  # something could not be written

    def __enter__(self) -> "TurnExporter":
        with without_ctrl_c():
            self._process.start()
        self._far_end.close()  # so that the pipe breaks when the process dies
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._take is not None:  # broken off before it was told how far it got
            self._take.discard()
        self._pipe.close()  # the process ends when it has done what it was given
        self._process.join()
        if kind is None and (self._lost or self._process.exitcode):
            raise ExportError(f"Not every turn could be written to {self._folder}; the reason is said above.")

    def begin(self, turn: int, rate: int, fps: float) -> None:
        """A turn begins."""
        with self._excused():
            self._take = _Writing(Take(self._folder / f"turn-{self._before + turn:03d}", fps), rate)

    def sound(self, turn: int, pcm: np.ndarray) -> None:
        """The next samples, float32 [n]."""
        with self._excused():
            if self._take is not None:
                self._take.sound.write(pcm)

    def frame(self, turn: int, index: int, offsets: np.ndarray) -> None:
        """The next frame's offsets float16 [V, 3]."""
        with self._excused():
            if self._take is not None:
                self._take.frames.write(offsets.tobytes())

    def end(self, turn: int, seconds: float) -> None:
        """Have files made of what was heard of the turn."""
        take, self._take = self._take, None
        if take is None:
            return
        with self._excused():
            if seconds <= 0:
                take.discard()
            else:
                take.close()
                self._pipe.send((take.take, seconds))

    @contextlib.contextmanager
    def _excused(self) -> Any:  # noqa: ANN401 - a generator
        """What cannot be written costs the turn's files, not the conversation."""
        try:
            yield
        except (OSError, soundfile.LibsndfileError) as error:
            if not self._lost:
                log.error("Turns cannot be written to %s any more (%s); check the space there.", self._folder, error)
            if self._take is not None:
                self._take.discard()
            self._lost, self._take = True, None


class _Writing:
    """A take that grows."""

    def __init__(self, take: Take, rate: int) -> None:
        self.take = take
        self.frames = take.frames.open("wb")
        self.sound = soundfile.SoundFile(take.sound, "w", rate, 1, "PCM_16")

    def close(self) -> None:
        self.frames.close()
        self.sound.close()

    def discard(self) -> None:
        """Nobody heard it."""
        with contextlib.suppress(OSError):
            self.close()
            self.take.frames.unlink()
            self.take.sound.unlink()


def check_place(folder: Path) -> None:
    """Raise PlaceError where nothing can be written to ``folder``, ExportError where glTF cannot be written."""
    gltf_library()
    make_place(folder / "turn-000.wav", "--export")


def last_turn(folder: Path) -> int:
    """The highest number of a turn in ``folder``, finished or not; 0 where there is none."""
    numbers = [path.name.lstrip(".").removeprefix("turn-").split(".")[0] for path in folder.glob("*turn-*")]
    return max((int(number) for number in numbers if number.isdigit()), default=0)


def work(pipe: Connection, avatar: Path) -> None:
    """The background process: makes the files of each take that comes until nobody can send more."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # its parent decides when it ends
    if hasattr(os, "nice"):
        os.nice(_NICENESS)
    look, failed = load_avatar(avatar), False
    with contextlib.suppress(EOFError):
        while True:
            take, seconds = pipe.recv()
            try:
                finish(take, seconds, look)
            except (OSError, ExportError, soundfile.LibsndfileError) as error:
                print(f"{take.stem} could not be written ({error}); check the space there.", file=sys.stderr)
                failed = True
    sys.exit(failed)


def finish(take: Take, seconds: float, avatar: Avatar) -> None:
    """Make the files of a take of which the first ``seconds`` were heard; its frames are deleted."""
    from demo.export.fitting import fit_weights  # takes 0.2 s to load: in the background process, then

    shorten(take.sound, seconds)
    frame_bytes = avatar.template.size * 2
    size = take.frames.stat().st_size
    count = min(size // frame_bytes, max(1, round(seconds * take.fps)))
    if count and size % frame_bytes == 0:
        shape = (count, *avatar.template.shape)
        offsets = np.memmap(take.frames, np.dtype("<f2"), "r", shape=shape)
        write_motion(take.stem.with_suffix(".npz"), offsets, avatar.topology, take.fps)
        fit = fit_weights(avatar.rig, offsets)
        write_live_link(take.stem.with_suffix(".csv"), fit, take.fps)
        write_gltf(take.stem.with_suffix(".glb"), avatar, fit, take.fps, take.sound.name)
        del offsets  # Windows deletes no file that is mapped
    take.frames.unlink()


def shorten(sound: Path, seconds: float) -> None:
    """Cut off what was not heard."""
    with soundfile.SoundFile(sound, "r+") as file:
        if (kept := round(seconds * file.samplerate)) < file.frames:
            file.truncate(kept)


def write_motion(path: Path, offsets: np.ndarray, topology: Topology, fps: float) -> None:
    """What ``streamingtalker.generate`` writes of a motion [T, V, 3], with no more of it in memory than a chunk."""
    small = {"template": topology.template, "faces": topology.faces, "fps": np.float64(fps)}
    small |= {"lip_pairs": topology.lip_pairs, "upper_face": topology.upper_face}
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in small.items():
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, np.asanyarray(array))
        with archive.open("vertices.npy", "w", force_zip64=True) as file:
            header = {"descr": "<f4", "fortran_order": False, "shape": offsets.shape}
            np.lib.format.write_array_header_2_0(file, header)
            for start in range(0, len(offsets), _CHUNK):
                file.write((topology.template + offsets[start : start + _CHUNK]).astype("<f4").tobytes())
