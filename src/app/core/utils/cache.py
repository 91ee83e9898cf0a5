"""The cache of answers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.asyncio import Redis

from app.core.config import RedisCacheSettings
from app.core.utils.redis import create_redis


@asynccontextmanager
async def open_cache(settings: RedisCacheSettings) -> AsyncIterator[Redis]:
    """A client that is closed at the end."""
    async with create_redis(settings.REDIS_CACHE_URL) as client:
        yield client
