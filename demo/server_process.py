"""The server as the UI has it: in a process of its own, or running elsewhere."""

import multiprocessing
import threading
from types import TracebackType

from demo.interruption import without_ctrl_c
from demo.server import Failed, Ready, ServerError, run_server, socket_url
from demo.settings import Settings

_GOODBYE_SECONDS = 5.0
_LOOPBACK = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # for hosts that mean every address


class ServerProcess:
    """Starts with ``with`` and loads in the background; ``wait`` until it takes connections. Ends with the block."""

    def __init__(self, settings: Settings) -> None:
        context = multiprocessing.get_context("spawn")  # the same on every system, and no copies of open sounds
        self._pipe, self._far_end = context.Pipe()
        self._process = context.Process(target=run_server, args=(settings, self._far_end), name="server", daemon=True)
        self._host = settings.host
        self._lock = threading.Lock()
        self._answer: Ready | Failed | None = None

    def __enter__(self) -> "ServerProcess":
        with without_ctrl_c():
            self._process.start()
        self._far_end.close()  # so that the pipe breaks when the server dies
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.give_up()
        self._pipe.close()  # the server ends when it sees that
        self._process.join(_GOODBYE_SECONDS)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def wait(self) -> str:
        """Wait until the server takes connections; its address. Raises ServerError where it could not start."""
        with self._lock:
            if self._answer is None:
                self._answer = self._receive()
        if isinstance(self._answer, Failed):
            raise ServerError(self._answer.text)
        return reached_at(self._host, self._answer.port)

    def give_up(self) -> None:
        """End a server that is still loading: nobody wants it any more, and ``wait`` fails at once."""
        if self._answer is None:
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

    def give_up(self) -> None:
        """Nothing: it is not ours."""
