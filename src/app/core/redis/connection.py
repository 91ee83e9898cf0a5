"""The pipelining connection: commands, scripts, and a new stream after a loss."""

import asyncio
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from app.core.redis.breaker import CircuitBreaker
from app.core.redis.dial import Argument, create_dialer, pack
from app.core.redis.script import RedisScript
from app.core.redis.stream import RedisStream
from app.core.redis.watchdog import MANY_TICKS, Watchdog
from app.core.settings.redis_url import RedisAddress


def _closed_here() -> RedisConnectionError:
    return RedisConnectionError("the connection was closed by this process")


def _current_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("a connection is opened within a task")
    return task


class RedisConnection:
    """See `app.core.redis` for its guarantees. `name` identifies the server in log lines.

    Not for the address of a Cluster, which `ClusterConnection` is for.
    """

    def __init__(self, address: RedisAddress, *, name: str, timeout_seconds: float) -> None:
        self._dialer = create_dialer(address, timeout_seconds)
        self._timeout = timeout_seconds
        self._stream: RedisStream | None = None
        self._connecting: asyncio.Task[RedisStream | RedisError] | None = None
        self._is_closed = False
        self.connects = 0
        """How often it has connected. Between equal numbers, one server has executed all commands on one stream."""
        self.breaker = CircuitBreaker(f"{name} ({address})", self._probe)

    @property
    def history(self) -> bytes:
        """Which history of the data the server has: another one after a failover by Sentinel, otherwise empty."""
        return self._dialer.history

    async def execute(self, *command: Argument) -> Any:
        """The reply, bytes for text. Fails with a `RedisError` within about twice the timeout."""
        if self.breaker.is_open:
            await self.breaker.wait_until_closed()
        try:
            return await self._send(pack(command))
        except (RedisConnectionError, RedisTimeoutError) as error:
            if not self._is_closed:
                self.breaker.trip(error)
            raise

    def script(self, source: str) -> RedisScript:
        return RedisScript(self, source)

    def tag(self, name: str) -> str:
        return name

    async def ping(self) -> bool:
        """True, or raises the error with the reason."""
        return bool(await self.execute("PING"))

    async def close(self) -> None:
        """Fails the commands under way; further ones are refused."""
        self._is_closed = True
        await self.breaker.close()
        if self._connecting:
            self._connecting.cancel()
            await asyncio.wait({self._connecting})
        if self._stream:
            self._stream.close(_closed_here())
            await asyncio.sleep(0)  # the transport closes its socket in the next turn of the loop
        await self._dialer.close()

    async def _send(self, packed: bytes) -> Any:
        stream = self._stream
        if stream is None or stream.is_closed:
            stream = await self._connect()
        try:
            return await stream.call(packed)
        except (RedisConnectionError, ReadOnlyError):
            # A server that accepts no writes was demoted: its stream is closed, and the next one leads to the primary.
            stream = await self._connect()
            return await stream.call(packed)

    async def _probe(self) -> None:
        await self._send(pack(("PING",)))

    async def _connect(self) -> RedisStream:
        """One attempt serves all callers that wait for it."""
        if self._is_closed:
            raise _closed_here()
        if self._stream and not self._stream.is_closed:
            return self._stream
        if self._connecting is None or self._connecting.done():
            self._connecting = asyncio.create_task(self._open())
        attempt = self._connecting
        await asyncio.wait({attempt})  # unlike an await of the task, it neither cancels it nor shares its exception
        outcome = _closed_here() if attempt.cancelled() else attempt.result()
        if isinstance(outcome, RedisError):
            raise type(outcome)(*outcome.args)
        return outcome

    async def _open(self) -> RedisStream | RedisError:
        stream = RedisStream(self._timeout)
        timeout = self._timeout * self._dialer.timeouts
        watchdog = Watchdog(timeout, _current_task().cancel, MANY_TICKS)
        watchdog.start()
        failure: RedisError
        try:
            await self._dialer.dial(stream)
        except asyncio.CancelledError:
            failure = RedisTimeoutError(f"cannot connect within {timeout} s")
            if not watchdog.has_expired:
                stream.close(failure)
                raise
        except OSError as error:
            failure = RedisConnectionError(f"cannot connect: {error}")
        except RedisError as error:
            failure = RedisConnectionError(f"cannot log in: {error}")
        else:
            self._stream = stream
            self.connects += 1
            return stream
        finally:
            watchdog.cancel()
        stream.close(failure)
        return failure
