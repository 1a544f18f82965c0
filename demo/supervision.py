"""What keeps the program going when a part of it dies or hangs.

Every part that has to advance shows a counter of what it has really done, and a watch looks at the counters twice a
second. A part that has something to do and has not advanced for two seconds hangs: where every thread is goes to the
log, and the process begins anew. Watches count their own looks, not the time: on a machine that slept, or had other
things to do, they slept too. Only where nothing in Python runs any more, not even a watch, the time decides.
"""

import asyncio
import contextlib
import faulthandler
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import IO

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
HANGING_LOOKS = 4
LAST_RESORT_SECONDS = 10.0  # in which no watch could look

_BEAT_SECONDS = 0.1  # of a guarded event loop
_LOOP_LOOKS = 3  # it hangs after: where it is must be told before its clients, who hear nothing, end the process


@dataclass
class Part:
    """Something that has to advance while it is busy."""

    name: str
    progress: Callable[[], float]  # how much it has done so far
    busy: Callable[[], bool] = lambda: True
    what_then: str = "where all threads are is beside the log"  # completes the sentence that says that it hangs
    patience: int = HANGING_LOOKS  # looks in a row without an advance after which it hangs
    _seen: float = -1.0
    _still: int = 0  # looks since it advanced last

    def look(self) -> bool:
        """Whether it has advanced since the last look, or has nothing to do."""
        progress = self.progress()
        advanced = progress != self._seen or not self.busy()
        self._seen, self._still = progress, 0 if advanced else self._still + 1
        return advanced

    @property
    def hangs(self) -> bool:
        """Whether it has not advanced for so long that it never will."""
        return self._still >= self.patience


@dataclass
class Restarts:
    """How soon something that is lost again and again is started anew: at once, but after ``most`` times within a
    minute ever later. When it has lived for a minute all is forgotten. Times are monotonic seconds.
    """

    most: int = 5
    within: float = 60.0
    longest: float = 60.0  # seconds to wait
    _starts: deque[float] = field(default_factory=deque)
    _extra: int = 0

    def delay(self, now: float) -> float:
        """Seconds to wait before the start that is due ``now``, which is counted."""
        lived = now - self._starts[-1] if self._starts else 0.0
        if self.exhausted and lived > self.within + self._wait:
            self._starts.clear()
        while self._starts and not self.exhausted and now - self._starts[0] > self.within:
            self._starts.popleft()
        self._starts.append(now)
        self._extra = self._extra + 1 if self.exhausted else 0
        return self._wait

    @property
    def exhausted(self) -> bool:
        """Whether it was started too often."""
        return len(self._starts) > self.most

    @property
    def _wait(self) -> float:
        return min(2.0**self._extra, self.longest) if self._extra else 0.0


def notify_service_manager(state: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Tell systemd, if it started us, ``state``, as in "READY=1" or "WATCHDOG=1"; whether it was told."""
    address = environment.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    if address.startswith("@"):  # a name that is in no folder
        address = "\0" + address[1:]
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.sendto(state.encode(), address)
        return True
    return False


EXIT_HANGING = 70  # of a process that has ended itself because a part of it hangs
EXIT_TOO_OFTEN = 75  # of one that would have to begin anew too often: whoever watches it should wait a while
_STARTS_VARIABLE = "STREAMINGTALKER_STARTS"  # monotonic times at which this process has begun anew


async def guard_process(parts: Sequence[Part], stacks: IO[str]) -> None:
    """End this process with EXIT_HANGING, with the stacks of its threads in ``stacks``, when its event loop or a part
    hangs; with 1 where somebody holds the interpreter, so that no thread can look.
    """
    beats = 0
    loop = Part("event loop", lambda: beats, patience=_LOOP_LOOKS)

    def feed(state: str) -> None:
        """The watch's own watch, which counts the time."""
        if state == "WATCHDOG=1":
            faulthandler.dump_traceback_later(LAST_RESORT_SECONDS, exit=True, file=stacks)

    try:
        with _stopped_by_hand(), Watchdog([loop, *parts], lambda name: os._exit(EXIT_HANGING), stacks, feed):
            while True:
                beats += 1
                await asyncio.sleep(_BEAT_SECONDS)
    finally:
        faulthandler.cancel_dump_traceback_later()


@contextlib.contextmanager
def _stopped_by_hand() -> Iterator[None]:
    """Ctrl-Z stops the process for as long as anybody likes: that time is not counted."""
    loop, terminal_stop = asyncio.get_running_loop(), getattr(signal, "SIGTSTP", None)

    def stop() -> None:
        faulthandler.cancel_dump_traceback_later()
        os.kill(os.getpid(), signal.SIGSTOP)

    if terminal_stop is None:  # Windows
        yield
        return
    loop.add_signal_handler(terminal_stop, stop)
    try:
        yield
    finally:
        loop.remove_signal_handler(terminal_stop)


class Watchdog:
    """Looks after the parts of a process in a thread of its own. Starts with ``with``.

    systemd's watchdog is fed while all of them advance, and only then. ``on_hanging`` is called once with the name of
    one that hangs, after the stacks of all threads went to ``stacks``.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        on_hanging: Callable[[str], None],
        stacks: IO[str],
        tell: Callable[[str], object] = notify_service_manager,
        wait: float = LOOK_SECONDS,
    ) -> None:
        self._parts, self._on_hanging, self._tell, self._wait = parts, on_hanging, tell, wait
        self._stacks = stacks
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
        self._hanging: set[str] = set()

    def __enter__(self) -> "Watchdog":
        self._tell("READY=1")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._tell("STOPPING=1")

    def look(self) -> None:
        """One look at all parts."""
        advanced = [part.look() for part in self._parts]  # of each, whatever the others do
        if all(advanced):
            self._tell("WATCHDOG=1")
        for part in self._parts:
            if part.hangs and part.name not in self._hanging:
                log.critical("The %s hangs; %s.", part.name, part.what_then)
                self._tell(f"STATUS=The {part.name} hangs.")
                faulthandler.dump_traceback(self._stacks)
                self._on_hanging(part.name)
        self._hanging = {part.name for part in self._parts if part.hangs}

    def _run(self) -> None:
        while not self._ended.wait(self._wait):
            self.look()


def begin_anew(environment: MutableMapping[str, str] = os.environ, now: float | None = None) -> None:
    """Run the program's command line again in place of this process, whatever its threads hold. Never returns.

    Where that has happened five times within a minute the process ends with EXIT_TOO_OFTEN instead.
    """
    now = time.monotonic() if now is None else now
    starts = [float(start) for start in environment.get(_STARTS_VARIABLE, "").split()]
    starts = [start for start in starts if now - start < Restarts.within]
    if len(starts) >= Restarts.most:
        log.critical("It hangs again and again; this process gives up.")
        notify_service_manager("STATUS=Hangs again and again.")
        os._exit(EXIT_TOO_OFTEN)
    environment[_STARTS_VARIABLE] = " ".join(map(str, [*starts, now]))
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
