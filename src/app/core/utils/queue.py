"""The queue of background tasks: `queue.pool.enqueue_job(...)` hands a task to the workers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.core.config import RedisQueueSettings
from app.core.queue.jobs import TIMEOUT_SECONDS, JobQueue, PipelinedJobQueue
from app.core.redis import create_pool, open_connection

pool: JobQueue
"""The queue of the running application or worker; open between its start and its stop."""


@asynccontextmanager
async def open_queue(settings: RedisQueueSettings) -> AsyncIterator[JobQueue]:
    """A queue that is closed at the end, and is `pool` until then; afterwards an outer one is `pool` again."""
    global pool
    outer: JobQueue | None = globals().get("pool")
    connections = create_pool(settings.REDIS_QUEUE_URL, timeout=TIMEOUT_SECONDS)
    async with open_connection(settings.REDIS_QUEUE_URL, name="queue", timeout_seconds=TIMEOUT_SECONDS) as connection:
        pool = queue = PipelinedJobQueue(connections, connection)
        try:
            yield queue
        finally:
            if outer:
                pool = outer
            await queue.aclose()
            await connections.disconnect()
