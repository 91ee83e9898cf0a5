"""The queue of background tasks: `queue.pool.enqueue_job(...)` hands a task to the workers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from arq import ArqRedis
from arq.connections import RedisSettings

from app.core.config import RedisQueueSettings
from app.core.utils.redis import create_pool

TIMEOUT_SECONDS = 1.0

pool: ArqRedis
"""The running application's queue; open between its start and its stop."""


def redis_settings(settings: RedisQueueSettings) -> RedisSettings:
    """How a worker reaches the queue's Redis, in arq's terms: one that is not up yet is tried every second."""
    return RedisSettings(
        host=settings.REDIS_QUEUE_HOST,
        port=settings.REDIS_QUEUE_PORT,
        password=settings.REDIS_QUEUE_PASSWORD or None,
        database=settings.REDIS_QUEUE_DB,
        ssl=settings.REDIS_QUEUE_SSL,
        conn_retries=settings.REDIS_QUEUE_WAIT_SECONDS,
        conn_retry_delay=1,
    )


@asynccontextmanager
async def open_queue(settings: RedisQueueSettings) -> AsyncIterator[ArqRedis]:
    """A queue that is closed at the end, and is `pool` until then."""
    global pool
    connections = create_pool(settings.REDIS_QUEUE_URL, timeout=TIMEOUT_SECONDS)
    pool = queue = ArqRedis(pool_or_conn=connections)
    try:
        yield queue
    finally:
        await queue.aclose()
        await connections.disconnect()
