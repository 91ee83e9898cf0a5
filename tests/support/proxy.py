"""A proxy on the loopback interface that counts round trips to the server behind it."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class CountingProxy:
    """`round_trips` counts the times a client sent something after it had received the response to what it sent before.

    Servers have no such counter: PostgreSQL counts transactions, Valkey counts the commands within scripts too.
    """

    def __init__(self, host: str, port: int) -> None:
        self.round_trips = 0
        self.port = 0
        self._target = host, port

    async def serve(self, started: threading.Event, stop: asyncio.Event) -> None:
        async with await asyncio.start_server(self._accept, "127.0.0.1") as server:
            self.port = server.sockets[0].getsockname()[1]
            started.set()
            await stop.wait()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection(*self._target)
        is_waiting = False

        def sent() -> None:
            nonlocal is_waiting
            self.round_trips += not is_waiting
            is_waiting = True

        def received() -> None:
            nonlocal is_waiting
            is_waiting = False

        await asyncio.gather(_pump(reader, server_writer, sent), _pump(server_reader, writer, received))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, note: Callable[[], None]) -> None:
    try:
        while data := await reader.read(1 << 16):
            note()
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


@contextmanager
def counting_proxy(host: str, port: int) -> Iterator[CountingProxy]:
    """Runs in a separate thread, so that its work is not counted as the test's."""
    proxy = CountingProxy(host, port)
    started = threading.Event()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(proxy.serve(started, stop)))
    thread.start()
    try:
        assert started.wait(10)
        yield proxy
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()
