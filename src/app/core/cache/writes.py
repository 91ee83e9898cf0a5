"""Writes: announced before they begin, and dropped from the cache before the caller gets the response."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from secrets import token_hex
from typing import Any

from redis.exceptions import RedisError

from app.core.cache import scripts
from app.core.cache.buckets import Buckets
from app.core.cache.epoch import LEASE_SECONDS, EpochLease
from app.core.cache.parts import WritePart, write_parts
from app.core.cache.targets import Targets
from app.core.redis import Argument, Connection, RedisScript

logger = logging.getLogger(__name__)

Release = Callable[[], Awaitable[None]]

RENEW_SECONDS = 5.0
"""How often a write that takes long announces itself again."""
SLACK_SECONDS = 5.0
UNLIMITED_STATEMENT_SECONDS = 3600.0
RETRY_SECONDS = 0.25


def announcement_seconds(statement_timeout: float) -> float:
    """How long an announcement outlives the last sign of its writer.

    The database ends each statement after its timeout (0: never), also that of a process which died. So no change that
    a process had begun is committed after its announcement has expired.
    """
    return RENEW_SECONDS + (statement_timeout or UNLIMITED_STATEMENT_SECONDS) + SLACK_SECONDS


class _Write:
    """One change of the data, from before it begins until nothing old is served any more."""

    def __init__(
        self, invalidate: RedisScript, lease: EpochLease, targets: Targets, seconds: float, buckets: Buckets
    ) -> None:
        self._invalidate = invalidate
        self._lease = lease
        self._milliseconds = int(seconds * 1000)
        self._token = token_hex(16)
        self._scopes = sorted(targets.scopes)
        self._announcements: list[tuple[bytes | None, str]] = []
        self._parts = write_parts(targets, buckets)
        self._renewal: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.has_begun = False
        self.is_announced = False

    async def begin(self) -> None:
        """Raises the database's error if neither Redis nor the database is available."""
        self.is_announced = await self._announce()
        if not self.is_announced:
            await self._lease.move()
        self.has_begun = True
        self._arm()

    async def drop(self) -> bool:
        """Drops the targets and ends the announcement; False if Redis has not confirmed it."""
        self.stop()
        return await self._deliver(0)

    def stop(self) -> None:
        if self._timer:
            self._timer.cancel()
        if self._renewal:
            self._renewal.cancel()

    def _arm(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(RENEW_SECONDS, self._renew)

    def _renew(self) -> None:
        self._renewal = asyncio.create_task(self._announce_again())

    async def _announce_again(self) -> None:
        await self._announce()
        self._arm()

    async def _announce(self) -> bool:
        # An announcement binds its epoch only: one that Redis executes after its reply was lost delays no request.
        epoch = self._lease.current() or await self._lease.epoch()
        announced = [(epoch, scope) for scope in self._scopes]
        self._announcements += [each for each in announced if each not in self._announcements]
        return await self._deliver(self._milliseconds)

    async def _deliver(self, milliseconds: int) -> bool:
        if len(self._parts) == 1:
            return await self._deliver_part(self._parts[0], milliseconds)
        return all(await asyncio.gather(*(self._deliver_part(part, milliseconds) for part in self._parts)))

    async def _deliver_part(self, part: WritePart, milliseconds: int) -> bool:
        keys, numbers = part.keys(self._announcements)
        arguments: list[Argument] = [self._token, milliseconds, *numbers, *(glob for _, glob in part.globs)]
        try:
            await self._invalidate(keys, arguments)
        except RedisError as error:
            logger.warning("the cache could not invalidate %s: %r", ", ".join(self._scopes), error)
            return False
        return True


class Writes:
    """The writes of this process; see `app.core.cache` for their guarantees."""

    def __init__(self, redis: Connection, lease: EpochLease, statement_timeout: float) -> None:
        self._buckets = Buckets(redis)
        self._invalidate = redis.script(scripts.INVALIDATE)
        self._lease = lease
        self._seconds = announcement_seconds(statement_timeout)
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closing = False

    @asynccontextmanager
    async def surround(self, targets: Targets, release: Release) -> AsyncIterator[None]:
        """Surrounds what commits a change; when it is left, in whatever way, nothing old is served any more.

        `release` gives back what the request holds, before it waits for a lease to expire.
        """
        if not targets.scopes:
            yield
            return
        write = _Write(self._invalidate, self._lease, targets, self._seconds, self._buckets)
        try:
            await write.begin()
            yield
            if not write.is_announced:
                await release()
        finally:
            await self._finish(write)

    async def close(self) -> None:
        """Waits for the invalidations under way."""
        self._is_closing = True
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _finish(self, write: _Write) -> None:
        try:
            await self._end(write)
        except asyncio.CancelledError:
            # A client that leaves cancels its request, but not this: it begins once more, which drops twice at most.
            self._start(self._end(write))
            raise

    async def _end(self, write: _Write) -> None:
        if await write.drop() or not write.has_begun:
            return
        try:
            await self._lease.move()
        except Exception:
            self._start(self._drop_later(write))
            raise
        await asyncio.sleep(LEASE_SECONDS)

    async def _drop_later(self, write: _Write) -> None:
        """Neither Redis nor the database is available: the caller gets an error, and the first that returns is used."""
        while not self._is_closing:
            await asyncio.sleep(RETRY_SECONDS)
            if await write.drop():
                return
            try:
                await self._lease.move()
            except Exception as error:  # noqa: BLE001 - whatever it is, it is tried again
                logger.warning("the cache's epoch could not be moved: %r", error)
                continue
            return

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
