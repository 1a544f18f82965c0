"""The wall clock may jump by an hour: nothing of the demo goes by it."""

import ast
import time
from pathlib import Path

import numpy as np
import pytest

from demo.playback import Playback, SimulatedSpeaker

DEMO = Path(__file__).resolve().parent.parent.parent / "demo"
WALL = {("time", "time"), ("time", "time_ns"), ("datetime", "now"), ("datetime", "utcnow"), ("datetime", "today")}
STAMPS = {"kiosk.py", "logs.py"}  # write down when something was; nothing waits for it


def wall_clocks(source: str) -> list[str]:
    """Places that ask what time it is on the wall."""
    calls = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Attribute))
    return [
        f"line {node.lineno}: {ast.unparse(node)}"
        for node in calls
        if isinstance(node.value, ast.Name) and (node.value.id, node.attr) in WALL
    ]


@pytest.mark.parametrize("path", sorted(DEMO.rglob("*.py")), ids=lambda path: str(path.relative_to(DEMO)))
def test_no_module_goes_by_the_wall_clock(path):
    found = wall_clocks(path.read_text("utf-8"))
    assert not found or path.name in STAMPS, found


def test_the_search_finds_what_it_looks_for():
    assert wall_clocks("import time\nwhile time.time() < 3: pass") == ["line 2: time.time"]
    assert wall_clocks("import time\ntime.monotonic()") == []


@pytest.mark.parametrize("jump", [3600.0, -3600.0])
def test_sound_goes_on_while_the_wall_clock_jumps(monkeypatch, jump, measured):
    playback = Playback(SimulatedSpeaker())
    playback.open()
    done = playback.begin(1, 24000)
    playback.write(1, np.full(24000, 0.1, np.float32))
    playback.end(1)
    wall = time.time
    monkeypatch.setattr(time, "time", lambda: wall() + jump)
    began = time.monotonic()
    assert done.result(10) is True
    assert 0.9 <= measured("one second of sound took", time.monotonic() - began) < 5
    playback.close()
