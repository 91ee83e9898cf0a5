"""The middleware that stands around every request, in its order."""

from fastapi import FastAPI

from app.core.config import AppSettings, EnvironmentOption, EnvironmentSettings
from app.core.settings_base import SettingsBase
from app.middleware.allowed_hosts_middleware import AllowedHostsMiddleware
from app.middleware.cors_middleware import AllowedOriginsMiddleware
from app.middleware.request_id_middleware import RequestIDMiddleware
from app.middleware.security_headers_middleware import SecurityHeadersMiddleware


def _is_local(settings: SettingsBase) -> bool:
    return not isinstance(settings, EnvironmentSettings) or settings.ENVIRONMENT is EnvironmentOption.LOCAL


def protect(app: FastAPI, settings: SettingsBase) -> None:
    """Adds origins, hosts, headers and request ids around what was added before."""
    if isinstance(settings, AppSettings):
        if settings.CORS_ORIGINS:
            app.add_middleware(AllowedOriginsMiddleware, origins=settings.CORS_ORIGINS)
        if "*" not in settings.ALLOWED_HOSTS:
            app.add_middleware(AllowedHostsMiddleware, hosts=settings.ALLOWED_HOSTS)
    app.add_middleware(SecurityHeadersMiddleware, hsts=not _is_local(settings))
    app.add_middleware(RequestIDMiddleware)
