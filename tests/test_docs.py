"""The documentation pages: who may read them in which environment, and that they load nothing from other hosts."""

import base64
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html import unescape
from importlib.resources import files
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI

from app.api import router
from app.api.docs.pages import NO_PICTURE, REDOC, REDOC_LOGO, VIEWERS
from app.core.config import (
    AppSettings,
    CryptSettings,
    EnvironmentOption,
    PostgresSettings,
    RedisRateLimiterSettings,
)
from app.core.setup import create_application
from tests.conftest import Services
from tests.helper import PASSWORD, Rows, running

PAGES = ("/docs", "/redoc", "/openapi.json")


@asynccontextmanager
async def site(services: Services, environment: str, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    settings = services.settings(ENVIRONMENT=EnvironmentOption(environment), PASSWORD_HASH_ROUNDS=10)
    app = create_application(router=router, settings=settings, create_tables_on_start=False, **options)
    async with running(app) as client:
        yield client


def basic(username: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()}


@pytest.mark.parametrize("path", PAGES)
async def test_local_is_open(services: Services, rows: Rows, path: str) -> None:
    async with site(services, "local") as client:
        assert (await client.get(path)).status_code == 200


@pytest.mark.parametrize("path", PAGES)
async def test_staging_is_for_superusers(services: Services, rows: Rows, path: str) -> None:
    root, stranger = await rows.superuser(), await rows.user()
    async with site(services, "staging") as client:
        anonymous = await client.get(path)
        assert anonymous.status_code == 401
        assert anonymous.headers["WWW-Authenticate"].startswith("Basic realm=")
        for headers, status in (
            (root.headers, 200),
            (basic(root.username, PASSWORD), 200),
            (basic(root.user.email, PASSWORD), 200),
            (stranger.headers, 403),
            (basic(stranger.username, PASSWORD), 403),
            (basic(root.username, "wrong"), 401),
            ({"Authorization": "Basic not-base64"}, 401),
            ({"Authorization": "Basic " + base64.b64encode(b"\xff\xfe").decode()}, 401),
            (basic(f"{root.username}\0", PASSWORD), 401),
            (basic(root.username, f"{PASSWORD}\0"), 401),
            (basic(root.username, "x" * 100), 401),
            ({"Authorization": "Bearer nonsense"}, 401),
        ):
            assert (await client.get(path, headers=headers)).status_code == status, headers


async def test_a_refused_browser_gets_a_page_with_the_reason(services: Services, rows: Rows) -> None:
    stranger = await rows.user()
    html = {"Accept": "text/html,application/xhtml+xml"}
    async with site(services, "staging") as client:
        for path in ("/", *PAGES):
            anonymous = await client.get(path, headers=html)
            assert (anonymous.status_code, anonymous.headers["Content-Type"]) == (401, "text/html; charset=utf-8")
            assert anonymous.headers["WWW-Authenticate"].startswith("Basic realm=")
            assert "enter the username or email address and the password of a superuser" in anonymous.text

            forbidden = await client.get(path, headers=html | basic(stranger.username, PASSWORD))
            assert (forbidden.status_code, forbidden.headers["Content-Type"]) == (403, "text/html; charset=utf-8")
            assert f"{stranger.username} is not one" in forbidden.text
            assert "private window" in forbidden.text

            program = await client.get(path, headers=stranger.headers)
            assert program.json() == {"detail": "You do not have enough privileges."}


async def test_the_root_redirects_to_the_first_page(services: Services, rows: Rows) -> None:
    root = await rows.superuser()
    for environment, headers in (("local", {}), ("staging", root.headers)):
        async with site(services, environment) as client:
            redirect = await client.get("/", headers=headers)
            assert (redirect.status_code, redirect.headers["Location"]) == (307, "/docs")
    async with site(services, "local", docs_url=None) as client:
        assert (await client.get("/")).headers["Location"] == "/redoc"
    async with site(services, "local", docs_url=None, redoc_url=None) as client:
        assert (await client.get("/")).status_code == 404


async def test_the_root_redirects_within_the_prefix_of_a_proxy(application: FastAPI) -> None:
    transport = httpx.ASGITransport(application, root_path="/prefix")
    async with httpx.AsyncClient(transport=transport, base_url="https://testserver") as client:
        assert (await client.get("/prefix/")).headers["Location"] == "/prefix/docs"


async def test_a_root_of_the_application_wins(services: Services, rows: Rows) -> None:
    own = APIRouter()
    own.add_api_route("/", lambda: "mine", include_in_schema=False)
    app = create_application(router=own, settings=services.settings(), create_tables_on_start=False)
    async with running(app) as client:
        assert (await client.get("/")).json() == "mine"
        assert (await client.get("/docs")).status_code == 200


async def test_redoc_loads_no_logo_from_another_host(services: Services, rows: Rows) -> None:
    """ReDoc's script would: the test fails if a new version has another address there."""
    package, folder = VIEWERS
    original = files(package).joinpath(folder, REDOC).read_text("utf-8")
    assert re.findall(r'src:"(https?://[^"]+)"', original) == [REDOC_LOGO]
    async with site(services, "local") as client:
        script = await client.get(f"/docs-assets/{REDOC}")
        assert script.headers["Content-Type"] == "text/javascript; charset=utf-8"
        assert script.text == original.replace(REDOC_LOGO, NO_PICTURE)


async def test_the_prompt_is_locked_like_a_login(services: Services, rows: Rows) -> None:
    root = await rows.superuser()
    async with site(services, "staging") as client:
        for _ in range(5):
            assert (await client.get("/docs", headers=basic(root.username, "wrong"))).status_code == 401
        locked = await client.get("/docs", headers=basic(root.username, PASSWORD))
        assert locked.status_code == 429
        assert int(locked.headers["Retry-After"]) > 0


async def test_production_has_none(services: Services, rows: Rows) -> None:
    root = await rows.superuser()
    async with site(services, "production") as client:
        for path in (
            "/",
            *PAGES,
            "/docs-assets/swagger-ui.css",
            f"/docs-assets/{REDOC}",
            "/docs-assets/init.js",
            "/docs/oauth2-redirect",
        ):
            response = await client.get(path, headers=root.headers)
            assert (response.status_code, response.json()) == (404, {"detail": "Not Found"}), path


async def test_without_an_environment_there_are_none(services: Services, rows: Rows) -> None:
    class Bare(AppSettings, CryptSettings, PostgresSettings, RedisRateLimiterSettings):
        pass

    settings = Bare.model_validate(services.settings().model_dump(exclude_unset=True))
    app = create_application(router=router, settings=settings, create_tables_on_start=False)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="https://testserver") as client:
        assert (await client.get("/docs")).status_code == 404


async def test_the_pages_load_their_own_files_only(services: Services, rows: Rows) -> None:
    async with site(services, "local") as client:
        for path in ("/docs", "/redoc"):
            response = await client.get(path)
            links = [unescape(link) for link in re.findall(r'(?:src|href|data-openapi)="([^"]+)"', response.text)]
            assert len(links) >= 4
            for link in links:
                assert link.startswith("/")
                assert (await client.get(link)).status_code == 200, link
            policy = response.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert "http" not in policy


async def test_keywords_of_fastapi_say_where_they_are(services: Services, rows: Rows) -> None:
    async with site(services, "local", docs_url="/api-docs", redoc_url=None) as client:
        assert (await client.get("/api-docs")).status_code == 200
        for path in ("/docs", "/redoc"):
            assert (await client.get(path)).status_code == 404
