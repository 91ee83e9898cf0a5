"""The pages that show the OpenAPI document, and everything that they load."""

import json
from collections.abc import Mapping
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles

from app.api.docs.access import DocsRefusedError, explain_refusal, get_docs_reader
from app.api.docs.openapi import Application
from app.core.config import CryptSettings, EnvironmentOption, EnvironmentSettings, PostgresSettings
from app.core.settings.base import SettingsBase

ASSETS_PATH = "/docs-assets"
OWN_ASSETS = Path(__file__).parent / "assets"
VIEWERS = ("fastapi_offline", "static")
"""The package, and the folder in it, that contain Swagger UI and ReDoc."""
REDOC = "redoc.standalone.js"
REDOC_LOGO = "https://cdn.redoc.ly/redoc/logo-mini.svg"
"""The one file that ReDoc loads from another host: the picture next to its own name."""
NO_PICTURE = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg'/%3E"
REDOC_STYLES = (
    "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='",
    "'sha256-QMIg+bpjm3JdElJ388KYke01izlUW0UoNOeKjpMxdgc='",
)
"""The hashes of the only styles that ReDoc writes into the page: an empty one, filled later, and its scroll bar's."""
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "worker-src blob:",  # ReDoc's search; only a script of this server can make the blob
        f"style-src 'self' {' '.join(REDOC_STYLES)}",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
SWAGGER_OPTIONS = {"deepLinking": True, "layout": "BaseLayout", "persistAuthorization": True, "validatorUrl": None}
REDOC_OPTIONS: dict[str, object] = {}
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


def _root(request: Request) -> str:
    return str(request.scope.get("root_path", "")).rstrip("/")


def _page(request: Request, title: str, script: str, data: Mapping[str, object]) -> HTMLResponse:
    assets = escape(_root(request) + ASSETS_PATH)
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in data.items()}
    attributes = " ".join(f'data-{name}="{escape(text)}"' for name, text in texts.items())
    html = _PAGE.format(title=escape(title), assets=assets, script=script, attributes=attributes)
    return HTMLResponse(html, headers={"Content-Security-Policy": CONTENT_SECURITY_POLICY})


def _pages(app: Application) -> dict[str, Any]:
    paths = app.docs_paths
    openapi_url, first_page = paths.openapi_url or "", paths.docs_url or paths.redoc_url

    async def open_first_page(request: Request) -> RedirectResponse:
        return RedirectResponse(f"{_root(request)}{first_page}")

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
        return _page(request, f"{app.title} - ReDoc", REDOC, data)

    pages = {
        "/" if first_page else None: open_first_page,
        openapi_url: read_openapi,
        paths.docs_url: read_swagger_ui,
        paths.redoc_url: read_redoc,
    }
    return {path: endpoint for path, endpoint in pages.items() if path}


async def _read_redoc_script() -> Response:
    package, folder = VIEWERS
    script = files(package).joinpath(folder, REDOC).read_text("utf-8")
    return Response(script.replace(REDOC_LOGO, NO_PICTURE), media_type="text/javascript")


def _readers_can_log_in(settings: SettingsBase) -> bool:
    return isinstance(settings, CryptSettings) and isinstance(settings, PostgresSettings)


def install_docs(app: Application, settings: SettingsBase) -> None:
    """Adds the pages that the environment allows, after the application's own routes."""
    environment = settings.ENVIRONMENT if isinstance(settings, EnvironmentSettings) else None
    open_to_all = environment is EnvironmentOption.LOCAL
    guarded = environment is EnvironmentOption.STAGING and _readers_can_log_in(settings)
    if not (open_to_all or guarded) or not app.docs_paths.openapi_url:
        return
    router = APIRouter(include_in_schema=False, dependencies=[Depends(get_docs_reader)] if guarded else [])
    for path, endpoint in _pages(app).items():
        router.add_api_route(path, endpoint, response_model=None)
    app.include_router(router)
    app.exception_handler(DocsRefusedError)(explain_refusal)
    app.add_api_route(f"{ASSETS_PATH}/{REDOC}", _read_redoc_script, include_in_schema=False, response_model=None)
    app.mount(ASSETS_PATH, StaticFiles(directory=OWN_ASSETS, packages=[VIEWERS]), name="docs-assets")
