"""Servers without TLS behind ports that accept both: clients come with TLS, other servers of the group without."""

import asyncio
import socket
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from threading import Thread
from typing import Any

from tests.support.tcp import loopback_tls

_HANDSHAKE = b"\x16"
"""The first byte of a connection with TLS; no command of Redis begins with it."""


class TlsFront:
    """`lead_to` opens a port of 127.0.0.1 that leads to another one. `encrypted` counts the connections with TLS."""

    def __init__(self) -> None:
        self.encrypted = 0
        self._ports: dict[int, int] = {}
        self._context = loopback_tls()
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[Any]] = set()

    def lead_to(self, port: int) -> int:
        if port not in self._ports:
            listening = socket.create_server(("127.0.0.1", 0))
            self._ports[port] = listening.getsockname()[1]
            self._loop.call_soon_threadsafe(lambda: self._run(self._accept(listening, port)))
        return self._ports[port]

    def serve(self) -> None:
        self._loop.run_forever()
        for task in self._tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.wait(self._tasks)) if self._tasks else None
        self._loop.close()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, listening: socket.socket, port: int) -> None:
        with listening:
            listening.setblocking(False)
            while True:
                connection, _ = await self._loop.sock_accept(listening)
                self._run(self._connect(connection, port))

    async def _connect(self, connection: socket.socket, port: int) -> None:
        with suppress(OSError):
            has_tls = await self._peek(connection) == _HANDSHAKE
            self.encrypted += has_tls
            reader = asyncio.StreamReader()
            protocol = asyncio.StreamReaderProtocol(reader)
            transport, _ = await self._loop.connect_accepted_socket(
                lambda: protocol, connection, ssl=self._context if has_tls else None
            )
            writer = asyncio.StreamWriter(transport, protocol, reader, self._loop)
            try:
                server_reader, server_writer = await asyncio.open_connection("127.0.0.1", port)
                self._run(_pipe(server_reader, writer))
                await _pipe(reader, server_writer)
            finally:
                writer.close()

    async def _peek(self, connection: socket.socket) -> bytes:
        connection.setblocking(False)
        readable = asyncio.Event()
        self._loop.add_reader(connection, readable.set)
        await readable.wait()
        self._loop.remove_reader(connection)
        return connection.recv(1, socket.MSG_PEEK)


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        with suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
    finally:
        writer.close()


@contextmanager
def tls_front() -> Iterator[TlsFront]:
    front = TlsFront()
    thread = Thread(target=front.serve)
    thread.start()
    try:
        yield front
    finally:
        front.stop()
        thread.join()
