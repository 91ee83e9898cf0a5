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

from app.core.worker.context import TaskContext

logger = logging.getLogger(__name__)

MAX_DELAY_SECONDS = 300.0
MAX_DEATHS = 10
DEATHS_KEPT_SECONDS = 24 * 3600
DEATHS_KEY_PREFIX = "arq:deaths:"

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


async def _begin(ctx: TaskContext) -> None:
    """Notes that a run is on; what is not taken back by `_end` was ended by the worker's death."""
    deaths_key = DEATHS_KEY_PREFIX + ctx.job_id
    async with ctx.worker_queue.pipeline(transaction=True) as transaction:
        # arq has just counted this run as a try.
        transaction.decr(retry_key_prefix + ctx.job_id)
        transaction.incr(deaths_key)
        transaction.expire(deaths_key, DEATHS_KEPT_SECONDS)
        _, runs, _ = await transaction.execute()
    if runs > MAX_DEATHS:
        await _end(ctx, is_try=True)
        raise WorkerLostError(f"the worker died {MAX_DEATHS} times while it ran this task")


async def _end(ctx: TaskContext, *, is_try: bool) -> None:
    async with ctx.worker_queue.pipeline(transaction=True) as transaction:
        if is_try:
            transaction.incr(retry_key_prefix + ctx.job_id)
        transaction.delete(DEATHS_KEY_PREFIX + ctx.job_id)
        await transaction.execute()


async def _run(work: Coroutine[Any, Any, Any], seconds: float) -> Any:
    try:
        async with asyncio.timeout(seconds) as limit:
            return await work
    except TimeoutError:
        if limit.expired():
            raise TimeoutError(f"not finished within {seconds:g} seconds") from None
        raise
    except SystemExit as error:
        raise TaskAbortedError(f"SystemExit: {error}") from error
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task and task.cancelling():
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
    async def run(context: dict[Any, Any], *args: Any, **kwargs: Any) -> Any:
        ctx = TaskContext(context)
        await _begin(ctx)
        is_try = False
        try:
            return await _run(task(ctx, *args, **kwargs), policy.timeout)
        except Exception as error:
            is_try = True
            consequence = _retry(error, ctx.job_try, policy)
            if consequence is error:
                raise
            where = task.__qualname__, ctx.job_id, ctx.job_try, policy.max_tries
            logger.warning("%s (%s) failed, try %d of %d", *where, exc_info=error)
            raise consequence from error
        finally:
            await _end(ctx, is_try=is_try)

    return run
