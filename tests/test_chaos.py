"""The chaos runs see what they are for: an over-admission, and a connection that a proxy stalls or cuts."""

import asyncio

import pytest

from dev.chaos.cluster import LIMIT, PERIOD
from dev.chaos.proxy import Mode, open_proxy
from dev.chaos.tasks import Bucket

HALF = 0.5


def test_a_window_that_certainly_held_too_much_is_counted() -> None:
    spread = [(n * PERIOD / LIMIT, n * PERIOD / LIMIT) for n in range(3 * LIMIT)]
    assert Bucket("exact", admissions=spread).over_admissions() == 0
    assert Bucket("one more", admissions=[*spread, (1.0, 1.1)]).over_admissions() > 0
    # It may have been admitted before the window began.
    assert Bucket("slow", admissions=[*spread, (0.0, 100.0)]).over_admissions() == 0


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(100):
        writer.write(data)
    writer.close()


async def test_a_proxy_passes_stalls_and_cuts() -> None:
    server = await asyncio.start_server(_echo, "127.0.0.1", 0)
    async with server, open_proxy(server.sockets[0].getsockname()[1]) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"passes")
        assert await reader.readexactly(6) == b"passes"

        proxy.set_mode(Mode.STALLED)
        writer.write(b"waits")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.readexactly(5), HALF)
        proxy.set_mode(Mode.OPEN)
        assert await reader.readexactly(5) == b"waits"

        proxy.set_mode(Mode.REFUSED)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await reader.readexactly(1)
        writer.close()
