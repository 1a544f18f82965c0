"""Ctrl-C and its relatives: what they end is ended in good order."""

import contextlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from multiprocessing import resource_tracker
from types import FrameType

from streamingtalker.errors import UserError

log = logging.getLogger(__name__)

_HANGING_SECONDS = 3.0  # that the main thread may take to hear a signal

_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Interrupted(KeyboardInterrupt):
    """Somebody wants the program to end."""

    def __init__(self, number: int) -> None:
        super().__init__(f"signal {number}")
        self.status = 128 + number  # the shell's convention


class Interruption:
    """What has come so far."""

    def __init__(self) -> None:
        self.heard = threading.Event()  # the main thread has got one
        self._came: Interrupted | None = None
        self._closing = False

    def check(self) -> None:
        """Raise an Interrupted that got lost: some libraries catch everything."""
        if self._came is not None:
            raise self._came

    def closing(self) -> None:
        """The program closes, for this or another reason: from now on nothing is raised.

        The first signal is only answered, the next one ends the program at once.
        """
        self._closing = True

    def handle(self, number: int, _frame: FrameType | None) -> None:
        """The signal handler."""
        self.heard.set()
        if not self._closing:
            self._came = Interrupted(number)
            raise self._came
        log.info("Closing; once more ends at once and may lose the film.")
        signal.signal(number, signal.SIG_DFL)


@contextlib.contextmanager
def interruptible(last_words: Callable[[], None] = lambda: None) -> Iterator[Interruption]:
    """Inside, Ctrl-C, SIGTERM and a terminal that closes raise Interrupted. For the main thread.

    Where that hangs within a library, which no exception ends, the process ends at once, after ``last_words``.
    """
    interruption = Interruption()
    with _heard_without_main_thread(interruption, last_words), _handled(interruption):
        yield interruption


@contextlib.contextmanager
def _handled(interruption: Interruption) -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    before = {number: handler for number, handler in before.items() if handler != signal.SIG_IGN}  # as under nohup
    for number in before:
        signal.signal(number, interruption.handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _heard_without_main_thread(interruption: Interruption, last_words: Callable[[], None]) -> Iterator[None]:
    """Have another thread see to it that the main thread hears the first signal."""

    def listen() -> None:
        number = 0
        while number not in _SIGNALS:
            if not (told := reading.recv(1)):
                return  # nobody has interrupted
            number = told[0]
        if not interruption.heard.wait(_HANGING_SECONDS):
            log.critical("The main thread hangs and hears nothing; the program ends at once.")
            try:
                last_words()
            except Exception as error:
                log.error("%s", error, exc_info=not isinstance(error, UserError))
            finally:
                os._exit(128 + number)

    reading, writing = socket.socketpair()
    writing.setblocking(False)
    before = signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
    listener = threading.Thread(target=listen, name="signals", daemon=True)
    listener.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        writing.close()
        listener.join()
        reading.close()


@contextlib.contextmanager
def without_ctrl_c() -> Iterator[None]:
    """A process started inside never sees Ctrl-C, not even while it imports: its parent decides when it ends."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # it comes with the first process, and unblocks the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
