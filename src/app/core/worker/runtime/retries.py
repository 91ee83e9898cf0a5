"""Makes a plain async function a task that is retried: timeouts, back-off, and a bound on tries.

A try is a run that ended with an error or a timeout. A run that a stopping worker returns to the queue is not a try.
Neither is a run that was lost with its worker (`kill -9`): lost runs are counted separately, so that a task that
crashes every worker ends too. `hooks` keeps both counts in Redis.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine
from contextlib import nullcontext
from dataclasses import dataclass
from functools import wraps
from typing import Any

from arq.worker import Retry, RetryJob

from app.core.worker.runtime.context import AROUND_RUN, TaskContext

logger = logging.getLogger(__name__)

MAX_DELAY_SECONDS = 300.0
MAX_LOST_RUNS = 10
RUNS_WITHOUT_END = "_runs_without_end"
FAILED_TRY = "_failed_try"
SUCCESS = "_success"
"""Entries of arq's context, read by `hooks`: whether this try failed; once the task has ended, whether it succeeded."""

Task = Callable[..., Coroutine[Any, Any, Any]]
"""`async def task(ctx: TaskContext, ...)`; the arguments and the result are plain data."""


class WorkerLostError(Exception):
    """Every worker that ran this task was lost: it crashed or was killed."""


class TriesExhaustedError(Exception):
    """The task raised `Retry` when it had no try left."""


class TaskAbortedError(Exception):
    """The task raised `SystemExit` or cancelled itself, which would end the worker or look like its stop."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a task is tried, its timeout per try, and the delay between tries (seconds)."""

    max_tries: int
    timeout: float
    first_delay: float

    def delay(self, tries: int) -> float:
        """Exponential back-off with jitter: tasks that failed together are not retried together."""
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
        return TriesExhaustedError(f"the task raised Retry after {tries}") if is_order else error
    if isinstance(error, Retry) and error.defer_score is not None:
        return error
    return Retry(defer=policy.delay(tries))


def retried(task: Task, policy: RetryPolicy) -> Task:
    """The task under this policy, as arq runs it."""

    async def run_once(context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        ctx = TaskContext(context)
        if context.get(RUNS_WITHOUT_END, 0) > MAX_LOST_RUNS:
            context[SUCCESS] = False
            raise WorkerLostError(f"the worker was lost {MAX_LOST_RUNS} times while it ran this task")
        try:
            result = await _run(task(ctx, *args, **kwargs), policy.timeout)
        except Exception as error:
            context[FAILED_TRY] = True
            consequence = _retry(error, ctx.job_try, policy)
            if consequence is error:
                context[SUCCESS] = False
                raise
            where = task.__qualname__, ctx.job_id, ctx.job_try, policy.max_tries
            logger.warning("%s (%s) failed, try %d of %d", *where, exc_info=error)
            raise consequence from error
        context[SUCCESS] = True
        return result

    @wraps(task)
    async def run(context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        around = context.get(AROUND_RUN)
        with around(task.__qualname__, context) if around else nullcontext():
            return await run_once(context, *args, **kwargs)

    return run
