"""Who gets the processors: no library takes more of them than it has work for, and pictures come last.

Where everything has work at once the face and the recogniser come first, then the language model, whose first sentence
is at work by then, then what draws.
"""

import contextlib
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from threadpoolctl import threadpool_limits

_THREADS = Path("/proc/self/task")  # Linux
_LATER, _LATEST = 3, 7  # steps below whoever asks for it
_LAST = 19
T = TypeVar("T")


def limit_blas(threads: int = 1) -> None:
    """Let numpy's matrix products of this process use so many threads, from now on.

    What is multiplied here is small. By default there are as many threads as processors, which wait for the next
    product by spinning: they take the processors from those who recognise, draw and speak.
    """
    threadpool_limits(threads, user_api="blas")


def make_later(make: Callable[[], T]) -> T:
    """What ``make`` gives; the threads that it starts run after those of who asks, but before what draws.

    On Linux only: elsewhere threads of a process are not told apart. Raises what ``make`` raises.
    """
    if sys.platform != "linux":
        return make()
    with ThreadPoolExecutor(1, "later") as pool:  # a priority that was lowered cannot be raised again
        pool.submit(lambda: _lower(threading.get_native_id(), _LATER)).result()
        return pool.submit(make).result()


def yield_processors(name: str) -> None:
    """Let threads of this process whose name begins with ``name`` run when others can spare the time; on Linux only.

    For a software renderer's: a picture that comes late is left out, an answer that comes late is waited for.
    """
    for thread in _THREADS.glob("*/comm"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            if thread.read_text().startswith(name):
                _lower(int(thread.parent.name), _LATEST)


def _lower(thread: int, steps: int) -> None:
    """Set ``thread`` that many steps below whoever asks: the demo may have been started low itself."""
    os.setpriority(os.PRIO_PROCESS, thread, min(os.getpriority(os.PRIO_PROCESS, 0) + steps, _LAST))
