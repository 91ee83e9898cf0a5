"""An exact sliding window: in any `period` seconds at most `limit` admissions."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.asyncio import Redis

from app.core.config import RedisRateLimiterSettings
from app.core.utils.redis import create_redis


@asynccontextmanager
async def open_rate_limiter(settings: RedisRateLimiterSettings) -> AsyncIterator[Redis]:
    """A client that is closed at the end."""
    async with create_redis(settings.REDIS_RATE_LIMIT_URL) as client:
        yield client
