"""What a task gets as `ctx`, and the parts of the application that it works with."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from arq import ArqRedis
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.config import AppSettings
from app.core.db.database import Database
from app.core.features import require
from app.core.logger import configure_logging
from app.core.resources import Resources, open_resources
from app.core.settings.base import SettingsBase
from app.core.worker.runtime.reconnect import PatientQueue

Hook = Callable[[Any], Awaitable[None]]


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


def startup(settings: SettingsBase, own: Hook | None) -> Hook:
    """Opens what the web application opens too, then calls the worker's own hook."""

    async def on_startup(ctx: dict[str, Any]) -> None:
        if isinstance(settings, AppSettings):
            configure_logging(settings)
        main = asyncio.current_task()
        if main and isinstance(ctx["redis"], PatientQueue):
            ctx["redis"].patience.last_until(main)
        stack = ctx["_resources_stack"] = AsyncExitStack()
        ctx["resources"] = await stack.enter_async_context(open_resources(settings))
        if own:
            await own(ctx)

    return on_startup


def shutdown(own: Hook | None) -> Hook:
    """Calls the worker's own hook, then closes what `startup` opened."""

    async def on_shutdown(ctx: dict[str, Any]) -> None:
        stack: AsyncExitStack | None = ctx.pop("_resources_stack", None)
        try:
            if own:
                await own(ctx)
        finally:
            if stack:
                await stack.aclose()

    return on_shutdown
