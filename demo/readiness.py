"""What a server tells whoever started it: that it takes connections, and where, or why it does not.

Apart from the server, so that the program that starts one loads nothing of what only the server needs.
"""

from dataclasses import dataclass

from streamingtalker.errors import UserError


class ServerError(UserError):
    """The server cannot listen."""


@dataclass(frozen=True)
class Ready:
    """The server takes connections."""

    port: int
    engines: dict[str, str]


@dataclass(frozen=True)
class Failed:
    """The server could not start; ``text`` says why and what to do."""

    text: str


def socket_url(host: str, port: int, scheme: str = "ws") -> str:
    """The WebSocket URL of ``host``, a name or an address of either kind."""
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
