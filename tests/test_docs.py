"""The documentation pages: who sees them where, and that they load nothing from elsewhere."""

import base64
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html import unescape
from typing import Any

import httpx
import pytest

from app.api import router
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
            ({"Authorization": "Bearer nonsense"}, 401),
        ):
            assert (await client.get(path, headers=headers)).status_code == status, headers


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
        for path in (*PAGES, "/docs-assets/swagger-ui.css", "/docs-assets/init.js", "/docs/oauth2-redirect"):
            answer = await client.get(path, headers=root.headers)
            assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"}), path


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
            answer = await client.get(path)
            links = [unescape(link) for link in re.findall(r'(?:src|href|data-openapi)="([^"]+)"', answer.text)]
            assert len(links) >= 4
            for link in links:
                assert link.startswith("/")
                assert (await client.get(link)).status_code == 200, link
            policy = answer.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert "http" not in policy


async def test_keywords_of_fastapi_say_where_they_are(services: Services, rows: Rows) -> None:
    async with site(services, "local", docs_url="/api-docs", redoc_url=None) as client:
        assert (await client.get("/api-docs")).status_code == 200
        for path in ("/docs", "/redoc"):
            assert (await client.get(path)).status_code == 404
