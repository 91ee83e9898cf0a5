"""One connection that carries the commands of many callers."""

import asyncio
import socket
from collections import deque
from typing import Any

import hiredis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from app.core.redis.errors import RedisBusyError, error_reply
from app.core.redis.watchdog import Watchdog

MAX_PENDING = 10_000
MAX_UNSENT_BYTES = 16 * 1024 * 1024
"""Bounds of what waits for one server: commands without a reply, and bytes that the socket has not taken."""
KEEPALIVE_SECONDS = 30
"""Idle time after which the system checks the peer: firewalls keep the connection, and a lost peer is noticed."""


class RedisStream(asyncio.Protocol):
    """Commands without a reply, oldest first; a reply belongs to the first of them."""

    def __init__(self, timeout: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(replyError=error_reply, errors="replace")
        self._pending: deque[asyncio.Future[Any]] = deque()
        self._unsent: list[bytes] = []
        self._unsent_bytes = 0
        self._watchdog = Watchdog(timeout, self._give_up)
        self._timeout = timeout
        # uvloop's transports are not subclasses of asyncio's.
        self._transport: Any = None
        self._is_closed = False

    @property
    def is_closed(self) -> bool:
        return self._is_closed or self._transport is None or self._transport.is_closing()

    def call(self, command: bytes) -> asyncio.Future[Any]:
        """Sends a packed command. Cancelling the future leaves the order of the other replies alone.

        The commands of one turn of the event loop are sent together: a write costs as much as the rest of a call.
        """
        if self.is_closed:
            raise RedisConnectionError("the connection is closed")
        unsent_bytes = self._unsent_bytes + self._transport.get_write_buffer_size()
        if len(self._pending) >= MAX_PENDING or unsent_bytes > MAX_UNSENT_BYTES:
            raise RedisBusyError(f"{len(self._pending)} commands wait for a reply already")
        if not self._pending:
            self._watchdog.start()
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent.append(command)
        self._unsent_bytes += len(command)
        reply = self._loop.create_future()
        self._pending.append(reply)
        return reply

    def _flush(self) -> None:
        commands, self._unsent, self._unsent_bytes = self._unsent, [], 0
        if not self.is_closed:
            self._transport.writelines(commands)

    def close(self, error: RedisError) -> None:
        """Fails what has no reply yet; each caller gets its own exception object."""
        self._is_closed = True
        self._watchdog.cancel()
        if self._transport:
            self._transport.abort()
        while self._pending:
            reply = self._pending.popleft()
            if not reply.done():
                reply.set_exception(type(error)(*error.args))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        if self._is_closed:
            self._transport.abort()
        connection = transport.get_extra_info("socket")
        if connection.family == socket.AF_UNIX:
            return
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if hasattr(socket, "TCP_KEEPIDLE"):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_SECONDS)

    def connection_lost(self, error: Exception | None) -> None:
        self.close(RedisConnectionError(f"the connection was lost: {error or 'closed by the server'}"))

    def data_received(self, data: bytes) -> None:
        self._watchdog.reset()
        try:
            self._reader.feed(data)
            while not self._is_closed and (reply := self._reader.gets()) is not False:
                self._deliver(reply)
        except hiredis.ProtocolError as error:
            self.close(RedisConnectionError(f"not a reply of Redis: {error}"))
        if not self._pending:
            self._watchdog.pause()

    def _deliver(self, reply: Any) -> None:
        if not self._pending:
            self.close(RedisConnectionError(f"a reply without a command: {reply!r:.200}"))
            return
        waiting = self._pending.popleft()
        if isinstance(reply, RedisError):
            if not waiting.done():
                waiting.set_exception(reply)
            if isinstance(reply, ReadOnlyError):
                # After a failover the name has another address, so it is resolved again.
                self.close(RedisConnectionError(str(reply)))
        elif not waiting.done():
            waiting.set_result(reply)

    def _give_up(self) -> None:
        self.close(RedisTimeoutError(f"no reply for {self._timeout} s"))
