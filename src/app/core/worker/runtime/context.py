"""What a task gets as `ctx`, and the parts of the application that it works with."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from arq import ArqRedis
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.config import AppSettings, OutboxSettings
from app.core.db.database import Database
from app.core.features import require
from app.core.logger import configure_logging
from app.core.outbox import Sweep, open_sweep
from app.core.resources import Resources, open_resources
from app.core.settings.base import SettingsBase
from app.core.telemetry.switch import open_worker_telemetry
from app.core.worker.runtime.reconnect import PatientQueue

Hook = Callable[[Any], Awaitable[None]]
SWEEP = "outbox_sweep"
"""The context's entry for the sweep of the outbox."""
AROUND_RUN = "_around_run"
"""The entry of arq's context with what surrounds each run of a task, where telemetry is on."""


class TaskContext(dict[Any, Any]):
    """A worker's context with typed entries; raises `FeatureDisabledError` for what the settings switch off."""

    @property
    def job_id(self) -> str:
        return str(self["job_id"])

    @property
    def job_try(self) -> int:
        """Which try this is, from 1."""
        return int(self["job_try"])

    @property
    def worker_queue(self) -> ArqRedis:
        """The worker's own connection to the queue, which waits for Redis; a task enqueues by `queue.pool`."""
        connection: ArqRedis = self["redis"]
        return connection

    @property
    def resources(self) -> Resources:
        """What the worker holds open, the same as a web process."""
        resources: Resources = self["resources"]
        return resources

    @property
    def sweep(self) -> Sweep | None:
        """The sweep of the outbox; None without an outbox."""
        return self.get(SWEEP)

    @property
    def settings(self) -> SettingsBase:
        return self.resources.settings

    @property
    def database(self) -> Database:
        return require(self.resources.database, "PostgresSettings")

    @property
    def cache(self) -> Redis:
        return require(self.resources.cache, "RedisCacheSettings")

    @asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncSession]:
        """A unit of work: what is not committed is rolled back."""
        async with self.database.sessions() as session:
            yield session


async def _close(ctx: dict[str, Any]) -> None:
    stack: AsyncExitStack | None = ctx.pop("_resources_stack", None)
    if stack:
        await stack.aclose()


async def _enter(ctx: dict[str, Any], stack: AsyncExitStack, settings: SettingsBase, resources: Resources) -> None:
    ctx["resources"] = resources
    if resources.outbox and isinstance(settings, OutboxSettings):
        ctx[SWEEP] = await stack.enter_async_context(open_sweep(resources.outbox.delivery, settings))
    ctx[AROUND_RUN] = await stack.enter_async_context(open_worker_telemetry(settings, resources))


def startup(settings: SettingsBase, own: Hook | None, tasks: Collection[str]) -> Hook:
    """Opens what the web application opens too, and the sweep of the outbox; then calls the worker's own hook."""

    async def on_startup(ctx: dict[str, Any]) -> None:
        if isinstance(settings, AppSettings):
            configure_logging(settings)
        main = asyncio.current_task()
        if main and isinstance(ctx["redis"], PatientQueue):
            ctx["redis"].patience.last_until(main)
        await _close(ctx)  # of an earlier run of the same worker
        stack = ctx["_resources_stack"] = AsyncExitStack()
        resources = await stack.enter_async_context(open_resources(settings, tasks))
        await _enter(ctx, stack, settings, resources)
        if own:
            await own(ctx)

    return on_startup


def shutdown(own: Hook | None) -> Hook:
    """Calls the worker's own hook, then closes what `startup` opened."""

    async def on_shutdown(ctx: dict[str, Any]) -> None:
        try:
            if own:
                await own(ctx)
        finally:
            await _close(ctx)

    return on_shutdown
