"""The circuit breaker between a process and one server."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from redis.exceptions import RedisError

from app.core.redis.errors import RedisUnavailableError

logger = logging.getLogger(__name__)

PROBE_SECONDS = 0.25
EARLY_PROBE_SECONDS = 0.02
"""The shortest time between two probes that calls start, and how long such a call waits for the result."""


class CircuitBreaker:
    """Fails calls at once while a server is known to be unavailable.

    `trip` opens it; then a probe is sent every `PROBE_SECONDS` in the background, or earlier where there are calls,
    until one succeeds. So an outage costs its timeout once per process, and the first call after it notices its end.
    """

    def __init__(self, name: str, probe: Callable[[], Awaitable[object]]) -> None:
        self._name = name
        self._probe = probe
        self._probing: asyncio.Task[None] | None = None
        self._probe_now = asyncio.Event()
        self._is_probing = False
        self._probed_at = 0.0
        self._reason = ""

    @property
    def is_open(self) -> bool:
        return self._probing is not None and not self._probing.done()

    async def wait_until_closed(self) -> None:
        """Raises `RedisUnavailableError` if it is open, at once unless this call starts a probe."""
        if self._probing and not self._is_probing and time.monotonic() - self._probed_at >= EARLY_PROBE_SECONDS:
            self._probe_now.set()
            self._is_probing = True
            await asyncio.wait({self._probing}, timeout=EARLY_PROBE_SECONDS)
        if self.is_open:
            raise RedisUnavailableError(f"{self._name} is unavailable: {self._reason}")

    def trip(self, error: Exception) -> None:
        """Call it for failures of the server only, never for congestion in this process."""
        if not self.is_open:
            self._reason = str(error)
            self._probed_at = time.monotonic()
            self._is_probing = False
            self._probe_now.clear()
            logger.warning("%s is unavailable, its commands fail until it responds again: %r", self._name, error)
            self._probing = asyncio.create_task(self._probe_until_it_responds())

    async def close(self) -> None:
        """Ends the probing, so that the event loop can end."""
        if self._probing:
            self._probing.cancel()
            await asyncio.wait({self._probing})

    async def _probe_until_it_responds(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(PROBE_SECONDS):
                    await self._probe_now.wait()
            self._is_probing = True
            try:
                await self._probe()
            except (RedisError, OSError):
                self._probe_now.clear()
                self._is_probing = False
                self._probed_at = time.monotonic()
                continue
            logger.info("%s is available again", self._name)
            return
