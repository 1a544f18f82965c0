"""Full disks, caches that cannot be written to, and too little memory."""

import os
import resource
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from demo.models import ModelStore
from demo.recorder import Recorder, RecorderError
from demo.trace import SessionTrace, TraceError
from tests.e2e.conftest import REPOSITORY

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits and /dev/full are Linux'")


def test_a_trace_for_which_there_is_no_room_is_told_in_a_sentence():
    with pytest.raises(TraceError, match="check --trace and the free space there"):
        SessionTrace().write(Path("/dev/full"))


def test_a_film_for_which_there_is_no_room_ends_and_the_session_goes_on(tmp_path):
    """In a process of its own, whose files may grow to 100 kB only."""
    code = f"""
        import resource, signal
        from pathlib import Path
        import numpy as np
        from demo.recorder import Recorder, RecorderError

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # as where the disk is full: writing fails
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        recorder = Recorder(Path({str(tmp_path / "film.mp4")!r}), (320, 240), 24000)
        rng = np.random.default_rng(0)
        for k in range(150):
            while recorder._pictures > 6:
                pass
            recorder.video(rng.integers(0, 255, (240, 320, 3), np.uint8), k / 30)
            recorder.audio(np.zeros(800, np.float32))
        print("still there")
        try:
            recorder.close()
        except RecorderError as error:
            print(error)
    """
    done = run(code)
    assert done.stdout.startswith("still there\n"), done.stderr
    assert "could not be written to its end" in done.stdout and "free space" in done.stdout


def run(code: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=REPOSITORY, capture_output=True, text=True, timeout=100
    )


def test_a_film_that_broke_off_keeps_nothing_in_memory(tmp_path):
    recorder = Recorder(tmp_path / "film.mp4", (64, 64), 24000)
    recorder._film.sound = recorder._film.picture = broken
    for _ in range(2000):
        recorder.audio(np.zeros(480, np.float32))
    with pytest.raises(RecorderError, match="No space left"):
        recorder.close()
    assert not recorder._todo


def broken(*_: object) -> None:
    raise OSError(28, os.strerror(28))


def test_models_in_a_cache_that_cannot_be_written_to_are_still_found():
    """Nothing is written to use what is there."""
    store = ModelStore()
    if not store.has("whisper-tiny-en"):
        pytest.skip("no model is there")
    before = sorted(path.stat().st_mtime_ns for path in store.path("whisper-tiny-en").parent.rglob("*"))
    path = ModelStore().path("whisper-tiny-en")
    assert sorted(found.stat().st_mtime_ns for found in path.parent.rglob("*")) == before


def test_a_demo_with_little_memory_ends_in_a_sentence_or_runs(tmp_path, measured):
    """2.5 GB, as in a small container: an answer, or an end with one sentence."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "run_demo.py", "--headless", "--say", "Hello.", "--record", str(tmp_path / "film.mp4")],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=200,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (2_500_000_000, 2_500_000_000)),
    )
    measured(f"ended with status {done.returncode}", time.monotonic() - began)
    assert done.returncode in (0, 2), done.stderr
