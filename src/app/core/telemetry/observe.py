"""Puts spans and figures around what a process holds open. Imported only where telemetry is on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from opentelemetry.metrics import Meter
from opentelemetry.trace import Tracer

from app.core.config import TelemetrySettings
from app.core.queue.jobs import PipelinedJobQueue
from app.core.resources import Resources
from app.core.telemetry.database import observe_database, observe_replica
from app.core.telemetry.depths import observed_outbox, observed_queue
from app.core.telemetry.outcomes import observe_cache, observe_events, observe_limiter
from app.core.telemetry.redis import observe_client, observe_connection
from app.core.telemetry.sdk import Providers, Role, open_providers
from app.core.telemetry.tasks import observe_outbox, observe_submissions, observed_runs
from app.core.telemetry.wrapping import QUICK, Operations

NAME = "app"
LAG_SECONDS = 0.5


async def _measure_lag(meter: Meter) -> None:
    lag = meter.create_histogram(
        "app.event_loop.lag",
        "s",
        "How late a timer of the event loop is.",
        explicit_bucket_boundaries_advisory=QUICK,
    )
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + LAG_SECONDS
        await asyncio.sleep(LAG_SECONDS)
        lag.record(max(0.0, loop.time() - due))


def _observe_resources(resources: Resources, tracer: Tracer, meter: Meter) -> None:
    duration = meter.create_histogram(
        "db.client.operation.duration",
        "s",
        "Statements and commands.",
        explicit_bucket_boundaries_advisory=QUICK,
    )
    operations = Operations(tracer, duration)
    if resources.database:
        observe_database(resources.database, operations, meter)
    observe_replica(resources.read_database, operations)
    if resources.cache:
        observe_client(resources.cache, "cache", operations)
    if resources.responses:
        observe_connection(resources.responses.redis, "cache", operations)
        observe_cache(resources.responses, meter)
    if resources.rate_limiter:
        observe_connection(resources.rate_limiter.connection, "limits", operations)
        observe_limiter(resources.rate_limiter, meter)
    if resources.queue:
        observe_client(resources.queue, "queue", operations)
        if isinstance(resources.queue, PipelinedJobQueue):
            observe_connection(resources.queue.pipelined, "queue", operations)
        observe_submissions(resources.queue, tracer)
    if resources.outbox:
        observe_outbox(resources.outbox, tracer)
    observe_events(resources.events, meter)


@asynccontextmanager
async def observing(settings: TelemetrySettings, resources: Resources, role: Role) -> AsyncIterator[Providers]:
    """From now on everything that `resources` does is observed, until they are closed."""
    async with AsyncExitStack() as stack:
        providers = await stack.enter_async_context(open_providers(settings, role))
        tracer, meter = providers.tracers.get_tracer(NAME), providers.meters.get_meter(NAME)
        if resources.queue:
            await stack.enter_async_context(observed_queue(resources.queue, meter))
        if resources.outbox:
            await stack.enter_async_context(observed_outbox(resources.outbox, meter))
        _observe_resources(resources, tracer, meter)
        lag = asyncio.create_task(_measure_lag(meter))
        try:
            yield providers
        finally:
            lag.cancel()
            await asyncio.wait({lag})


@asynccontextmanager
async def observing_worker(settings: TelemetrySettings, resources: Resources) -> AsyncIterator[Any]:
    """The same in a worker; what is yielded surrounds each run of a task."""
    async with observing(settings, resources, "worker") as providers:
        yield observed_runs(providers.tracers.get_tracer(NAME), providers.meters.get_meter(NAME))
