"""A TCP proxy on loopback whose two directions can be stopped, with TLS towards the client where it is wanted."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

LOOPBACK_CERTIFICATE = Path(__file__).with_name("loopback.pem")
"""Self-signed, with its key; valid until 2126, good for nothing but tests."""


@dataclass
class Proxy:
    """While `is_open` is cleared, what arrives is discarded, as by a firewall that has lost the connection."""

    port: int = 0
    connections: int = 0
    is_open: bool = True
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def _pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError):
                while data := await reader.read(65536):
                    if self.is_open:
                        writer.write(data)
                        await writer.drain()
        finally:
            writer.close()

    def _start(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._pipe(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0.01)  # the transports close in the next turns of the loop


@asynccontextmanager
async def proxy(target: tuple[str, int], tls: ssl.SSLContext | None = None) -> AsyncIterator[Proxy]:
    """Forwards to the target from a free port of 127.0.0.1."""
    state = Proxy()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        state.connections += 1
        server_reader, server_writer = await asyncio.open_connection(*target)
        state._start(reader, server_writer)
        state._start(server_reader, writer)

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
    state.port = server.sockets[0].getsockname()[1]
    try:
        yield state
    finally:
        server.close()
        await state.close()


def loopback_tls() -> ssl.SSLContext:
    """A server's TLS context for 127.0.0.1; clients that trust `LOOPBACK_CERTIFICATE` accept it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(LOOPBACK_CERTIFICATE)
    return context
