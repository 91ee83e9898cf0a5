"""Telemetry of tasks: their submission and their runs."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from time import perf_counter
from typing import Any

from arq import ArqRedis
from arq.worker import Retry, RetryJob
from opentelemetry.metrics import Meter
from opentelemetry.trace import SpanKind, StatusCode, Tracer

from app.core.outbox import Outbox
from app.core.telemetry.wrapping import SLOW, error_type, replace_method

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
