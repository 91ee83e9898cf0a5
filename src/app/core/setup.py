"""The composition root: builds the application from a router and the settings it is given."""

import gc
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager, nullcontext
from functools import partial
from typing import Any, Protocol

from fastapi import APIRouter, FastAPI
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.docs import Application, install_docs
from app.api.errors import install_error_handlers
from app.api.route_index import RouteIndex, install_index
from app.api.routes import flatten, reserved_names
from app.api.short_ways import ShortWaysMiddleware, prepare_short_ways
from app.core.cache.checks import check_cached_routes
from app.core.config import (
    AppSettings,
    ClientSideCacheSettings,
    CryptSettings,
    EnvironmentOption,
    EnvironmentSettings,
    OutboxSettings,
    PostgresSettings,
    RedisQueueSettings,
)
from app.core.db.migrate import apply_migrations
from app.core.db.purge import purging
from app.core.logger import configure_logging
from app.core.request_log.collector import RequestLog, create_request_log
from app.core.resources import Resources, open_resources
from app.core.settings.base import SettingsBase
from app.core.telemetry.switch import WebTelemetry
from app.middleware.allowed_hosts import AllowedHostsMiddleware
from app.middleware.allowed_origins import AllowedOriginsMiddleware
from app.middleware.body_limit import BodyLimit
from app.middleware.client_cache import ClientCache
from app.middleware.exchange import ExchangeMiddleware
from app.middleware.security_headers import SecurityHeaders
from app.middleware.trusted_proxies import SERVER_RECEIVE_KEY, TrustedProxiesMiddleware
from app.middleware.unexpected_error import send_internal_server_error

FROZEN_BY_PYTHON = 1000
"""More than the objects that Python 3.12 starts with as frozen, and less than an application's."""
logger = logging.getLogger(__name__)


class Lifespan(Protocol):
    """A lifespan of the caller's own, as FastAPI takes it."""

    def __call__(self, app: FastAPI) -> AbstractAsyncContextManager[Any]: ...


def _lifespan(
    settings: SettingsBase,
    create_tables_on_start: bool,
    inner: Lifespan | None,
    request_log: RequestLog | None,
    telemetry: WebTelemetry,
) -> Lifespan:
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


def _metadata(settings: AppSettings) -> dict[str, Any]:
    # The OpenAPI document accepts only valid addresses, not the placeholder of a new .env.
    email = settings.CONTACT_EMAIL if settings.CONTACT_EMAIL and "@" in settings.CONTACT_EMAIL else None
    contact = {key: value for key, value in {"name": settings.CONTACT_NAME, "email": email}.items() if value}
    return {
        "title": settings.APP_NAME,
        "description": settings.APP_DESCRIPTION or "",
        "version": settings.APP_VERSION,
        "contact": contact or None,
        "license_info": {"name": settings.LICENSE_NAME} if settings.LICENSE_NAME else None,
    }


_OUTERMOST: tuple[object, ...] = (TrustedProxiesMiddleware,)


class _Application(Application):
    """FastAPI with `TrustedProxiesMiddleware` outside of everything; inner layers may hide the connection from it."""

    def build_middleware_stack(self) -> ASGIApp:
        outermost = [layer for layer in self.user_middleware if layer.cls in _OUTERMOST]
        self.user_middleware = [layer for layer in self.user_middleware if layer not in outermost]
        stack = super().build_middleware_stack()
        for layer in outermost:
            stack = layer.cls(stack, *layer.args, **layer.kwargs)
        return stack


class _ObservedApplication(_Application):
    """FastAPI's telemetry wraps `receive`, which hides the connection from the layers inside it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[SERVER_RECEIVE_KEY] = receive
        await super().__call__(scope, receive, send)


def _middleware(settings: SettingsBase, index: RouteIndex, request_log: RequestLog | None) -> list[Middleware]:
    """Outermost first; a part or layer whose settings are left out is None."""
    app = settings if isinstance(settings, AppSettings) else None
    origins = partial(AllowedOriginsMiddleware, origins=app.CORS_ORIGINS) if app and app.CORS_ORIGINS else None
    is_public = isinstance(settings, EnvironmentSettings) and settings.ENVIRONMENT is not EnvironmentOption.LOCAL
    layers = [
        Middleware(TrustedProxiesMiddleware, trusted=app.TRUSTED_PROXIES) if app else None,
        Middleware(
            ExchangeMiddleware,
            security_headers=SecurityHeaders(hsts=is_public),
            client_cache=(
                ClientCache(settings.CLIENT_CACHE_MAX_AGE) if isinstance(settings, ClientSideCacheSettings) else None
            ),
            body_limit=BodyLimit(app.MAX_REQUEST_BODY_BYTES) if app else None,
            request_log=request_log,
            # Without them a browser would hide the error from a page of an allowed origin.
            on_error=origins(send_internal_server_error) if origins else send_internal_server_error,
        ),
        Middleware(AllowedHostsMiddleware, hosts=app.ALLOWED_HOSTS) if app and "*" not in app.ALLOWED_HOSTS else None,
        Middleware(origins) if origins else None,
        Middleware(ShortWaysMiddleware, index=index),
    ]
    return [layer for layer in layers if layer]


def create_application(
    router: APIRouter,
    settings: SettingsBase,
    create_tables_on_start: bool = True,
    *,
    lifespan: Lifespan | None = None,
    **kwargs: Any,
) -> FastAPI:
    """An application with the router's endpoints and what the settings switch on.

    `create_tables_on_start` applies the committed migrations before the first request, unless the setting
    `CREATE_TABLES_ON_START` is false. A `lifespan` of your own runs
    inside the application's; every other keyword goes to `FastAPI` and wins over what the settings say: `docs_url`,
    `redoc_url` and `openapi_url` say where the docs are, the environment who may see them.
    """
    metadata = _metadata(settings) if isinstance(settings, AppSettings) else {}
    telemetry = WebTelemetry(settings)
    request_log = create_request_log(settings, has_traces=telemetry.is_observed)
    own = {
        "lifespan": _lifespan(settings, create_tables_on_start, lifespan, request_log, telemetry),
        "telemetry": telemetry.fastapi_options,
    }
    app = (_ObservedApplication if telemetry.is_observed else _Application)(**{**own, **metadata, **kwargs})
    app.include_router(router)
    index = install_index(app.router)
    check_cached_routes(app.routes)
    app.state.settings = settings
    app.state.reserved_usernames = reserved_names(app.routes)
    install_docs(app, settings)
    install_error_handlers(app)
    for layer in reversed(_middleware(settings, index, request_log)):
        app.add_middleware(layer.cls, *layer.args, **layer.kwargs)
    return app
