"""The circuit breaker between a process and the cache's Redis: one slow answer is paid for, then requests go past."""

import asyncio
import logging
from collections.abc import Awaitable
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

logger = logging.getLogger(__name__)

OPERATION_SECONDS = 0.12
GRACE_SECONDS = 0.03
"""So that an answer which came while this process was busy is still read."""
BUSY_SECONDS = 1.0
PROBE_SECONDS = 0.25


class CacheUnavailableError(Exception):
    """Redis did not do what it was asked, or perhaps did and could not say so."""


class Circuit:
    """Runs commands while Redis answers in time.

    A connection that fails or an answer that takes too long opens it; then nothing is asked but a probe in the
    background, whose first success closes it.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._probe: asyncio.Task[None] | None = None
        self._answered_at = 0.0

    @property
    def is_open(self) -> bool:
        return self._probe is not None and not self._probe.done()

    async def run(self, command: Awaitable[Any]) -> Any:
        """Raises `CacheUnavailableError` when nobody got an answer for `OPERATION_SECONDS`, or this one is lost."""
        try:
            return await self._wait(command)
        except ResponseError as error:
            raise CacheUnavailableError(repr(error)) from error
        except (RedisError, OSError) as error:
            self._open(error)
            raise CacheUnavailableError(repr(error)) from error

    async def _wait(self, command: Awaitable[Any]) -> Any:
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with asyncio.timeout(None) as limit:

            def judge() -> None:
                now = loop.time()
                # Others are answered: it is this process that is slow, not Redis.
                if now - self._answered_at < OPERATION_SECONDS and now - began < BUSY_SECONDS:
                    timers.append(loop.call_later(OPERATION_SECONDS, judge))
                else:
                    limit.reschedule(now + GRACE_SECONDS)

            timers = [loop.call_later(OPERATION_SECONDS, judge)]
            try:
                answer = await command
            finally:
                timers[-1].cancel()
            self._answered_at = loop.time()
            return answer

    async def close(self) -> None:
        if self._probe:
            self._probe.cancel()
            await asyncio.gather(self._probe, return_exceptions=True)

    def _open(self, error: Exception) -> None:
        if not self.is_open:
            logger.warning("the cache is bypassed until Redis answers again: %r", error)
            self._probe = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(PROBE_SECONDS)
            try:
                async with asyncio.timeout(OPERATION_SECONDS):
                    await self._redis.ping()
            except (RedisError, OSError):
                continue
            logger.info("the cache is used again")
            return
