"""The circuit breaker between a process and one server."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from redis.exceptions import RedisError

from app.core.redis.errors import RedisUnavailableError

logger = logging.getLogger(__name__)

PROBE_SECONDS = 0.25


class CircuitBreaker:
    """Spares callers the wait for a server that has just failed.

    `trip` opens it; then the probe runs every `PROBE_SECONDS` in the background until it succeeds once. So an outage
    costs its timeout once per process, and its end is noticed without a request that has to try.
    """

    def __init__(self, name: str, probe: Callable[[], Awaitable[object]]) -> None:
        self._name = name
        self._probe = probe
        self._probing: asyncio.Task[None] | None = None
        self._reason = ""

    @property
    def is_open(self) -> bool:
        return self._probing is not None and not self._probing.done()

    def check(self) -> None:
        """Raises `RedisUnavailableError` while it is open."""
        if self.is_open:
            raise RedisUnavailableError(f"{self._name} is unavailable: {self._reason}")

    def trip(self, error: Exception) -> None:
        """Call it for failures of the server only, never for congestion in this process."""
        if not self.is_open:
            self._reason = str(error)
            logger.warning("%s is unavailable, its commands fail until it responds again: %r", self._name, error)
            self._probing = asyncio.create_task(self._probe_until_it_responds())

    async def close(self) -> None:
        """Ends the probing, so that the event loop can end."""
        if self._probing:
            self._probing.cancel()
            await asyncio.wait({self._probing})

    async def _probe_until_it_responds(self) -> None:
        while True:
            await asyncio.sleep(PROBE_SECONDS)
            try:
                await self._probe()
            except (RedisError, OSError):
                continue
            logger.info("%s is available again", self._name)
            return
