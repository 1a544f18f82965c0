"""A session outlives its server: openings that wait, and connections made anew."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from demo.client import Client, ServerLostError
from demo.messages import Welcome
from demo.openings import Opening
from demo.readiness import ServerError
from demo.supervision import Restarts

log = logging.getLogger(__name__)

OWN_SILENCE = 2.0  # seconds without a sign of life until a server of our own is ended
FAR_SILENCE = 20.0  # of one behind a network, which may have holes
_BETWEEN_ATTEMPTS = 0.4  # seconds, to reach a server that is not ours
_SCRIPT_SECONDS = 60.0  # that a session without anybody waits for such a server


class Resumed:
    """Openings that are not lost when whoever waits for the next one is cancelled."""

    def __init__(self, openings: AsyncIterator[Opening]) -> None:
        self._openings = openings
        self._next: asyncio.Task[Opening | None] | None = None

    def __aiter__(self) -> "Resumed":
        return self

    async def __anext__(self) -> Opening:
        self._next = self._next or asyncio.create_task(self._pull())
        opening = await asyncio.shield(self._next)
        self._next = None
        if opening is None:
            raise StopAsyncIteration
        return opening

    async def _pull(self) -> Opening | None:
        return await anext(self._openings, None)

    def close(self) -> None:
        """Nobody waits any more."""
        if self._next is not None:
            self._next.cancel()


@dataclass(frozen=True)
class Reach:
    """How a session gets hold of its server."""

    find: Callable[[], Awaitable[str]]  # its address, when it answers; starts it where it is ours and does not run
    end: Callable[[], None] | None = None  # ends the one that is ours, dead or hanging; None: it is somebody else's
    lasting: bool = True  # the session waits for a server as long as it takes
    restarts: Restarts = field(default_factory=Restarts)


async def stay_connected(
    client: Client,
    reach: Reach,
    openings: AsyncIterator[Opening],
    on_welcome: Callable[[Welcome], None],
    on_away: Callable[[bool], None],
) -> None:
    """Take turns for ``openings`` with whatever server there is, one after another.

    ``on_away`` is called when it is gone, with whether it was too often lately. The first one has to be there and to
    fit. Raises what ``Client.run`` and ``reach.find`` raise until then, and ServerLostError where a session that does
    not last has waited for too long.
    """
    keeper = _Keeper(client, reach, on_welcome, on_away)
    resumed = Resumed(openings)
    try:
        while not await keeper.hold(resumed):
            pass
    finally:
        resumed.close()
        client.leave()


class _Keeper:
    def __init__(
        self,
        client: Client,
        reach: Reach,
        on_welcome: Callable[[Welcome], None],
        on_away: Callable[[bool], None],
    ) -> None:
        self._client, self._reach = client, reach
        self._on_welcome, self._on_away = on_welcome, on_away
        self._began = False  # there was a server once
        self._away_since: float | None = None

    async def hold(self, openings: Resumed) -> bool:
        """One server, from finding to losing it; whether the session is over."""
        silence = FAR_SILENCE if self._reach.end is None else OWN_SILENCE
        try:
            url = await self._reach.find()
            await self._client.run(url, lambda: openings, self._welcomed, silence=silence)
        except (ServerLostError, ServerError) as error:
            if not self._began:
                raise
            await self._lose(error)
            return False
        return True

    def _welcomed(self, welcome: Welcome) -> None:
        self._on_welcome(welcome)
        if self._away_since is not None:
            log.warning("There is a server again after %.1f s.", time.monotonic() - self._away_since)
        self._began, self._away_since = True, None

    async def _lose(self, error: ServerLostError | ServerError) -> None:
        now = time.monotonic()
        if self._away_since is None:
            self._away_since = now
            log.warning("%s", error)
        wait = _BETWEEN_ATTEMPTS if self._reach.end is None else self._reach.restarts.delay(now)
        self._on_away(self._reach.restarts.exhausted)
        too_long = self._reach.end is None and now - self._away_since > _SCRIPT_SECONDS
        if not self._reach.lasting and (too_long or self._reach.restarts.exhausted):
            raise error
        if self._reach.end is not None:
            await asyncio.to_thread(self._reach.end)
        await asyncio.sleep(wait)
