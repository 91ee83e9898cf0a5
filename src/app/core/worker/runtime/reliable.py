"""The base of a worker's settings: arq with its defaults replaced by ones that lose no task."""

import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC
from typing import Any, ClassVar, TypeVar

from arq.cron import CronJob, cron
from arq.typing import OptionType, WeekdayOptionType
from arq.worker import Function, func

from app.core.config import RedisQueueSettings
from app.core.queue.codec import dumps, loads
from app.core.queue.jobs import redis_settings
from app.core.worker.runtime.context import shutdown, startup
from app.core.worker.runtime.reconnect import PatientQueue
from app.core.worker.runtime.retries import MAX_DEATHS, RetryPolicy, Task, count_end, count_start, retried

STOP_SECONDS = 5
"""How long a stopping worker lets its tasks finish before it hands them back; less than Docker's ten to a SIGKILL."""
POLL_SECONDS = 0.1
HEALTH_SECONDS = 30
TIMEOUT_MARGIN_SECONDS = 2
"""arq's own time-out, for a task that does not heed ours."""

T = TypeVar("T")


class _Prepared(list[T]):
    """The functions or schedules as they are written; arq, which iterates over them, gets them with retries."""

    def __init__(self, items: Sequence[T], prepare: Callable[[T], Any]) -> None:
        super().__init__(items)
        self._prepare = prepare

    def __iter__(self) -> Iterator[Any]:
        return map(self._prepare, super().__iter__())


class ReliableWorker:
    """Settings for `arq`: `class WorkerSettings(ReliableWorker, settings=settings)` with a list of `functions`.

    Every option of `arq.worker.Worker` may be set beside it and wins.
    """

    functions: ClassVar[Sequence[Any]] = []
    cron_jobs: ClassVar[Sequence[CronJob]] = []

    def __init_subclass__(cls, settings: RedisQueueSettings) -> None:
        # arq reads what stands in the class itself, not what it inherits.
        own = dict(vars(cls))
        policy = RetryPolicy(settings.TASK_MAX_TRIES, settings.TASK_TIMEOUT_SECONDS, settings.TASK_RETRY_DELAY_SECONDS)
        prepared = {
            "functions": _Prepared(cls.functions, lambda task: _prepare_function(task, policy)),
            "cron_jobs": _Prepared(cls.cron_jobs, lambda job: _prepare_cron_job(job, policy)),
            "on_startup": startup(settings, own.get("on_startup")),
            "on_shutdown": shutdown(own.get("on_shutdown")),
            "on_job_start": count_start(own.get("on_job_start")),
            "on_job_end": count_end(own.get("on_job_end")),
        }
        for name, value in (_defaults(settings) | own | prepared).items():
            if own.get(name) is not value:
                setattr(cls, name, value)


def _defaults(settings: RedisQueueSettings) -> dict[str, Any]:
    return {
        "redis_pool": PatientQueue(settings),
        "redis_settings": redis_settings(settings),
        "job_serializer": dumps,
        "job_deserializer": loads,
        "job_timeout": settings.TASK_TIMEOUT_SECONDS + TIMEOUT_MARGIN_SECONDS,
        "job_completion_wait": STOP_SECONDS,
        "keep_result": settings.TASK_RESULT_TTL_SECONDS,
        # The bound on tries is ours; arq's would count a worker's death as a try.
        "max_tries": settings.TASK_MAX_TRIES + MAX_DEATHS,
        "poll_delay": POLL_SECONDS,
        "health_check_interval": HEALTH_SECONDS,
        # One a machine: a worker that stops takes its own sign of life away, not its neighbours'.
        "health_check_key": f"arq:health-check:{socket.gethostname()}",
        "timezone": UTC,
    }


def limited(task: Task, *, timeout: float | None = None, max_tries: int | None = None) -> Function:
    """The task with a time-out (seconds) or a bound on tries of its own, for the list of functions."""
    return func(task, timeout=timeout, max_tries=max_tries)


def scheduled(
    task: Task,
    *,
    month: OptionType = None,
    day: OptionType = None,
    weekday: WeekdayOptionType = None,
    hour: OptionType = None,
    minute: OptionType = None,
    second: OptionType = 0,
) -> CronJob:
    """The task at these times (UTC; None is every, a set is several), once for all workers together."""
    return cron(task, month=month, day=day, weekday=weekday, hour=hour, minute=minute, second=second)


def _policy(policy: RetryPolicy, timeout: float | None, max_tries: int | None) -> RetryPolicy:
    return replace(policy, timeout=timeout or policy.timeout, max_tries=max_tries or policy.max_tries)


def _prepare_function(task: Task | Function | str, policy: RetryPolicy) -> Function:
    function = func(task)
    its_policy = _policy(policy, function.timeout_s, function.max_tries)
    return replace(
        function,
        coroutine=retried(function.coroutine, its_policy),
        timeout_s=its_policy.timeout + TIMEOUT_MARGIN_SECONDS,
        max_tries=its_policy.max_tries + MAX_DEATHS,
    )


def _prepare_cron_job(job: CronJob, policy: RetryPolicy) -> CronJob:
    its_policy = _policy(policy, job.timeout_s, None)
    return replace(
        job,
        coroutine=retried(job.coroutine, its_policy),
        timeout_s=its_policy.timeout + TIMEOUT_MARGIN_SECONDS,
        max_tries=None,
        # The result is what tells a late worker that this run is over.
        keep_result_s=None,
    )
