"""One check in a process of its own: what it looks at are drivers, which hang, crash and print what they like."""

import contextlib
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection

from demo.doctor.findings import Finding, Level
from demo.settings import Settings
from streamingtalker.errors import UserError


@dataclass(frozen=True)
class Check:
    """Something to look at."""

    what: str
    look: Callable[[Settings], Iterator[Finding]]
    limit: float  # seconds, its process's start included


def run(check: Check, settings: Settings) -> Iterator[Finding]:
    """The findings of one check; where it hangs or crashes, that is one, too."""
    context = multiprocessing.get_context("spawn")  # the same on every system, and nothing of the other checks in it
    pipe, far_end = context.Pipe(duplex=False)
    process = context.Process(target=_look, args=(check, settings, far_end), name=check.what, daemon=True)
    ends = time.monotonic() + check.limit
    process.start()
    far_end.close()  # so that the pipe breaks when the process ends
    finished = False
    try:
        while not finished and pipe.poll(max(0.0, ends - time.monotonic())):
            finding = pipe.recv()
            finished = finding is None
            if finding is not None:
                yield finding
        if not finished:
            remedy = "close other programs; if it stays so, restart the machine"
            yield _fault(check, f"takes longer than {check.limit:g} s", remedy)
    except EOFError:
        process.join(1.0)
        yield _fault(check, f"ends the program that looks at it (exit {process.exitcode})", "update its driver")
    finally:
        process.kill()
        process.join()
        pipe.close()


def _fault(check: Check, text: str, remedy: str) -> Finding:
    return Finding(check.what, Level.RED, text, remedy)


def _look(check: Check, settings: Settings, pipe: Connection) -> None:
    """The process of a check; None tells that it is through."""
    _be_quiet()
    try:
        for finding in check.look(settings):
            pipe.send(finding)
    except UserError as error:
        pipe.send(Finding(check.what, Level.RED, str(error)))
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        pipe.send(_fault(check, f"cannot be looked at ({type(error).__name__}: {reason})", "report this"))
    pipe.send(None)
    os._exit(0)  # drivers are slow to say goodbye, and some crash over it


def _be_quiet() -> None:
    """Drivers and libraries print on the terminal whatever they like."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        with contextlib.suppress(OSError):
            os.dup2(nowhere, stream)
