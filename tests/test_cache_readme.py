"""Runs the code of the README's caching chapters."""

from contextlib import asynccontextmanager
from types import ModuleType
from typing import TYPE_CHECKING

import httpx
import pytest

from app.core.cache.epoch import LEASE_SECONDS, PATIENCE_SECONDS, RENEW_SECONDS
from app.core.config import Settings
from app.core.setup import create_application
from tests.helper import Rows
from tests.support.readme import ROOT, blocks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@asynccontextmanager
async def pasted(code: str, settings: Settings) -> "AsyncIterator[httpx.AsyncClient]":
    module = ModuleType("pasted")
    exec(code, module.__dict__)  # noqa: S102 - the README's own code
    app = create_application(router=module.router, settings=settings)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="https://testserver") as client,
    ):
        yield client


async def outcome(client: httpx.AsyncClient, path: str) -> str:
    return str((await client.get(path)).headers["X-Cache"])


@pytest.mark.parametrize("number", [0, 1])
async def test_a_cached_endpoint(settings: Settings, rows: Rows, number: int) -> None:
    async with pasted(blocks("5.8", "python")[number], settings) as client:
        assert [await outcome(client, "/sample/7") for _ in range(2)] == ["miss", "hit"]


async def test_entries_of_an_owner(settings: Settings, rows: Rows) -> None:
    async with pasted(blocks("Entries of an Owner", "python")[0], settings) as client:
        for name in ("userson", "other"):
            assert [await outcome(client, f"/{name}/drafts") for _ in range(2)] == ["miss", "hit"]
        assert (await client.patch("/renamed/userson")).status_code == 200
        assert [await outcome(client, f"/{name}/drafts") for name in ("userson", "other")] == ["miss", "hit"]


@pytest.mark.parametrize(
    ("title", "method"), [("Invalidating Extra Keys", "DELETE"), ("Invalidate Extra By Pattern", "PATCH")]
)
async def test_an_invalidating_endpoint(settings: Settings, rows: Rows, title: str, method: str) -> None:
    async with pasted(blocks(title, "python")[0], settings) as client:
        assert [await outcome(client, "/userson/titles") for _ in range(2)] == ["miss", "hit"]
        assert (await client.request(method, "/other/title/1")).status_code == 200
        assert await outcome(client, "/userson/titles") == "hit"
        assert (await client.request(method, "/userson/title/1")).status_code == 200
        assert await outcome(client, "/userson/titles") == "miss"


def test_the_documented_wait_of_a_write_without_redis() -> None:
    """The README says one second; renewals leave the lease time for a second try."""
    assert LEASE_SECONDS == 1
    assert RENEW_SECONDS + PATIENCE_SECONDS < LEASE_SECONDS
    chapter = (ROOT / "README.md").read_text()
    assert "A write takes one second longer until Redis is back." in chapter
