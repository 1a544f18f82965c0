"""Turns taken along while they are spoken: which are written, what the files hold, and that nothing is lost or kept."""

import dataclasses
import logging
import os
import signal
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pygltflib
import pytest
import soundfile

from demo.avatar import load_avatar
from demo.export.fitting import fit_weights
from demo.export.live import Take, TurnExporter, check_place, finish, last_turn
from demo.export.motion import ExportError, load_motion
from demo.preflight import check
from demo.settings import Settings
from streamingtalker.errors import UserError
from streamingtalker.topology import DEFAULT_AVATAR, load_topology

RATE, FPS = 24_000, 30.0


@pytest.fixture(scope="module")
def avatar():
    return load_avatar()


@pytest.fixture(scope="module")
def motion(avatar) -> np.ndarray:
    """A second of frames as they come, float16 [30, V, 3]."""
    weights = np.clip(np.random.default_rng(0).normal(0.1, 0.2, (30, 52)), 0, 1)
    return avatar.rig.offsets(weights).astype(np.float16)


def exporter(folder: Path) -> TurnExporter:
    return TurnExporter(folder, DEFAULT_AVATAR, load_topology().mesh)


def speak(tap: TurnExporter, turn: int, motion: np.ndarray, heard: float, seconds: float = 1.0) -> None:
    """What the client does with a turn of a second, of which ``heard`` seconds are heard."""
    tap.begin(turn, RATE, FPS)
    for index, offsets in enumerate(motion):
        tap.sound(turn, np.full(int(seconds * RATE / len(motion)), index / 100, np.float32))
        tap.frame(turn, index, offsets)
    tap.end(turn, heard)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_every_turn_becomes_four_files(tmp_path, motion, avatar):
    with exporter(tmp_path / "taken") as tap:
        speak(tap, 1, motion, heard=1.0)
        speak(tap, 2, motion, heard=0.4)  # interrupted
        speak(tap, 3, motion, heard=0.0)  # begun in secret and taken back
        tap.begin(4, RATE, FPS)  # broken off with the session
        tap.frame(4, 0, motion[0])
    files = {f"turn-{turn:03d}.{kind}" for turn in (1, 2) for kind in ("wav", "npz", "csv", "glb")}
    assert names(tmp_path / "taken") == files
    whole = load_motion(tmp_path / "taken" / "turn-001.npz")
    assert whole.fps == FPS and np.abs(whole.offsets - motion).max() < 1e-6
    assert len(load_motion(tmp_path / "taken" / "turn-002.npz").offsets) == 12
    sound, rate = soundfile.read(tmp_path / "taken" / "turn-002.wav")
    assert rate == RATE and len(sound) == 0.4 * RATE and sound[-1] == pytest.approx(0.11, abs=1e-3)
    document = pygltflib.GLTF2().load(str(tmp_path / "taken" / "turn-001.glb"))
    assert document.animations[0].extras == {"fps": FPS, "frames": 30, "sound": "turn-001.wav"}
    rows = (tmp_path / "taken" / "turn-001.csv").read_text().splitlines()
    assert len(rows) == 31
    jaw = rows[0].split(",").index("JawOpen")
    wanted = fit_weights(avatar.rig, motion).weights[:, avatar.rig.shape_names.index("jawOpen")]
    assert [float(row.split(",")[jaw]) for row in rows[1:]] == pytest.approx(wanted, abs=1e-6)


def test_older_turns_are_counted_on_from_and_not_touched(tmp_path, motion):
    (tmp_path / "turn-007.wav").write_bytes(b"old")
    (tmp_path / "turntable-9.wav").write_bytes(b"other")
    assert last_turn(tmp_path) == 7 and last_turn(tmp_path / "gone") == 0
    with exporter(tmp_path) as tap:
        speak(tap, 1, motion[:3], heard=0.1)
    assert (tmp_path / "turn-007.wav").read_bytes() == b"old" and "turn-008.glb" in names(tmp_path)


def test_a_long_turn_needs_no_more_memory_than_a_short_one(tmp_path, motion, avatar):
    """Twenty seconds: 20 MB of frames as they come, 40 MB of vertices."""
    stem = tmp_path / "turn-001"
    take = Take(stem, FPS)
    soundfile.write(take.sound, np.zeros(20 * RATE, np.float32), RATE)
    with take.frames.open("wb") as file:
        for _ in range(20):
            file.write(motion.tobytes())
    small = dataclasses.replace(avatar, parts=avatar.parts[-1:])  # the surface is the same for all lengths
    tracemalloc.start()
    finish(take, 20.0, small)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    with np.load(stem.with_suffix(".npz")) as file:
        assert file["vertices"].shape == (600, *avatar.template.shape)
    assert not take.frames.exists() and peak < 250e6


def test_a_disk_that_takes_no_more_costs_the_files_and_not_the_conversation(tmp_path, motion, caplog):
    failure = pytest.raises(ExportError, match="Not every turn could be written")
    with caplog.at_level(logging.ERROR), failure, exporter(tmp_path) as tap:
        speak(tap, 1, motion[:3], heard=0.1)
        full = OSError(28, "No space left on device")

        def write(_: bytes) -> int:
            raise full

        tap.begin(2, RATE, FPS)
        tap._take.frames.close()
        tap._take.frames = type("Full", (), {"write": staticmethod(write), "close": lambda self: None})()
        tap.frame(2, 0, motion[0])
        tap.frame(2, 1, motion[1])
        tap.end(2, 0.1)
    assert caplog.text.count("No space left") == 1
    assert names(tmp_path) == {f"turn-001.{kind}" for kind in ("wav", "npz", "csv", "glb")}  # no halves


def test_what_cannot_work_is_said_before_the_session(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(UserError, match=r"--export .*cannot be written"):
        check(Settings(export=tmp_path / "file", server="ws://127.0.0.1:1"))
    with pytest.raises(ExportError, match="leave out --export or --talker"):
        TurnExporter(tmp_path, DEFAULT_AVATAR, "another mesh")
    monkeypatch.setitem(sys.modules, "pygltflib", None)
    with pytest.raises(ExportError, match="pip install pygltflib=="):
        check_place(tmp_path)


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="Ctrl-C of a terminal is another thing on Windows")
def test_ctrl_c_of_the_whole_terminal_leaves_finished_turns(tmp_path):
    program = f"""
import numpy as np, time
from tests.test_export_live import exporter, speak
if __name__ == "__main__":
    with exporter(__import__("pathlib").Path({str(tmp_path)!r})) as tap:
        speak(tap, 1, np.zeros((30, {load_topology().vertex_count}, 3), np.float16), heard=1.0)
        print("spoken", flush=True)
        time.sleep(60)
"""
    script = tmp_path / "program.py"
    script.write_text(program)
    root = Path(__file__).resolve().parent.parent
    process = subprocess.Popen(
        [sys.executable, str(script)],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert process.stdout is not None and process.stdout.readline() == b"spoken\n"
    os.killpg(process.pid, signal.SIGINT)
    process.wait(60)
    assert {"turn-001.wav", "turn-001.npz", "turn-001.csv", "turn-001.glb"} <= names(tmp_path)
    assert not [name for name in names(tmp_path) if name.startswith(".")]
