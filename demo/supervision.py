"""What keeps the program going when a part of it dies or hangs.

Every part that has to advance shows a counter of what it has really done, and a watch looks at the counters twice a
second. A part that has something to do and has not advanced for two seconds hangs: where every thread is goes to the
log, and the process begins anew. Watches count their own looks, not the time: on a machine that slept, or had other
things to do, they slept too.
"""

import contextlib
import os
import socket
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

LOOK_SECONDS = 0.5
HANGING_LOOKS = 4


@dataclass
class Part:
    """Something that has to advance while it is busy."""

    name: str
    progress: Callable[[], int]  # how much it has done so far
    busy: Callable[[], bool] = lambda: True
    _seen: int = -1
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
        return self._still >= HANGING_LOOKS


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
