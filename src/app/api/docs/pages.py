"""The pages that show the API: where they are, who may see them, and everything they load."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Self

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi.staticfiles import StaticFiles

from app.api.docs.access import get_docs_reader
from app.core.config import CryptSettings, EnvironmentOption, EnvironmentSettings, PostgresSettings
from app.core.settings_base import SettingsBase

ASSETS_PATH = "/docs-assets"
OWN_ASSETS = Path(__file__).parent / "assets"
VIEWERS = ("fastapi_offline", "static")
"""The package, and the folder in it, that carries Swagger UI and ReDoc."""
REDOC_STYLES = (
    "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='",
    "'sha256-QMIg+bpjm3JdElJ388KYke01izlUW0UoNOeKjpMxdgc='",
)
"""The hashes of the only styles that ReDoc writes into the page: an empty one, filled later, and its scroll bar's."""
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        f"style-src 'self' {' '.join(REDOC_STYLES)}",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
SWAGGER_OPTIONS = {"deepLinking": True, "layout": "BaseLayout", "persistAuthorization": False, "validatorUrl": None}
REDOC_OPTIONS = {"disableSearch": True}
"""Its search needs a worker from a blob, which the policy refuses."""
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="{assets}/favicon.png">
<link rel="stylesheet" href="{assets}/swagger-ui.css">
</head>
<body>
<div {attributes}></div>
<script src="{assets}/{script}"></script>
<script src="{assets}/init.js"></script>
</body>
</html>
"""


@dataclass(frozen=True, slots=True)
class DocsPaths:
    """Where the pages are, as `FastAPI` names it; None for a page that is not wanted."""

    openapi_url: str | None = "/openapi.json"
    docs_url: str | None = "/docs"
    redoc_url: str | None = "/redoc"

    @classmethod
    def split(cls, options: Mapping[str, Any]) -> tuple[Self, dict[str, Any]]:
        """The paths among FastAPI's options, and the options with FastAPI's own, unguarded pages off."""
        names = cls.__dataclass_fields__.keys()
        paths = cls(**{name: value for name, value in options.items() if name in names})
        return paths, {**options, **dict.fromkeys(names)}


def _root(request: Request) -> str:
    return str(request.scope.get("root_path", "")).rstrip("/")


def _page(request: Request, title: str, script: str, data: Mapping[str, object]) -> HTMLResponse:
    assets = escape(_root(request) + ASSETS_PATH)
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in data.items()}
    attributes = " ".join(f'data-{name}="{escape(text)}"' for name, text in texts.items())
    html = _PAGE.format(title=escape(title), assets=assets, script=script, attributes=attributes)
    return HTMLResponse(html, headers={"Content-Security-Policy": CONTENT_SECURITY_POLICY})


def _pages(app: FastAPI, paths: DocsPaths) -> dict[str, Any]:
    openapi_url = paths.openapi_url or ""

    async def read_openapi(request: Request) -> JSONResponse:
        schema, root = app.openapi(), _root(request)
        servers = schema.get("servers", [])
        if root and app.root_path_in_servers and root not in {server.get("url") for server in servers}:
            schema = {**schema, "servers": [{"url": root}, *servers]}
        return JSONResponse(schema)

    async def read_swagger_ui(request: Request) -> HTMLResponse:
        options = SWAGGER_OPTIONS | (app.swagger_ui_parameters or {})
        data = {
            "viewer": "swagger",
            "openapi": _root(request) + openapi_url,
            "options": options,
            "oauth": app.swagger_ui_init_oauth or "",
        }
        return _page(request, f"{app.title} - Swagger UI", "swagger-ui-bundle.js", data)

    async def read_redoc(request: Request) -> HTMLResponse:
        data = {"viewer": "redoc", "openapi": _root(request) + openapi_url, "options": REDOC_OPTIONS}
        return _page(request, f"{app.title} - ReDoc", "redoc.standalone.js", data)

    pages = {openapi_url: read_openapi, paths.docs_url: read_swagger_ui, paths.redoc_url: read_redoc}
    return {path: endpoint for path, endpoint in pages.items() if path}


def _readers_can_log_in(settings: SettingsBase) -> bool:
    return isinstance(settings, CryptSettings) and isinstance(settings, PostgresSettings)


def install_docs(app: FastAPI, settings: SettingsBase, paths: DocsPaths) -> None:
    """Open in local, for superusers in staging, nowhere else.

    The scripts and styles of the pages are public in both: they are those of every Swagger UI and ReDoc.
    """
    environment = settings.ENVIRONMENT if isinstance(settings, EnvironmentSettings) else None
    open_to_all = environment is EnvironmentOption.LOCAL
    guarded = environment is EnvironmentOption.STAGING and _readers_can_log_in(settings)
    if not (open_to_all or guarded) or not paths.openapi_url:
        return
    router = APIRouter(include_in_schema=False, dependencies=[Depends(get_docs_reader)] if guarded else [])
    for path, endpoint in _pages(app, paths).items():
        router.add_api_route(path, endpoint, response_model=None)
    app.include_router(router)
    app.mount(ASSETS_PATH, StaticFiles(directory=OWN_ASSETS, packages=[VIEWERS]), name="docs-assets")
