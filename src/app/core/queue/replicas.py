"""Waits until replicas have a submitted task, so that the failover to one of them loses no task that was accepted.

`WAIT` holds up its connection until enough replicas have confirmed what was written before it on that connection. All
submissions of a process share one, so one `WAIT` serves all that were stored before it began, and the next one begins
when it has ended: a submission waits for two of them at most.

A reply says nothing if the connection was lost in between: `WAIT` on a new one, at a new primary, knows no writes.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from redis.exceptions import RedisError

from app.core.redis import RedisConnection, RedisUnavailableError

ATTEMPTS = 3
_WRITE = ("SET", "queue:probe", "1", "EX", 60)
"""Before each `WAIT`: a task that another connection has stored is older than this write."""


class TooFewReplicasError(RedisError):
    """The primary has stored it, but not enough replicas have it yet."""


@dataclass(frozen=True, slots=True)
class _Round:
    replicas: int
    connects: int


class Replicas:
    """So many replicas must have what is stored, within so many seconds."""

    def __init__(self, connection: RedisConnection, required: int, seconds: float) -> None:
        self._connection = connection
        self._required = required
        self._wait = ("WAIT", required, int(seconds * 1000))
        self._current: asyncio.Task[_Round | RedisError] | None = None
        self._next: asyncio.Task[_Round | RedisError] | None = None

    async def confirm(self, store: Callable[[], Awaitable[Any]]) -> bool:
        """Whether one of its calls of `store` returned something true; it is called again after a lost connection.

        Raises `TooFewReplicasError`, or the error of the connection. Both leave open what becomes of what was stored.
        """
        is_new = False
        for _ in range(ATTEMPTS):
            connects = self._connection.connects
            is_new = bool(await store()) or is_new
            outcome = await self._join()
            if isinstance(outcome, RedisError):
                raise type(outcome)(*outcome.args)
            if outcome.connects == connects:
                if outcome.replicas < self._required:
                    raise TooFewReplicasError(f"{outcome.replicas} of {self._required} replicas have confirmed")
                return is_new
        raise RedisUnavailableError("the connection was lost while replicas were waited for")

    async def _join(self) -> _Round | RedisError:
        """The result of the next `WAIT` to begin."""
        if self._next is None:
            self._next = asyncio.create_task(self._run_after(self._current))
        joined = self._next
        await asyncio.wait({joined})  # unlike an await of the task, it does not cancel it
        return joined.result()

    async def _run_after(self, current: "asyncio.Task[Any] | None") -> _Round | RedisError:
        if current:
            await asyncio.wait({current})
        self._current, self._next = self._next, None
        execute = self._connection.execute
        try:
            _, replicas = await asyncio.gather(execute(*_WRITE), execute(*self._wait))
        except RedisError as error:
            return error
        return _Round(replicas, self._connection.connects)
