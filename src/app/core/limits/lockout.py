"""The lock against guessing one account's password from one address."""

import logging
from collections.abc import Awaitable
from typing import Any

from redis.exceptions import RedisError

from app.core.config import CryptSettings
from app.core.limits.limiter import RateLimiter
from app.core.security import digest

logger = logging.getLogger(__name__)

# Each key is a list of the latest failures' times, as many as lock the pair out (arguments: maximum, seconds).
_COUNT_FAILURE = """
local now = redis.call('TIME')
redis.call('RPUSH', KEYS[1], now[1] + now[2] / 1000000)
redis.call('LTRIM', KEYS[1], -ARGV[1], -1)
return redis.call('EXPIRE', KEYS[1], ARGV[2])
"""
_SECONDS_LEFT = """
local oldest = redis.call('LINDEX', KEYS[1], -ARGV[1])
if not oldest then return 0 end
local now = redis.call('TIME')
return math.max(0, math.ceil(oldest + ARGV[2] - now[1] - now[2] / 1000000))
"""


class LoginLockout:
    """Counts failures of the pair (account, address), for all processes, in Redis.

    A pair is locked out while its latest `LOGIN_MAX_FAILURES` failures lie within `LOGIN_LOCKOUT_SECONDS`.

    While Redis is away nobody is locked out: the cost of bcrypt still bounds guessing. The limiter's Redis is this one,
    and so is its breaker: what one of them has found to be away, the other does not wait for.
    """

    def __init__(self, limiter: RateLimiter | None, settings: CryptSettings, address: str) -> None:
        self._limiter = limiter
        self._maximum = settings.LOGIN_MAX_FAILURES
        self._period = settings.LOGIN_LOCKOUT_SECONDS
        self._address = address

    async def seconds_left(self, account: str) -> int:
        """Seconds until the pair may try again; 0 if it may now."""
        return await self._run(_SECONDS_LEFT, account)

    async def record_failure(self, account: str) -> None:
        await self._run(_COUNT_FAILURE, account)

    async def clear(self, account: str) -> None:
        await self._ask(lambda redis: redis.delete(self._key(account)))

    def _key(self, account: str) -> str:
        return f"login_failures:{digest(f'{account}|{self._address}')}"

    async def _run(self, script: str, account: str) -> int:
        arguments = (str(self._maximum), str(self._period))
        return await self._ask(lambda redis: redis.eval(script, 1, self._key(account), *arguments))

    async def _ask(self, command: Any) -> int:
        if self._limiter is None or not self._limiter.breaker.allows_call():
            return 0
        try:
            pending: Awaitable[int] = command(self._limiter.redis)
            answer = int(await pending)
        except RedisError as error:
            self._limiter.breaker.record_failure()
            logger.warning("login failures cannot be counted: %r", error)
            return 0
        self._limiter.breaker.record_success()
        return answer
