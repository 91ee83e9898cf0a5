"""The state of tasks: each in one round trip, and lists of them at a cost that does not grow with the queue."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from arq import ArqRedis
from arq.constants import (
    default_queue_name,
    in_progress_key_prefix,
    job_key_prefix,
    result_key_prefix,
    retry_key_prefix,
)
from arq.jobs import DeserializationError, JobDef, JobResult, deserialize_job, deserialize_result
from arq.utils import timestamp_ms
from redis.asyncio.client import Pipeline

from app.core.queue.codec import jsonable, loads

MAX_RECENT = 1000
"""Results of each kind that can be listed; each can be read by its id until it expires."""
WINDOW = 100
"""Workers claim tasks among the first that are due, so the running ones are at the front of the queue: it is read in
windows of this size, up to the first window without a running task."""
MAX_SCANNED = 10_000
RECENT_KEYS = {False: "arq:recent:failed", True: "arq:recent:complete"}


class TaskStatus(StrEnum):
    """The state of a task."""

    DEFERRED = "deferred"
    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    COMPLETE = "complete"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class TaskState:
    """A task for responses: what was submitted, and what is known of it so far; values are JSON-safe."""

    job_id: str
    status: TaskStatus
    function: str | None = None
    args: Any = None
    kwargs: Any = None
    job_try: int | None = None
    enqueue_time: datetime | None = None
    score: int | None = None
    start_time: datetime | None = None
    finish_time: datetime | None = None
    success: bool | None = None
    result: Any = None
    queue_name: str | None = None

    @property
    def duration_seconds(self) -> float | None:
        """How long the last try took."""
        if self.start_time is None or self.finish_time is None:
            return None
        return (self.finish_time - self.start_time).total_seconds()


@dataclass(frozen=True, slots=True)
class RecentTasks:
    """A part of the recent results, failures first, newest first."""

    tasks: Sequence[TaskState]
    total_count: int


def note_result(transaction: Pipeline, job_id: str, *, success: bool) -> None:
    """Adds a task that ended to the list of recent results, as part of the transaction."""
    recent = RECENT_KEYS[success]
    transaction.zadd(recent, {job_id: timestamp_ms()})
    transaction.zremrangebyrank(recent, 0, -MAX_RECENT - 1)


async def read_task(queue: ArqRedis, job_id: str) -> TaskState | None:
    """The task's state now, None if nothing is known of it."""
    [state] = await read_tasks(queue, [job_id])
    return state


async def read_tasks(queue: ArqRedis, job_ids: Sequence[str]) -> list[TaskState | None]:
    """The states of the tasks, all in one round trip."""
    if not job_ids:
        return []
    async with queue.pipeline(transaction=True) as transaction:
        for job_id in job_ids:
            transaction.get(result_key_prefix + job_id)
            transaction.get(job_key_prefix + job_id)
            transaction.zscore(default_queue_name, job_id)
            transaction.exists(in_progress_key_prefix + job_id)
            transaction.get(retry_key_prefix + job_id)
        replies = await transaction.execute()
    groups = zip(*[iter(replies)] * 5, strict=True)
    return [_state(job_id, *group) for job_id, group in zip(job_ids, groups, strict=True)]


def _state(
    job_id: str, result: bytes | None, job: bytes | None, score: float | None, is_running: int, tries: bytes | None
) -> TaskState | None:
    if result:
        return _finished(job_id, result)
    if score is None:
        return None
    return unfinished(job_id, job, int(score), bool(is_running), int(tries or 0))


def _finished(job_id: str, packed: bytes) -> TaskState:
    try:
        result = deserialize_result(packed, deserializer=loads)
    except DeserializationError as error:
        return TaskState(job_id, TaskStatus.FAILED, success=False, result=jsonable(error))
    return TaskState(
        status=TaskStatus.COMPLETE if result.success else TaskStatus.FAILED,
        start_time=result.start_time,
        finish_time=result.finish_time,
        success=result.success,
        result=jsonable(result.result),
        queue_name=result.queue_name,
        **_asked_for(job_id, result),
    )


def unfinished(job_id: str, packed: bytes | None, score: int, is_running: bool = False, tries: int = 0) -> TaskState:
    """A task that waits or runs, from what was submitted and the time when it is due."""
    if is_running:
        status = TaskStatus.IN_PROGRESS
    else:
        status = TaskStatus.DEFERRED if score > timestamp_ms() else TaskStatus.QUEUED
    known: dict[str, Any] = {"job_id": job_id}
    with suppress(DeserializationError):  # the worker stores this error as the result
        known = _asked_for(job_id, deserialize_job(packed or b"", deserializer=loads))
    # While it runs, the try that is on counts too.
    job_try = tries + 1 if is_running else tries or None
    return TaskState(**known | {"status": status, "score": score, "job_try": job_try, "queue_name": default_queue_name})


def _asked_for(job_id: str, job: JobDef | JobResult) -> dict[str, Any]:
    return {
        "job_id": job_id,
        "function": job.function,
        "args": jsonable(list(job.args)),
        "kwargs": jsonable(job.kwargs),
        "job_try": job.job_try,
        "enqueue_time": job.enqueue_time,
    }


async def read_running(queue: ArqRedis) -> tuple[int, list[TaskState]]:
    """The number of tasks in the queue, the running ones included, and the running ones."""
    running: list[str] = []
    for begin in range(0, MAX_SCANNED, WINDOW):
        async with queue.pipeline(transaction=True) as transaction:
            transaction.zcard(default_queue_name)
            transaction.zrange(default_queue_name, begin, begin + WINDOW - 1)
            length, ids = await transaction.execute()
        names = [job_id.decode(errors="replace") for job_id in ids]
        marks = await queue.mget([in_progress_key_prefix + name for name in names]) if names else []
        found = [name for name, mark in zip(names, marks, strict=True) if mark]
        running += found
        if not found or len(names) < WINDOW:
            break
    states = await read_tasks(queue, running)
    return length, [state for state in states if state and state.status is TaskStatus.IN_PROGRESS]


async def read_recent(queue: ArqRedis, offset: int, limit: int, result_ttl_seconds: int) -> RecentTasks:
    """A window of the results that have not expired."""
    oldest = timestamp_ms() - result_ttl_seconds * 1000
    failed, complete = RECENT_KEYS[False], RECENT_KEYS[True]
    async with queue.pipeline(transaction=True) as transaction:
        for key in (failed, complete):
            transaction.zremrangebyscore(key, "-inf", f"({oldest}")
        transaction.zrevrange(failed, 0, -1)
        transaction.zrevrange(complete, 0, -1)
        *_, failed_ids, complete_ids = await transaction.execute()
    ids = [job_id.decode() for job_id in (*failed_ids, *complete_ids)]
    window = ids[offset : offset + limit]
    results = await queue.mget([result_key_prefix + job_id for job_id in window]) if window else []
    tasks = [_finished(job_id, packed) for job_id, packed in zip(window, results, strict=True) if packed]
    return RecentTasks(tasks, total_count=len(ids))
