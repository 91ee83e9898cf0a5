"""How many tasks are in the queue, in one look at it at a cost that does not grow with it."""

from dataclasses import dataclass

from arq import ArqRedis
from arq.constants import default_queue_name, in_progress_key_prefix
from arq.utils import timestamp_ms

from app.core.queue.view import WINDOW


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """Numbers of tasks, and for how long the oldest one that is due and not running has been due, in seconds."""

    queued: int
    deferred: int
    in_progress: int
    oldest_age: float


async def read_depth(queue: ArqRedis) -> QueueDepth:
    """Running tasks are looked for among the first `WINDOW`, where workers claim them."""
    now = timestamp_ms()
    async with queue.pipeline(transaction=True) as transaction:
        transaction.zcard(default_queue_name)
        transaction.zcount(default_queue_name, "-inf", now)
        transaction.zrange(default_queue_name, 0, WINDOW - 1, withscores=True)
        length, due, first = await transaction.execute()
    marks = await queue.mget([in_progress_key_prefix + task.decode() for task, _ in first]) if first else []
    running = sum(mark is not None for mark in marks)
    waiting = (score for (_, score), mark in zip(first, marks, strict=True) if mark is None and score <= now)
    oldest = next(waiting, now)
    return QueueDepth(max(due - running, 0), length - due, running, (now - oldest) / 1000)
