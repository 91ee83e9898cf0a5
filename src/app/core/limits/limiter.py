"""An exact sliding window: in any `period` seconds at most `limit` admissions, whoever asks from wherever."""

import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from redis.asyncio import Redis
from redis.exceptions import RedisError

from app.core.config import RedisRateLimiterSettings
from app.core.limits.circuit_breaker import CircuitBreaker
from app.core.limits.script import admit_script
from app.core.redis import create_pool

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS = 1.0
"""Longer than a busy event loop may need: a time-out here lets a request pass uncounted."""
SECONDS_BETWEEN_WARNINGS = 10.0
_MICROSECONDS = 1_000_000


class RateLimiterUnavailableError(Exception):
    """Nothing can be counted now, and the settings say that nothing passes uncounted (`RATE_LIMIT_FAIL_OPEN`)."""


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `requests` in any `period` seconds; both at least 1."""

    requests: int
    period: int


@dataclass(frozen=True, slots=True)
class Admission:
    """What became of a request; the times are whole seconds, rounded up.

    `announce` is True once a minute and bucket, for the first request that asked for it.
    """

    admitted: bool
    limit: int
    remaining: int
    reset_after: int
    retry_after: int
    announce: bool

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """The fields of draft-ietf-httpapi-ratelimit-headers-03, and Retry-After (RFC 9110), as ASGI wants them."""
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

    def __init__(self, redis: Redis, *, fail_open: bool) -> None:
        self.redis = redis
        self.failures = 0
        self.breaker = CircuitBreaker()
        self._fail_open = fail_open
        self._admit = redis.register_script(admit_script())
        self._next_warning = 0.0

    async def admit(self, bucket: str, limit: Limit, *, announce: bool = False) -> Admission | None:
        """The fate of one more request of the bucket; None lets it pass uncounted because Redis is away.

        Raises `RateLimiterUnavailableError` instead of None where the settings ask for it.
        """
        if not self.breaker.allows_call():
            self._pass_uncounted("it failed a moment ago")
            return None
        keys = [f"rate_limit:{bucket}", f"rate_limit_notice:{bucket}"]
        try:
            answer: bytes = await self._admit(keys if announce else keys[:1], (limit.requests, limit.period))
        except RedisError as error:
            self.breaker.record_failure()
            self._pass_uncounted(repr(error))
            return None
        self.breaker.record_success()
        admitted, remaining, reset, retry, announced = map(int, answer.split())
        return Admission(
            bool(admitted), limit.requests, remaining, _whole_seconds(reset), _whole_seconds(retry), bool(announced)
        )

    async def ping(self) -> bool:
        """Whether Redis answers; raises its error if not."""
        return bool(await self.redis.ping())

    def _pass_uncounted(self, reason: str) -> None:
        self.failures += 1
        now = time.monotonic()
        if now >= self._next_warning:
            self._next_warning = now + SECONDS_BETWEEN_WARNINGS
            fate = "admitted" if self._fail_open else "refused"
            logger.warning("Redis is away, requests are %s uncounted (%d so far): %s", fate, self.failures, reason)
        if not self._fail_open:
            raise RateLimiterUnavailableError(reason)


@asynccontextmanager
async def open_rate_limiter(settings: RedisRateLimiterSettings) -> AsyncIterator[RateLimiter]:
    """A limiter whose connections are closed at the end."""
    async with Redis.from_pool(create_pool(settings.REDIS_RATE_LIMIT_URL, timeout=TIMEOUT_SECONDS)) as client:
        yield RateLimiter(client, fail_open=settings.RATE_LIMIT_FAIL_OPEN)
