"""How one notices that the other end of a connection is there and lives no more."""

import asyncio

from websockets.asyncio.client import ClientConnection

_LOOK = 0.5  # seconds without a message until the server is asked whether it lives


class SilentError(OSError):
    """The other end is connected, and nothing comes from it."""


async def receive_while_alive(socket: ClientConnection, silence: float) -> bytes | str:
    """The next message. Raises SilentError after ``silence`` seconds in which no message came and no ping was answered.

    Counts looks of its own and not the time: whoever was asleep with the server, or busy, has not listened.
    """
    message = asyncio.ensure_future(socket.recv())
    pong: asyncio.Future[float] | None = None
    unanswered = 0
    try:
        while not (await asyncio.wait([message], timeout=_LOOK))[0]:
            if pong is None or pong.done():
                unanswered, pong = 0, asyncio.ensure_future(await socket.ping())
            unanswered += 1
            if unanswered * _LOOK >= silence:
                raise SilentError("nothing comes from it any more")
        return message.result()
    finally:
        message.cancel()
