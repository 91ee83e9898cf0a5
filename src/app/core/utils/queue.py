"""The queue of background tasks.

`enqueue(db, ...)` submits a task with the commit of a transaction; `queue.pool.enqueue_job(...)` submits one at once.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from app.core.config import RedisQueueSettings
from app.core.db.database import Database
from app.core.outbox import NewTask, TaskFunction, require_outbox
from app.core.queue.jobs import TIMEOUT_SECONDS, JobQueue, PipelinedJobQueue
from app.core.queue.replicas import Replicas
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
        required, seconds = settings.REDIS_QUEUE_WAIT_REPLICAS, settings.REDIS_QUEUE_WAIT_REPLICAS_SECONDS
        replicas = Replicas(connection, required, seconds) if required else None
        pool = queue = PipelinedJobQueue(connections, connection, replicas)
        try:
            yield queue
        finally:
            if outer:
                pool = outer
            await queue.aclose()
            await connections.disconnect()


async def enqueue(
    db: Database | AsyncSession,
    function: TaskFunction,
    *args: Any,
    _job_id: str | None = None,
    _defer_until: datetime | None = None,
    _defer_by: float | timedelta | None = None,
    _after: str | None = None,
    **kwargs: Any,
) -> str:
    """Submits a task with the session's commit, or with the `Database` at once; returns the task's id.

    `function` is one of the worker's functions, or its name. The options are those of `enqueue_job`: a task whose
    `_job_id` is known already is not submitted again. Tasks with the same `_after` run one after another, in the order
    of their commits. Raises `TaskRefusedError` for an unknown function and for arguments that are too large, arq's
    `SerializationError` for arguments that are not plain data, and `FeatureDisabledError` without `OutboxSettings`.
    """
    task = NewTask(function, args, kwargs, job_id=_job_id, defer_until=_defer_until, defer_by=_defer_by, after=_after)
    return await require_outbox(db).store(db, task)
