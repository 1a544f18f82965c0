"""What is loaded is not looked through again, and what was freed is given back."""

import ctypes
import platform
import subprocess
import sys

import pytest

from demo.garbage import give_back_freed_memory, share_one_heap

HEAPS = """
import ctypes, sys, threading
from demo.garbage import share_one_heap

if "shared" in sys.argv:
    share_one_heap()
ready = threading.Barrier(9)

def work():
    kept = [bytearray(5000) for _ in range(100)]
    ready.wait()
    ready.wait()

for _ in range(8):
    threading.Thread(target=work).start()
ready.wait()
ctypes.CDLL(None).malloc_stats()
ready.wait()
"""


def heaps(*arguments):
    done = subprocess.run([sys.executable, "-c", HEAPS, *arguments], capture_output=True, text=True, check=True)
    return done.stderr.count("Arena ")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="elsewhere there is nothing to do")
def test_threads_share_one_heap():
    assert heaps("shared") == 1 < heaps()


HOLES = """
from demo.garbage import give_back_freed_memory

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 1e6

pieces = [bytearray(b"x" * 60_000) for _ in range(2000)]
last = pieces[-1]  # holds the end of the heap
full = resident()
del pieces
freed = resident()
give_back_freed_memory()
print(full - freed, freed - resident())
"""


END = """
import threading
from demo.garbage import give_back_freed_memory, share_one_heap

share_one_heap()

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 1e6

def long_sentence():
    before = resident()
    bytes(20_000_000)  # since it was freed blocks of up to this size have their place in the heap
    first, second = bytearray(b"x" * 13_000_000), bytearray(b"x" * 13_000_000)
    del first, second
    give_back_freed_memory()
    print(resident() - before)

thread = threading.Thread(target=long_sentence)
thread.start()
thread.join()
"""


LOADED = """
import gc
from demo.garbage import spare_what_is_loaded

class Node:
    pass

loaded = [[] for _ in range(100_000)]
spare_what_is_loaded()
looked_through = len(gc.get_objects())
node = Node()
node.itself = node
del node
print(looked_through, gc.collect())
"""


def test_what_is_loaded_is_not_looked_through_and_garbage_made_later_is_found():
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)
    looked_through, found = map(int, done.stdout.split())
    assert looked_through < 100 and found >= 1


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="elsewhere there is nothing to do")
def test_holes_in_the_heap_are_given_back():
    done = subprocess.run([sys.executable, "-c", HOLES], capture_output=True, text=True, check=True)
    by_itself, asked = map(float, done.stdout.split())
    assert by_itself < 20 and asked > 90, "of 120 MB"


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="elsewhere there is nothing to do")
def test_the_free_end_of_the_heap_is_given_back():
    done = subprocess.run([sys.executable, "-c", END], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 5, "of 26 MB"


def test_elsewhere_nothing_is_done(monkeypatch):
    """Where the C library has no such functions, and where there is none to be asked."""
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    give_back_freed_memory()
    share_one_heap()
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.delattr(ctypes, "CDLL")
    give_back_freed_memory()
    share_one_heap()
