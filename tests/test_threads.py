"""Who gets the processors."""

import os
import sys
import threading

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from demo import threads
from demo.threads import limit_blas, make_later, yield_processors


def test_numpy_multiplies_in_its_callers_thread():
    np.ones((2, 2)) @ np.ones((2, 2))
    limit_blas(2)  # whatever the environment had said
    limit_blas()
    counts = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
    assert counts and set(counts) == {1}


on_linux = pytest.mark.skipif(
    sys.platform != "linux", reason="threads of a process have priorities of their own on Linux"
)


@on_linux
def test_only_threads_of_that_name_come_later(tmp_path, monkeypatch):
    begun, over = threading.Event(), threading.Event()
    native: list[int] = []

    def wait() -> None:
        native.append(threading.get_native_id())
        begun.set()
        over.wait(10)

    thread = threading.Thread(target=wait)
    thread.start()
    assert begun.wait(10)
    for number, name in ((native[0], "llvmpipe-0\n"), (threading.get_native_id(), "python\n")):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "comm").write_text(name)
    monkeypatch.setattr(threads, "_THREADS", tmp_path)
    own = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    try:
        yield_processors("llvmpipe")
        assert os.getpriority(os.PRIO_PROCESS, native[0]) == min(own + 7, 19)
        assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == own
    finally:
        over.set()
        thread.join()


def priority() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


@on_linux
def test_threads_of_what_is_made_later_come_later_and_nobody_else():
    own, theirs = priority(), []

    def make() -> threading.Thread:
        thread = threading.Thread(target=lambda: theirs.append(priority()))
        thread.start()
        return thread

    make_later(make).join(10)
    assert theirs == [min(own + 3, 19)] and priority() == own


def test_what_cannot_be_made_later_is_said():
    with pytest.raises(ZeroDivisionError):
        make_later(lambda: 1 // 0)
