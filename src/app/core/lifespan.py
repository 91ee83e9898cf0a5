"""What happens between the start and the stop of an application."""

import gc
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager, nullcontext
from typing import Any, Protocol

from fastapi import FastAPI

from app.api.routes import flatten, reserved_names
from app.api.short_ways import prepare_short_ways
from app.core.cache.checks import check_cached_routes
from app.core.config import AppSettings, CryptSettings, OutboxSettings, PostgresSettings, RedisQueueSettings
from app.core.db.migrate import apply_migrations
from app.core.db.purge import purging
from app.core.logger import configure_logging
from app.core.request_log.collector import RequestLog
from app.core.resources import Resources, open_resources
from app.core.settings.base import SettingsBase
from app.core.telemetry.switch import WebTelemetry

FROZEN_BY_PYTHON = 1000
"""More than the objects that Python 3.12 starts with as frozen, and less than an application's."""
logger = logging.getLogger(__name__)


class Lifespan(Protocol):
    """A lifespan of the caller's own, as FastAPI takes it."""

    def __call__(self, app: FastAPI) -> AbstractAsyncContextManager[Any]: ...


def create_lifespan(
    settings: SettingsBase,
    create_tables_on_start: bool,
    inner: Lifespan | None,
    request_log: RequestLog | None,
    telemetry: WebTelemetry,
) -> Lifespan:
    """Opens what the settings need, then runs the lifespan of the caller's own inside it.

    `create_tables_on_start` applies the committed migrations first, unless the settings say otherwise.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[Any]:
        _prepare_routes(app)
        if isinstance(settings, AppSettings):
            configure_logging(settings)
        if isinstance(settings, CryptSettings) and "SECRET_KEY" not in settings.model_fields_set:
            logger.warning("SECRET_KEY is not set: a random key is used, and all sessions end when the process stops")
        if create_tables_on_start and isinstance(settings, PostgresSettings) and settings.CREATE_TABLES_ON_START:
            await apply_migrations(settings)
        async with AsyncExitStack() as stack:
            if request_log:
                stack.enter_context(request_log)
            app.state.resources = await stack.enter_async_context(open_resources(settings, _task_names(settings)))
            await stack.enter_async_context(telemetry.open(app.state.resources))
            await stack.enter_async_context(_purging(app.state.resources))
            state = await stack.enter_async_context(inner(app)) if inner else None
            stack.enter_context(_frozen_memory())
            yield state

    return lifespan


def _purging(resources: Resources) -> AbstractAsyncContextManager[None]:
    """With a queue there is a worker, which deletes the expired rows of `token_blacklist`."""
    return purging(resources.database) if resources.database and resources.queue is None else nullcontext()


def _task_names(settings: SettingsBase) -> list[str]:
    """The functions that a worker has: a task of another one is refused before it is stored."""
    if not isinstance(settings, OutboxSettings) or not isinstance(settings, RedisQueueSettings):
        return []
    from app.core.worker.settings import WorkerSettings  # noqa: PLC0415 - only where tasks are stored

    return [function.name for function in WorkerSettings.functions]


def _prepare_routes(app: FastAPI) -> None:
    # When the application starts, because routes may still be included after it was created.
    check_cached_routes(app.routes)
    app.state.reserved_usernames = reserved_names(app.routes)
    flatten(app.router)
    prepare_short_ways(app.routes)


@contextmanager
def _frozen_memory() -> Iterator[None]:
    # What exists now lives as long as the application: a collection that looks through it again only costs time.
    if gc.get_freeze_count() > FROZEN_BY_PYTHON:  # another application of this process has done it
        yield
        return
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
