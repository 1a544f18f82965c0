"""Signals end a program once, in good order, and are heard even where a library swallows exceptions."""

import os
import signal
import subprocess
import sys
import time

import pytest

import demo.interruption as interruption_module
from demo.interruption import Interrupted, interruptible


def test_a_signal_raises_with_its_exit_status():
    for number, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        with pytest.raises(Interrupted) as interrupted, interruptible():
            os.kill(os.getpid(), number)
        assert interrupted.value.status == status


def test_one_that_a_library_swallowed_is_raised_again():
    with pytest.raises(Interrupted), interruptible() as interruption:
        interruption.check()  # nothing has come
        with pytest.raises(Interrupted):
            os.kill(os.getpid(), signal.SIGTERM)
        interruption.check()


def test_closing_is_not_disturbed_and_the_handlers_come_back(caplog):
    before = signal.getsignal(signal.SIGINT)
    with caplog.at_level("INFO"), interruptible() as interruption:
        interruption.closing()
        os.kill(os.getpid(), signal.SIGINT)
    assert "once more ends at once" in caplog.text
    assert signal.getsignal(signal.SIGINT) is before


def test_a_third_signal_ends_a_closing_that_hangs():
    program = (
        "import os, signal\n"
        "from demo.interruption import interruptible\n"
        "with interruptible() as interruption:\n"
        "    interruption.closing()\n"
        "    for _ in range(2):\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "    print('still here')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == -signal.SIGTERM and "still here" not in done.stdout


HANGS = """
import ctypes, os, signal, threading
from demo.interruption import interruptible
from demo.trace import TraceError
def last_words():
    print("last words", flush=True)
    {fails}
with interruptible(last_words):
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
    lock = ctypes.create_string_buffer(64)
    libc = ctypes.CDLL(None)
    libc.pthread_mutex_lock(lock)
    libc.pthread_mutex_lock(lock)  # for ever, whatever comes
"""


@pytest.mark.skipif(sys.platform != "linux", reason="that mutex is Linux's")
@pytest.mark.realtime
@pytest.mark.parametrize("fails", ["pass", "raise TraceError('The disk is full.')", "raise OSError('unforeseen')"])
def test_a_main_thread_that_hangs_within_a_library_is_ended_by_the_first_signal(fails):
    began = time.monotonic()
    program = HANGS.format(fails=fails)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20)
    assert done.returncode == 128 + signal.SIGTERM and done.stdout == "last words\n"
    assert "hears nothing" in done.stderr
    assert ("The disk is full.\n" in done.stderr) == ("full" in fails)
    assert ("Traceback" in done.stderr and "unforeseen" in done.stderr) == ("unforeseen" in fails)
    assert time.monotonic() - began < 3.2 + 5  # of which the start of the process is some


def test_a_main_thread_that_hears_is_not_ended(monkeypatch):
    monkeypatch.setattr(interruption_module, "_HANGING_SECONDS", 0.1)
    with pytest.raises(Interrupted), interruptible(lambda: pytest.fail("ended")) as interruption:
        with pytest.raises(Interrupted):
            os.kill(os.getpid(), signal.SIGTERM)
        interruption.closing()
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.3)
        interruption.check()


def test_nohup_is_respected():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interruptible():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
