"""Telemetry of tasks: their submission, their runs, and the queue."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from time import perf_counter
from typing import Any

from arq import ArqRedis
from arq.worker import Retry, RetryJob
from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.trace import SpanKind, StatusCode, Tracer
from redis.exceptions import RedisError

from app.core.outbox import Outbox
from app.core.queue.depth import QueueDepth, read_depth
from app.core.telemetry.wrapping import SLOW, error_type, replace_method

logger = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
TaskRun = Callable[[str, dict[str, Any]], AbstractContextManager[None]]


def _sending(tracer: Tracer, function: str) -> AbstractContextManager[Any]:
    return tracer.start_as_current_span(
        f"send {function}",
        kind=SpanKind.PRODUCER,
        attributes={"messaging.system": "arq", "messaging.operation.type": "send", "app.task": function},
        record_exception=False,
        set_status_on_exception=False,
    )


def observe_submissions(queue: ArqRedis, tracer: Tracer) -> None:
    def observed(enqueue: Any) -> Any:
        async def run(function: str, *arguments: Any, **options: Any) -> Any:
            with _sending(tracer, function):
                return await enqueue(function, *arguments, **options)

        return run

    replace_method(queue, "enqueue_job", observed)


def observe_outbox(outbox: Outbox, tracer: Tracer) -> None:
    """The task carries the span of its submission; the relay sends it later, outside of the trace."""

    def observed(store: Any) -> Any:
        async def run(*arguments: Any) -> Any:
            *_, task = arguments
            with _sending(tracer, task.name):
                return await store(*arguments)

        return run

    replace_method(outbox, "store", observed)
    replace_method(outbox, "store_with", observed)


def _outcome(error: BaseException) -> str:
    if isinstance(error, Retry | RetryJob):
        return "retried"
    return "failed" if isinstance(error, Exception) else "returned"


def observed_runs(tracer: Tracer, meter: Meter) -> TaskRun:
    """What surrounds each run of a task; the trace is that of the request that submitted it."""
    duration = meter.create_histogram(
        "app.task.duration", "s", "Runs of tasks.", explicit_bucket_boundaries_advisory=SLOW
    )
    tries = meter.create_histogram(
        "app.task.tries",
        "{try}",
        "Tries of a task that has ended.",
        explicit_bucket_boundaries_advisory=[1, 2, 3, 5, 10],
    )

    @contextmanager
    def run(name: str, context: dict[str, Any]) -> Iterator[None]:
        began, outcome = perf_counter(), "complete"
        attributes = {"messaging.system": "arq", "messaging.operation.type": "process", "app.task": name}
        with tracer.start_as_current_span(
            f"process {name}",
            kind=SpanKind.CONSUMER,
            attributes=attributes | {"app.task.id": context["job_id"], "app.task.try": context["job_try"]},
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield
            except BaseException as error:
                outcome = _outcome(error)
                if outcome != "returned":
                    span.set_status(StatusCode.ERROR)
                    span.set_attribute("error.type", error_type(error.__cause__ or error))
                raise
            finally:
                span.set_attribute("app.task.outcome", outcome)
                duration.record(perf_counter() - began, {"app.task": name, "outcome": outcome})
                if outcome in ("complete", "failed"):
                    tries.record(context["job_try"], {"app.task": name})

    return run


class _Queue:
    """The latest look at the queue; None while Redis cannot be asked."""

    def __init__(self, meter: Meter) -> None:
        self.depth: QueueDepth | None = None
        meter.create_observable_gauge("app.queue.tasks", [self._tasks], "{task}", "Tasks in the queue.")
        meter.create_observable_gauge(
            "app.queue.oldest.age", [self._age], "s", "How long the oldest waiting task has been due."
        )

    def _tasks(self, _: CallbackOptions) -> Iterable[Observation]:
        if self.depth:
            for state in ("queued", "deferred", "in_progress"):
                yield Observation(getattr(self.depth, state), {"state": state})

    def _age(self, _: CallbackOptions) -> Iterable[Observation]:
        if self.depth:
            yield Observation(self.depth.oldest_age)

    async def look(self, queue: ArqRedis) -> None:
        while True:
            try:
                self.depth = await read_depth(queue)
            except (RedisError, OSError) as error:
                logger.debug("the queue cannot be measured: %r", error)
                self.depth = None
            await asyncio.sleep(LOOK_SECONDS)


@asynccontextmanager
async def observed_queue(queue: ArqRedis, meter: Meter) -> AsyncIterator[None]:
    """Looks at the queue every `LOOK_SECONDS`."""
    looking = asyncio.create_task(_Queue(meter).look(queue))
    try:
        yield
    finally:
        looking.cancel()
        await asyncio.wait({looking})
