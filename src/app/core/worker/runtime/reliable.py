"""The base of a worker's settings: arq with its defaults replaced by ones that lose no task."""

import socket
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC
from typing import Any, ClassVar

from arq.cron import CronJob, cron
from arq.typing import OptionType, WeekdayOptionType
from arq.worker import Function, func

from app.core.config import RedisQueueSettings
from app.core.queue.jobs import redis_settings
from app.core.worker.runtime.context import shutdown, startup
from app.core.worker.runtime.handover import HANDOVER_FUNCTIONS, WorkerCodec
from app.core.worker.runtime.hooks import after_end, after_run, before_run
from app.core.worker.runtime.reconnect import PatientQueue
from app.core.worker.runtime.retries import MAX_LOST_RUNS, RetryPolicy, Task, retried

STOP_SECONDS = 5
"""How long a stopping worker's tasks may finish before it returns them; Docker sends SIGKILL after ten seconds."""
POLL_SECONDS = 0.1
HEALTH_SECONDS = 30
TIMEOUT_MARGIN_SECONDS = 2
"""arq's own timeout, for a task that does not end after ours."""


class ReliableWorker:
    """Settings for `arq`: `class WorkerSettings(ReliableWorker, settings=settings)` with a list of `functions`.

    The class then has these functions, and the scheduled ones of `cron_jobs`, as arq's own objects with retries. Every
    option of `arq.worker.Worker` may be set in the class and has priority.
    """

    functions: ClassVar[Sequence[Any]] = []
    cron_jobs: ClassVar[Sequence[CronJob]] = []

    def __init_subclass__(cls, settings: RedisQueueSettings) -> None:
        # arq reads what is in the class itself, not what it inherits.
        own = dict(vars(cls))
        policy = RetryPolicy(settings.TASK_MAX_TRIES, settings.TASK_TIMEOUT_SECONDS, settings.TASK_RETRY_DELAY_SECONDS)
        functions = [_prepare_function(task, policy) for task in cls.functions]
        cron_jobs = [_prepare_cron_job(job, policy) for job in cls.cron_jobs]
        names = [each.name for each in functions]
        codec = WorkerCodec([*names, *(each.name for each in cron_jobs)])
        prepared = {
            "functions": [*functions, *HANDOVER_FUNCTIONS],
            "cron_jobs": cron_jobs,
            "on_startup": startup(settings, own.get("on_startup"), names),
            "on_shutdown": shutdown(own.get("on_shutdown")),
            "on_job_start": before_run(own.get("on_job_start")),
            "on_job_end": after_run(own.get("on_job_end")),
            "after_job_end": after_end(own.get("after_job_end")),
        }
        for name, value in (_defaults(settings, codec) | own | prepared).items():
            if own.get(name) is not value:
                setattr(cls, name, value)


def _defaults(settings: RedisQueueSettings, codec: WorkerCodec) -> dict[str, Any]:
    return {
        "redis_pool": PatientQueue(settings),
        "redis_settings": redis_settings(settings),
        "job_serializer": codec.dumps,
        "job_deserializer": codec.loads,
        "job_timeout": settings.TASK_TIMEOUT_SECONDS + TIMEOUT_MARGIN_SECONDS,
        "job_completion_wait": STOP_SECONDS,
        "keep_result": settings.TASK_RESULT_TTL_SECONDS,
        # The bound on tries is ours; arq's would count a lost run as a try.
        "max_tries": settings.TASK_MAX_TRIES + MAX_LOST_RUNS,
        "poll_delay": POLL_SECONDS,
        "health_check_interval": HEALTH_SECONDS,
        # One key per machine: a worker that stops deletes its own health check, not that of other machines.
        "health_check_key": f"arq:health-check:{socket.gethostname()}",
        "timezone": UTC,
    }


def limited(task: Task, *, timeout: float | None = None, max_tries: int | None = None) -> Function:
    """The task with its own timeout (seconds) or bound on tries, for the list of functions."""
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
        max_tries=its_policy.max_tries + MAX_LOST_RUNS,
    )


def _prepare_cron_job(job: CronJob, policy: RetryPolicy) -> CronJob:
    its_policy = _policy(policy, job.timeout_s, None)
    return replace(
        job,
        coroutine=retried(job.coroutine, its_policy),
        timeout_s=its_policy.timeout + TIMEOUT_MARGIN_SECONDS,
        max_tries=None,
        # A worker that claims the job too late sees by the result that it has already run.
        keep_result_s=None,
    )
