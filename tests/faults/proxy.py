"""A bad network: a TCP proxy on the loopback address that does to what passes what one tells it to."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field


@dataclass
class Weather:
    """What becomes of bytes on their way."""

    delay: float = 0.0  # seconds
    jitter: float = 0.0  # that the delay may differ, either way
    most_bytes: int = 65_536  # that pass at once
    chance: random.Random = field(default_factory=lambda: random.Random(0))
    passing: asyncio.Event = field(default_factory=asyncio.Event)  # unset: everything is held up

    def __post_init__(self) -> None:
        self.passing.set()

    def seconds(self) -> float:
        """Until what comes now arrives."""
        return max(0.0, self.delay + self.chance.uniform(-self.jitter, self.jitter))

    def hole(self, seconds: float) -> None:
        """Let nothing pass for so long."""
        self.passing.clear()
        asyncio.get_running_loop().call_later(seconds, self.passing.set)


@contextlib.asynccontextmanager
async def proxy(url: str, weather: Weather) -> AsyncIterator[str]:
    """The URL under which ``url`` is reached through ``weather``."""
    port = int(url.rsplit(":", 1)[1])
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        for way in ((reader, far_writer), (far_reader, writer)):
            tasks.add(asyncio.create_task(_pass_on(*way, weather)))

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, weather: Weather) -> None:
    loop = asyncio.get_running_loop()
    held: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(1000)

    async def deliver() -> None:
        while True:
            due, data = await held.get()
            await asyncio.sleep(due - loop.time())
            await weather.passing.wait()
            writer.write(data)
            await writer.drain()
            if not data:
                return

    with contextlib.closing(writer), contextlib.suppress(ConnectionError):
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(deliver())
            data = b" "
            while data:
                data = await reader.read(weather.most_bytes)
                await held.put((loop.time() + weather.seconds(), data))
