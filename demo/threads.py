"""Who gets the processors: no library takes more of them than it has work for, and pictures come last."""

import contextlib
import os
from pathlib import Path

from threadpoolctl import threadpool_limits

_THREADS = Path("/proc/self/task")  # Linux
_LATER = 4  # steps below whoever asks for it
_LAST = 19


def limit_blas(threads: int = 1) -> None:
    """Let numpy's matrix products of this process use so many threads, from now on.

    What is multiplied here is small. By default there are as many threads as processors, which wait for the next
    product by spinning: they take the processors from those who recognise, draw and speak.
    """
    threadpool_limits(threads, user_api="blas")


def yield_processors(name: str) -> None:
    """Let threads of this process whose name begins with ``name`` run when others can spare the time; on Linux only.

    For a software renderer's: a picture that comes late is left out, an answer that comes late is waited for.
    """
    for thread in _THREADS.glob("*/comm"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            if thread.read_text().startswith(name):
                later = min(os.getpriority(os.PRIO_PROCESS, 0) + _LATER, _LAST)  # the demo may have been started low
                os.setpriority(os.PRIO_PROCESS, int(thread.parent.name), later)
