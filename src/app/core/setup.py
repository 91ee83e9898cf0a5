"""The composition root: builds the application from a router and the settings it is given."""

from functools import partial
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.docs import Application, install_docs
from app.api.errors import install_error_handlers
from app.api.route_index import RouteIndex, install_index
from app.api.routes import reserved_names
from app.api.short_ways import ShortWaysMiddleware
from app.core.cache.checks import check_cached_routes
from app.core.config import AppSettings, ClientSideCacheSettings, EnvironmentOption, EnvironmentSettings
from app.core.lifespan import Lifespan, create_lifespan
from app.core.request_log.collector import RequestLog, create_request_log
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
        "lifespan": create_lifespan(settings, create_tables_on_start, lifespan, request_log, telemetry),
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
