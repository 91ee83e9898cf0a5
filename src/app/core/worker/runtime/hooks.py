"""What arq calls before and after each run of a task.

Counts of tries and lost runs, the list of recent results, and the next task of an ordered line.
"""

import asyncio
from typing import Any

from arq.constants import retry_key_prefix

from app.core.queue.view import note_result
from app.core.worker.runtime.context import Hook, TaskContext
from app.core.worker.runtime.handover import FIRST_SEEN_KEY_PREFIX
from app.core.worker.runtime.retries import FAILED_TRY, RUNS_WITHOUT_END, SUCCESS

LOST_RUNS_KEY_PREFIX = "arq:lost-runs:"
LOST_RUNS_KEPT_SECONDS = 24 * 3600


def before_run(own: Hook | None) -> Hook:
    """Counts the run as lost in advance; `after_run` takes it back unless the worker is lost meanwhile."""

    async def on_job_start(context: dict[str, Any]) -> None:
        ctx = TaskContext(context)
        lost_runs_key = LOST_RUNS_KEY_PREFIX + ctx.job_id
        async with ctx.worker_queue.pipeline(transaction=True) as transaction:
            # arq has just counted this run as a try.
            transaction.decr(retry_key_prefix + ctx.job_id)
            transaction.incr(lost_runs_key)
            transaction.expire(lost_runs_key, LOST_RUNS_KEPT_SECONDS)
            _, context[RUNS_WITHOUT_END], _ = await transaction.execute()
        if own:
            await own(context)

    return on_job_start


def _accept_cancellation() -> None:
    """Clears the cancellation of the current asyncio task.

    arq catches the `CancelledError` of a task that it hands back, and continues in the same asyncio task. Before Python
    3.11.3 each later `asyncio.timeout` in it, also redis-py's, would raise `CancelledError` instead of `TimeoutError`.
    """
    task = asyncio.current_task()
    while task and task.cancelling():
        task.uncancel()


def after_run(own: Hook | None) -> Hook:
    """Counts a failed try, and lists a task that ended.

    It runs outside of the task's timeout, because it may have to wait for Redis. arq stores the result right after it.
    A worker that is killed in between leaves an entry without a result, which readers skip.
    """

    async def on_job_end(context: dict[str, Any]) -> None:
        ctx = TaskContext(context)
        _accept_cancellation()
        async with ctx.worker_queue.pipeline(transaction=True) as transaction:
            if context.get(FAILED_TRY):
                transaction.incr(retry_key_prefix + ctx.job_id)
            transaction.delete(LOST_RUNS_KEY_PREFIX + ctx.job_id)
            if SUCCESS in context:
                transaction.delete(FIRST_SEEN_KEY_PREFIX + ctx.job_id)
                note_result(transaction, ctx.job_id, success=context[SUCCESS])
            await transaction.execute()
        if own:
            await own(context)

    return on_job_end


def after_end(own: Hook | None) -> Hook:
    """Tells the outbox, once the result is stored, that another task may follow this one."""

    async def after_job_end(context: dict[str, Any]) -> None:
        ctx = TaskContext(context)
        if SUCCESS in context and ctx.sweep:
            ctx.sweep.task_ended()
        if own:
            await own(context)

    return after_job_end
