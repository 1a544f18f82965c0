"""Who may talk to the server, and how much of it anybody may take: a token, TLS, and limits on connections.

On the loopback address nobody has to show anything. Elsewhere a client shows a token in the first request of its
connection, so whoever has none costs the server a line of its log and no model work.
"""

import functools
import hmac
import ipaddress
import logging
import os
import ssl
import stat
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response

from demo.messages import MAX_MESSAGE_BYTES
from demo.settings import Settings
from streamingtalker.errors import UserError

log = logging.getLogger(__name__)

TOKEN_VARIABLE = "STREAMINGTALKER_TOKEN"
SHORTEST_TOKEN = 16  # characters: nobody guesses that over a network
_MAKE_ONE = "(umask 077; python -c 'import secrets; print(secrets.token_urlsafe())' > FILE)"


class AdmissionError(UserError):
    """The server cannot be opened to others, or a client lacks what it has to show."""


@dataclass(frozen=True)
class Limits:
    """How much one connection may take, and how long."""

    waiting: int = 64  # connections that are not welcome yet; one more and the oldest of them has to go
    header_seconds: float = 10.0  # for the request that begins a connection, and for the TLS handshake before it
    hello_seconds: float = 10.0  # from there to the Hello
    hello_bytes: int = 4096  # of the largest message until then
    ping_seconds: float = 20.0  # between questions whether a silent client is still there
    pong_seconds: float = 60.0  # to answer: a picture that stalls, moved or minimised, keeps its client from that
    close_seconds: float = 1.0  # for a client to say goodbye
    messages_a_second: float = 100.0  # faster ones wait, and so does their sender
    messages_at_once: float = 500.0
    bytes_a_second: float = 8e6
    bytes_at_once: float = 64e6  # ten minutes of recorded speech


@dataclass(frozen=True)
class Admission:
    """What the server asks of a connection."""

    token: str | None = field(default=None, repr=False)  # None: anybody is let in
    tls: ssl.SSLContext | None = None
    limits: Limits = Limits()

    def refuses(self, socket: ServerConnection, request: Request) -> Response | None:
        """The answer to a request that lacks the token; None lets it in."""
        if self.token is None:
            return None
        shown = " ".join(request.headers.get_all("Authorization"))
        if hmac.compare_digest(shown.encode(errors="replace"), f"Bearer {self.token}".encode()):
            return None
        log.warning("%s was refused: it showed no token, or a wrong one", socket.remote_address)
        return socket.respond(401, "This server wants a token.\n")


class WaitingRoom:
    """Connections that nobody has been welcomed on yet. Who floods it drives out whoever has waited longest."""

    def __init__(self, places: int) -> None:
        self._places = places
        self._waiting: dict[ServerConnection, None] = {}  # the oldest first

    def __len__(self) -> int:
        return len(self._waiting)

    def enter(self, socket: ServerConnection) -> None:
        """One more connection; where that is one too many, the oldest is cut off."""
        self._waiting[socket] = None
        if len(self._waiting) > self._places:
            oldest = next(iter(self._waiting))
            self.leave(oldest)
            log.warning("%s was cut off: too many connections without a Hello", oldest.remote_address)
            oldest.transport.abort()

    def leave(self, socket: ServerConnection) -> None:
        """The connection is welcome, or has gone."""
        self._waiting.pop(socket, None)

    def close(self) -> None:
        """Nobody waits any more: the server ends."""
        for socket in list(self._waiting):
            socket.transport.abort()

    @property
    def connection(self) -> type[ServerConnection]:
        """What makes connections that wait here from their first byte, for ``serve(create_connection=…)``."""
        return cast(type[ServerConnection], functools.partial(_Waiting, self))


class _Waiting(ServerConnection):
    def __init__(self, room: WaitingRoom, *arguments: Any, **options: Any) -> None:  # noqa: ANN401
        super().__init__(*arguments, **options)
        self._room = room

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401
        super().connection_made(transport)
        self._room.enter(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._room.leave(self)
        super().connection_lost(exc)


def welcome(socket: ServerConnection) -> None:
    """The client has said Hello: it no longer waits and may send whole messages."""
    cast(_Waiting, socket)._room.leave(socket)
    socket.protocol.max_message_size = MAX_MESSAGE_BYTES


class Pace:
    """How long to wait before the next message is read: a bucket of messages and one of bytes, both refilled."""

    def __init__(self, limits: Limits, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._rates = limits.messages_a_second, limits.bytes_a_second
        self._room = limits.messages_at_once, limits.bytes_at_once
        self._left = self._room
        self._monotonic = monotonic
        self._at = monotonic()

    def wait(self, size: int) -> float:
        """Seconds to wait after a message of ``size`` bytes, mostly 0."""
        now = self._monotonic()
        since, self._at = now - self._at, now
        refilled = [
            min(room, left + rate * since) for left, rate, room in zip(self._left, self._rates, self._room, strict=True)
        ]
        messages, data = self._left = refilled[0] - 1, refilled[1] - size
        return max(0.0, -messages / self._rates[0], -data / self._rates[1])


def is_loopback(host: str) -> bool:
    """Whether only programs on this machine reach a server that listens on ``host``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def open_door(settings: Settings, environment: Mapping[str, str] = os.environ) -> Admission:
    """What a server with these settings asks of its clients.

    Raises AdmissionError where others could reach it and no token is set, or where its certificate does not serve.
    """
    token, tls = read_token(settings, environment), None
    if token is None and not is_loopback(settings.host):
        raise AdmissionError(
            f"--host {settings.host} lets other machines in, so a token is needed: {_MAKE_ONE}; then give "
            f"--token-file FILE, or set {TOKEN_VARIABLE}, here and at the clients."
        )
    if settings.tls_cert is not None:
        tls = _server_tls(settings.tls_cert, settings.tls_key)
    elif settings.tls_key is not None:
        raise AdmissionError("--tls-key is of no use alone; give --tls-cert, too.")
    elif not is_loopback(settings.host):
        log.warning("Token, questions and answers cross the network in the clear; give --tls-cert and --tls-key.")
    return Admission(token, tls)


def credentials(settings: Settings, environment: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """What a client shows to the server, as options of ``websockets.connect``. Raises AdmissionError."""
    token, options = read_token(settings, environment), dict[str, Any]()
    if token is not None:
        options["additional_headers"] = {"Authorization": f"Bearer {token}"}
    if settings.tls_cert is not None and settings.server is not None:
        options["ssl"] = _client_tls(settings.tls_cert)
    return options


def read_token(settings: Settings, environment: Mapping[str, str] = os.environ) -> str | None:
    """The token of ``--token-file``, or else of the environment; None where there is neither. Raises AdmissionError."""
    if settings.token_file is not None:
        token, source = read_secret(settings.token_file), f"--token-file {settings.token_file}"
    else:
        token, source = environment.get(TOKEN_VARIABLE, "").strip(), TOKEN_VARIABLE
        if not token:
            return None
    if len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise AdmissionError(
            f"{source} holds no good token, which is {SHORTEST_TOKEN} ASCII characters or more in one word; "
            f"make one: {_MAKE_ONE}."
        )
    return token


def read_secret(path: Path) -> str:
    """The secret in a file that its owner alone can read. Raises AdmissionError, which does not repeat it."""
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if os.name == "posix" and mode & 0o077:
                raise AdmissionError(f"Others can read {path}, which holds a secret; run 'chmod 600 {path}'.")
            return file.read(4096).decode("ascii").strip()
    except OSError as error:
        raise AdmissionError(f"The secret in {path} cannot be read ({error.strerror}); check the path.") from error
    except UnicodeDecodeError:
        raise AdmissionError(f"{path} holds something else than a secret in plain ASCII; make it anew.") from None


def _server_tls(certificate: Path, key: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    read_secret(key or certificate)  # refused where others can read the key
    try:
        context.load_cert_chain(certificate, key, password=lambda: "")
    except OSError as error:  # ssl's errors are such, too
        raise AdmissionError(
            f"The certificate {certificate} and its key {key or '(in the same file)'} cannot be used "
            f"({error.strerror or type(error).__name__}); give --tls-cert and --tls-key as PEM without a password."
        ) from error
    return context


def _client_tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # the server's own certificate is enough
    try:
        context.load_verify_locations(certificate)
    except OSError as error:
        raise AdmissionError(
            f"The certificate {certificate} cannot be used ({error.strerror or type(error).__name__}); give "
            "--tls-cert a PEM file that the server's certificate is or is signed by."
        ) from error
    return context
