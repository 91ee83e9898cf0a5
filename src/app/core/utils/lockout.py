"""The lock against guessing one account's password from one address."""

import logging
from collections.abc import Awaitable
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from app.core.config import CryptSettings
from app.core.security import digest

logger = logging.getLogger(__name__)

_COUNT_FAILURE = """
local failures = redis.call('INCR', KEYS[1])
if failures == 1 then redis.call('EXPIRE', KEYS[1], ARGV[1]) end
return failures
"""
_SECONDS_LEFT = """
local failures = tonumber(redis.call('GET', KEYS[1]) or '0')
if failures < tonumber(ARGV[1]) then return 0 end
return math.max(1, redis.call('TTL', KEYS[1]))
"""


class LoginLockout:
    """Counts failures of the pair (account, address), for all processes, in Redis.

    While Redis is away nobody is locked out: the cost of bcrypt still bounds guessing.
    """

    def __init__(self, redis: Redis | None, settings: CryptSettings, address: str) -> None:
        self._redis = redis
        self._maximum = settings.LOGIN_MAX_FAILURES
        self._period = settings.LOGIN_LOCKOUT_SECONDS
        self._address = address

    async def seconds_left(self, account: str) -> int:
        """Seconds until the pair may try again; 0 if it may now."""
        return await self._ask(lambda redis: redis.eval(_SECONDS_LEFT, 1, self._key(account), str(self._maximum)))

    async def record_failure(self, account: str) -> None:
        await self._ask(lambda redis: redis.eval(_COUNT_FAILURE, 1, self._key(account), str(self._period)))

    async def clear(self, account: str) -> None:
        await self._ask(lambda redis: redis.delete(self._key(account)))

    def _key(self, account: str) -> str:
        return f"login_failures:{digest(f'{account}|{self._address}')}"

    async def _ask(self, command: Any) -> int:
        if self._redis is None:
            return 0
        try:
            answer: Awaitable[int] = command(self._redis)
            return int(await answer)
        except RedisError as error:
            logger.warning("login failures cannot be counted: %r", error)
            return 0
