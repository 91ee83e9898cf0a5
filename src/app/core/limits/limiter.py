"""Counts requests and decides on each of them; the counting itself is `script`."""

import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from redis.exceptions import RedisError

from app.core.config import RedisRateLimiterSettings
from app.core.limits.script import admit_script
from app.core.redis import Connection, RedisBusyError, open_any_connection

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS = 1.0
SECONDS_BETWEEN_WARNINGS = 10.0
_MICROSECONDS = 1_000_000
_PROBE_KEY = "rate_limit_probe"


class RateLimiterUnavailableError(Exception):
    """The request cannot be counted now, and may not pass uncounted."""


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `requests` in any `period` seconds; both at least 1."""

    requests: int
    period: int


@dataclass(frozen=True, slots=True)
class Admission:
    """The decision on one request; the times are whole seconds, rounded up.

    `notice_is_due` is True once a minute per key, for the first request that can give notice.
    """

    admitted: bool
    limit: int
    remaining: int
    reset_after: int
    retry_after: int
    notice_is_due: bool

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """The fields of draft-ietf-httpapi-ratelimit-headers-03, and Retry-After (RFC 9110), in ASGI's form."""
        fields = [
            (b"ratelimit-limit", b"%d" % self.limit),
            (b"ratelimit-remaining", b"%d" % self.remaining),
            (b"ratelimit-reset", b"%d" % self.reset_after),
        ]
        return fields if self.admitted else [*fields, (b"retry-after", b"%d" % self.retry_after)]


def _whole_seconds(microseconds: int) -> int:
    return -(-microseconds // _MICROSECONDS)


class RateLimiter:
    """Admits or refuses in one round trip to Redis, by Redis's clock.

    `failures` counts the requests that could not be counted since the process started.
    """

    def __init__(self, connection: Connection, *, fail_open: bool) -> None:
        self.connection = connection
        self.failures = 0
        self._fail_open = fail_open
        self._admit = connection.script(admit_script())
        self._next_warning = 0.0

    async def admit(self, key: str, limit: Limit, *, with_notice: bool = False) -> Admission | None:
        """Counts one more request under the key; None admits it uncounted, because Redis failed.

        Raises `RateLimiterUnavailableError` instead of None where `RATE_LIMIT_FAIL_OPEN` is false, and always where it
        is this process that has too much under way.
        """
        key = self.connection.tag(key)
        keys = [f"rate_limit:{key}", f"rate_limit_notice:{key}"]
        try:
            reply: bytes = await self._admit(keys if with_notice else keys[:1], (limit.requests, limit.period))
        except RedisBusyError as error:
            raise RateLimiterUnavailableError(str(error)) from error
        except RedisError as error:
            self._record_failure(error)
            return None
        admitted, remaining, reset, retry, notice = map(int, reply.split())
        return Admission(
            bool(admitted), limit.requests, remaining, _whole_seconds(reset), _whole_seconds(retry), bool(notice)
        )

    async def ping(self) -> bool:
        """True if Redis can be reached and stores what it is sent; otherwise raises the error with the reason."""
        return bool(await self.connection.execute("SET", _PROBE_KEY, "1", "EX", 60))

    def _record_failure(self, error: RedisError) -> None:
        self.failures += 1
        now = time.monotonic()
        if now >= self._next_warning:
            self._next_warning = now + SECONDS_BETWEEN_WARNINGS
            decision = "admitted" if self._fail_open else "refused"
            logger.warning("requests cannot be counted and are %s (%d so far): %r", decision, self.failures, error)
        if not self._fail_open:
            raise RateLimiterUnavailableError(str(error)) from error


@asynccontextmanager
async def open_rate_limiter(settings: RedisRateLimiterSettings) -> AsyncIterator[RateLimiter]:
    """A limiter whose connection is closed at the end."""
    connecting = open_any_connection(settings.REDIS_RATE_LIMIT_URL, name="rate limits", timeout_seconds=TIMEOUT_SECONDS)
    async with connecting as connection:
        yield RateLimiter(connection, fail_open=settings.RATE_LIMIT_FAIL_OPEN)
