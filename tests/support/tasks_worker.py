"""A worker whose tasks fail in every way; as a process: `arq tests.support.tasks_worker.WorkerSettings`."""

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar

from arq.cron import CronJob
from arq.worker import Function, Worker, create_worker

from app.core.config import RedisQueueSettings, settings
from app.core.worker.runtime.context import TaskContext
from app.core.worker.runtime.reliable import ReliableWorker
from app.core.worker.runtime.retries import Task


async def note(ctx: TaskContext, number: int, seconds: float = 0.0) -> int:
    """Counts its starts and its ends in the queue's Redis."""
    await ctx.worker_queue.incr(f"started:{number}")
    await asyncio.sleep(seconds)
    await ctx.worker_queue.incr(f"ended:{number}")
    return number


async def fail(ctx: TaskContext, times: int) -> str:
    if ctx.job_try <= times:
        raise ValueError(f"boom {ctx.job_try}")
    return "recovered"


async def hang(ctx: TaskContext) -> None:
    await asyncio.sleep(60)


async def leave(ctx: TaskContext) -> None:
    sys.exit(3)


async def cancel_itself(ctx: TaskContext) -> None:
    raise asyncio.CancelledError


async def return_anything(ctx: TaskContext) -> object:
    return object()


class WorkerSettings(ReliableWorker, settings=settings):
    functions: ClassVar = [note, fail, hang, leave, cancel_itself, return_anything]
    job_completion_wait = 1


@asynccontextmanager
async def burst_worker(
    settings: RedisQueueSettings, tasks: Sequence[Task | Function], schedules: Sequence[CronJob] = (), **options: Any
) -> AsyncIterator[Worker]:
    """A worker in this process that stops when the queue is empty, unless `burst` is false."""

    class Burst(ReliableWorker, settings=settings):
        functions: ClassVar = list(tasks)
        cron_jobs: ClassVar = list(schedules)

    worker = create_worker(dict(vars(Burst)), **{"burst": True, "handle_signals": False} | options)
    try:
        yield worker
    finally:
        await _end_tasks(worker)
        await worker.close()


async def _end_tasks(worker: Worker) -> None:
    """Cancels each function that still runs, once, and waits until arq has handed its task back.

    `Worker.close` cancels a second time what has not ended yet, which interrupts the hand-back: its `CancelledError`
    would then come out of `close` and cancel the caller.
    """
    while pending := {job_id: task for job_id, task in worker.tasks.items() if not task.done()}:
        for job_id, task in pending.items():
            if job_id in worker.job_tasks and not task.cancelling():
                task.cancel()
        await asyncio.wait(pending.values(), timeout=0.05)
    await asyncio.gather(*worker.tasks.values(), return_exceptions=True)
    worker.tasks.clear()


@asynccontextmanager
async def working(settings: RedisQueueSettings, *tasks: Task) -> AsyncIterator[None]:
    """Meanwhile a worker in this process runs the tasks in the queue."""
    async with burst_worker(settings, tasks, burst=False) as worker:
        running = asyncio.create_task(worker.async_run())
        try:
            yield
        finally:
            running.cancel()
            await asyncio.wait({running})


async def run_tasks(settings: RedisQueueSettings, *tasks: Task) -> None:
    """Runs all tasks in the queue."""
    async with burst_worker(settings, tasks) as worker:
        await worker.async_run()
