"""What makes a plain async function a task that is retried: tries, time-outs, back-off and their count in Redis.

A try is a run that ended in an error or a time-out. A run that a stopping worker hands back is none, and neither is one
that ended with its worker's death: those are counted apart, so that a task which kills its workers ends too.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import wraps
from typing import Any

from arq.constants import retry_key_prefix
from arq.worker import Retry, RetryJob

from app.core.worker.runtime.context import Hook, TaskContext

logger = logging.getLogger(__name__)

MAX_DELAY_SECONDS = 300.0
MAX_DEATHS = 10
DEATHS_KEPT_SECONDS = 24 * 3600
DEATHS_KEY_PREFIX = "arq:deaths:"
_RUNS = "_runs_without_end"
_FAILED = "_failed"

Task = Callable[..., Coroutine[Any, Any, Any]]
"""`async def task(ctx: TaskContext, ...)`; the arguments and the result are plain data."""


class WorkerLostError(Exception):
    """The worker died each time it ran this task."""


class TriesExhaustedError(Exception):
    """The task asked to be run again when it had no try left."""


class TaskAbortedError(Exception):
    """The task ended by what would end the worker or look like its stop: `SystemExit` or a cancellation of its own."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a task is tried, for how long each time, and how long it rests in between (seconds)."""

    max_tries: int
    timeout: float
    first_delay: float

    def delay(self, tries: int) -> float:
        """Exponential back-off with jitter: the tasks that failed together do not come back together."""
        longest = min(self.first_delay * 2.0 ** min(tries - 1, 60), MAX_DELAY_SECONDS)
        return longest * random.uniform(0.5, 1)  # noqa: S311 - jitter


async def _run(work: Coroutine[Any, Any, Any], seconds: float) -> Any:
    try:
        async with asyncio.timeout(seconds) as limit:
            return await work
    except SystemExit as error:
        raise TaskAbortedError(f"SystemExit: {error}") from error
    except (TimeoutError, asyncio.CancelledError) as error:
        if limit.expired():
            raise TimeoutError(f"not finished within {seconds:g} seconds") from None
        task = asyncio.current_task()
        if isinstance(error, TimeoutError) or (task and task.cancelling()):
            raise
        raise TaskAbortedError("the task cancelled itself") from error


def _retry(error: Exception, tries: int, policy: RetryPolicy) -> Exception:
    """What to raise for the failed try: an order to run again, or the error that stays."""
    is_order = isinstance(error, Retry | RetryJob)
    if tries >= policy.max_tries:
        return TriesExhaustedError(f"asked for another try after {tries}") if is_order else error
    if isinstance(error, Retry) and error.defer_score is not None:
        return error
    return Retry(defer=policy.delay(tries))


def retried(task: Task, policy: RetryPolicy) -> Task:
    """The task under this policy, as arq shall run it."""

    @wraps(task)
    async def run(context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        ctx = TaskContext(context)
        if context.get(_RUNS, 0) > MAX_DEATHS:
            raise WorkerLostError(f"the worker died {MAX_DEATHS} times while it ran this task")
        try:
            return await _run(task(ctx, *args, **kwargs), policy.timeout)
        except Exception as error:
            context[_FAILED] = True
            consequence = _retry(error, ctx.job_try, policy)
            if consequence is error:
                raise
            where = task.__qualname__, ctx.job_id, ctx.job_try, policy.max_tries
            logger.warning("%s (%s) failed, try %d of %d", *where, exc_info=error)
            raise consequence from error

    return run


def count_start(own: Hook | None) -> Hook:
    """Notes before each run that it is on; what `count_end` does not take back was ended by the worker's death."""

    async def on_job_start(context: dict[str, Any]) -> None:
        ctx = TaskContext(context)
        deaths_key = DEATHS_KEY_PREFIX + ctx.job_id
        async with ctx.worker_queue.pipeline(transaction=True) as transaction:
            # arq has just counted this run as a try.
            transaction.decr(retry_key_prefix + ctx.job_id)
            transaction.incr(deaths_key)
            transaction.expire(deaths_key, DEATHS_KEPT_SECONDS)
            _, context[_RUNS], _ = await transaction.execute()
        if own:
            await own(context)

    return on_job_start


def _accept_cancellation() -> None:
    """Tells asyncio that the order to stop was carried out.

    arq catches the `CancelledError` of a task that it hands back and goes on in the same asyncio task. Until Python
    3.11.3 every `asyncio.timeout` in there, redis-py's too, would let its own cancellation through.
    """
    task = asyncio.current_task()
    while task and task.cancelling():
        task.uncancel()


def count_end(own: Hook | None) -> Hook:
    """Counts the try if the run failed; outside the task's time-out, because it may have to wait for Redis."""

    async def on_job_end(context: dict[str, Any]) -> None:
        ctx = TaskContext(context)
        _accept_cancellation()
        async with ctx.worker_queue.pipeline(transaction=True) as transaction:
            if context.get(_FAILED):
                transaction.incr(retry_key_prefix + ctx.job_id)
            transaction.delete(DEATHS_KEY_PREFIX + ctx.job_id)
            await transaction.execute()
        if own:
            await own(context)

    return on_job_end
