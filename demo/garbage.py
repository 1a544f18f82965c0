"""Garbage: what is not looked through for it, and how what was freed goes back to the system."""

import atexit
import ctypes
import functools
import gc
import sys
from collections.abc import Callable

_ARENA_MAX = -8  # M_ARENA_MAX of malloc.h


def spare_what_is_loaded() -> None:
    """Never look for garbage in what is there now: models, meshes and libraries, nearly all of which stays.

    To look through a hundred thousand objects takes 40 ms and more, in which no other thread runs Python: a picture
    would be left out, an answer held up.
    """
    gc.freeze()
    atexit.register(gc.unfreeze)  # at the end extension modules say what they find leaked


def share_one_heap() -> None:
    """Have all threads of this process share one heap, from now on: with glibc; elsewhere nothing is done.

    glibc gives nearly every thread a heap of its own, and each keeps the holes of its longest sentence. Of all but the
    first one it keeps the free end, too, whoever asks for it: up to twice the largest block that was ever freed, some
    thirty megabytes once somebody has spoken for long. Call it before there are threads.
    """
    if (mallopt := _of_glibc("mallopt")) is not None:
        mallopt(_ARENA_MAX, 1)


def give_back_freed_memory() -> None:
    """Have glibc return what this process has freed; elsewhere allocators see to it themselves.

    A recogniser, or a language model, a voice and a face model that work side by side, leave holes in the heap. By
    itself glibc returns only what is free at its end, so each long sentence would leave some megabytes more for good.
    With more heaps than one (``share_one_heap``) it keeps the ends of the others. Takes up to ten milliseconds, in
    which other threads may have to wait for memory: do it while no answer is heard.
    """
    if (trim := _of_glibc("malloc_trim")) is not None:
        trim(0)


@functools.cache  # each CDLL makes types of its own, which are garbage in circles
def _of_glibc(name: str) -> Callable[..., int] | None:
    if sys.platform != "linux":
        return None
    return getattr(ctypes.CDLL(None), name, None)  # musl's C library has neither
