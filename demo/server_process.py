"""The server as the UI has it: in a process of its own, or running elsewhere."""

import gc
import multiprocessing
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import TYPE_CHECKING

from demo.garbage import share_one_heap, spare_what_is_loaded
from demo.interruption import without_ctrl_c
from demo.readiness import Failed, Ready, ServerError, socket_url
from demo.settings import Settings

if TYPE_CHECKING:
    from demo.engines import Engines
    from demo.voices import Notify

_GOODBYE_SECONDS = 5.0
_LOOPBACK = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # for hosts that mean every address


def run_usual_server(settings: Settings, pipe: Connection) -> None:
    """``run_server`` of the usual engines, which are loaded without looking for garbage: nearly all of it stays.

    What then is there is never looked through again.
    """
    share_one_heap()
    gc.disable()
    try:
        from demo.engines import load_engines  # here, for the process that starts this one needs nothing of it
        from demo.server import run_server

        async def load(settings: Settings, notify: "Notify") -> "Engines":
            engines = await load_engines(settings, notify)
            spare_what_is_loaded()
            gc.enable()
            return engines

        run_server(settings, pipe, load)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] in ("demo", "streamingtalker"):
            raise  # a fault of ours
        pipe.send(Failed(f"The package {error.name!r} is not installed; run 'pip install -r requirements.txt'."))


class ServerProcess:
    """Starts with ``with`` and loads in the background; ``wait`` until it takes connections. Ends with the block.

    A process that is gone is replaced by the next ``wait``.
    """

    _process: BaseProcess
    _pipe: Connection

    def __init__(self, settings: Settings, run: Callable[..., None] = run_usual_server, method: str = "spawn") -> None:
        """``run`` is called in the process, with ``settings`` and its end of the pipe.

        ``method``: how processes are started. The default is the same on every system, and copies no open sounds.
        """
        self._settings = settings
        self._run = run
        self._context = multiprocessing.get_context(method)
        self._answer: Ready | Failed | None = None
        self._lock = threading.Lock()  # of whoever waits, and may start another
        self._given_up = False

    def __enter__(self) -> "ServerProcess":
        self._start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.give_up()
        self._pipe.close()  # the server ends when it sees that
        self._process.join(_GOODBYE_SECONDS)
        self.end()

    def wait(self) -> str:
        """Wait until the server takes connections; its address. Raises ServerError where it could not start."""
        with self._lock:
            if self._answer is not None and not self._process.is_alive():
                self._pipe.close()
                self._start()
            if self._answer is None:
                self._answer = self._receive()
            answer = self._answer
        if isinstance(answer, Failed):
            raise ServerError(answer.text)
        return reached_at(self._settings.host, answer.port)

    def end(self) -> None:
        """End a process that hangs, or may be dying: nothing is asked of it any more."""
        self._process.kill()
        self._process.join()

    def give_up(self) -> None:
        """End a server that is still loading: nobody wants it any more, and ``wait`` fails at once."""
        self._given_up = True
        if self._answer is None:
            self._process.kill()

    def _start(self) -> None:
        self._answer = None
        self._pipe, far_end = self._context.Pipe()
        process = self._context.Process  # type: ignore[attr-defined]
        self._process = process(target=self._run, args=(self._settings, far_end), name="server", daemon=True)
        with without_ctrl_c():
            self._process.start()
        far_end.close()  # so that the pipe breaks when the server dies
        if self._given_up:
            self._process.kill()

    def _receive(self) -> Ready | Failed:
        try:
            return self._pipe.recv()
        except (EOFError, OSError):
            return Failed("The server process ended while starting; what it printed above says why.")


def reached_at(host: str, port: int) -> str:
    """The URL of a server on this machine that listens on ``host``: Windows connects to no wildcard address."""
    return socket_url(_LOOPBACK.get(host, host), port)


class RemoteServer:
    """A server somebody else runs, in place of a ServerProcess."""

    def __init__(self, url: str) -> None:
        self._url = url

    def __enter__(self) -> "RemoteServer":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def wait(self) -> str:
        """Its address."""
        return self._url

    end: None = None  # it is not ours

    def give_up(self) -> None:
        """Nothing: it is not ours."""
