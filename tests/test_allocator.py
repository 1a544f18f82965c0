"""What was freed is given back."""

import platform
import subprocess
import sys

import pytest

from demo.allocator import give_back_freed_memory

HOLES = """
from demo.allocator import give_back_freed_memory

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


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="elsewhere there is nothing to do")
def test_holes_in_the_heap_are_given_back():
    done = subprocess.run([sys.executable, "-c", HOLES], capture_output=True, text=True, check=True)
    by_itself, asked = map(float, done.stdout.split())
    assert by_itself < 20 and asked > 90, "of 120 MB"


def test_it_may_be_asked_for_anywhere():
    give_back_freed_memory()
