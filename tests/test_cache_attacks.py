"""Attacks on the cache: full pools, partitions, floods of pages, writes without Redis, names of others."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from redis.asyncio import Redis
from sqlalchemy import text

from app.api import router
from app.api.dependencies import Session
from app.core.cache.entries import Entry, EntryKey
from app.core.cache.epoch import LEASE_SECONDS, RENEW_SECONDS, EpochLease
from app.core.cache.store import Fill, ResponseCache
from app.core.db.database import Database
from app.core.setup import create_application
from app.core.utils.cache import cache
from dev.local.ports import free_port
from tests.conftest import Services
from tests.helper import API, Rows, running
from tests.support.tcp import proxy

POOL = 5


def small_app(services: Services, routes: APIRouter = router, **changes: object) -> FastAPI:
    """The application with few connections, which are easy to use up."""
    settings = services.settings(DATABASE_POOL_SIZE=POOL, DATABASE_MAX_OVERFLOW=0, **changes)
    return create_application(router=routes, settings=settings, create_tables_on_start=False)


@asynccontextmanager
async def reader_and_writer(
    services: Services, **changes: Any
) -> AsyncIterator[tuple[httpx.AsyncClient, httpx.AsyncClient]]:
    """Callers of two applications: the settings of the first are changed, the second cannot reach Redis."""
    async with (
        running(small_app(services, **changes)) as reader,
        running(small_app(services, REDIS_CACHE_PORT=free_port())) as writer,
    ):
        yield reader, writer


@asynccontextmanager
async def locked(rows: Rows, table: str) -> AsyncIterator[None]:
    """No caller can read the table."""
    async with rows.database.engine.begin() as connection:
        await connection.execute(text(f'LOCK TABLE "{table}" IN ACCESS EXCLUSIVE MODE'))
        yield


@asynccontextmanager
async def full_pool(client: httpx.AsyncClient, rows: Rows) -> AsyncIterator[None]:
    """More readers of a locked table than there are connections."""
    async with locked(rows, "tier"):
        readers = [asyncio.create_task(client.get(f"{API}/tiers")) for _ in range(5 * POOL)]
        await asyncio.sleep(0.2)
        yield
    await asyncio.gather(*readers)


async def hits(client: httpx.AsyncClient, path: str) -> None:
    """Reads until the path is cached."""
    for _ in range(50):
        if (await client.get(path)).headers.get("X-Cache") == "hit":
            return
        await asyncio.sleep(0.02)
    raise AssertionError("nothing is cached")


def count_statements(database: Database, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    statements: list[str] = []
    execute = database.execute

    async def counted(statement: Any, *arguments: Any) -> Any:
        statements.append(str(statement))
        return await execute(statement, *arguments)

    monkeypatch.setattr(database, "execute", counted)
    return statements


def lease_of(app: FastAPI) -> EpochLease:
    responses: ResponseCache = app.state.resources.responses
    return responses._lease


class TestFullPool:
    @pytest.mark.alone
    async def test_hits_need_no_pooled_connection(self, services: Services, rows: Rows) -> None:
        """Readers of a locked table hold all connections; cached responses are sent all the same, and quickly."""
        account = await rows.user()
        path = f"{API}/user/{account.username}"
        async with running(small_app(services)) as client:
            await hits(client, path)
            async with full_pool(client, rows):
                began = time.monotonic()
                for _ in range(40):
                    response = await client.get(path)
                    assert (response.status_code, response.headers["X-Cache"]) == (200, "hit")
                    await asyncio.sleep(0.04)
                assert time.monotonic() - began < 40 * 0.04 + 1

    async def test_a_full_pool_keeps_no_old_epoch_in_force(self, services: Services, rows: Rows) -> None:
        """The writer cannot reach Redis; the reader's pool is full, and it serves nothing old."""
        account = await rows.user()
        path = f"{API}/user/{account.username}"
        async with reader_and_writer(services) as (reader, writer):
            await hits(reader, path)
            async with full_pool(reader, rows):
                for number in range(3):
                    response = await writer.patch(path, json={"name": f"Name {number}"}, headers=account.headers)
                    assert response.status_code == 200
                    seen = await reader.get(path)
                    assert seen.status_code == 503 or seen.json()["name"] == f"Name {number}"

    @pytest.mark.alone
    async def test_writes_without_redis_hold_no_connection_while_they_wait(
        self, services: Services, rows: Rows
    ) -> None:
        """200 empty changes at once, far more than connections: all succeed, and others are served meanwhile."""
        account = await rows.user()
        path = f"{API}/user/{account.username}"
        async with running(small_app(services, REDIS_CACHE_PORT=free_port())) as client:
            await client.get(path)
            changes = [asyncio.create_task(client.patch(path, json={}, headers=account.headers)) for _ in range(200)]
            slowest = 0.0
            while not all(change.done() for change in changes):
                began = time.monotonic()
                assert (await client.get(f"{API}/tiers")).status_code == 200
                slowest = max(slowest, time.monotonic() - began)
            assert [change.result().status_code for change in changes] == [200] * 200
            assert slowest < 4

    @pytest.mark.alone
    async def test_sessions_hold_no_connection_while_writes_without_redis_wait(
        self, services: Services, rows: Rows
    ) -> None:
        """Endpoints of your own that read in a session and commit nothing, ten times as many as connections."""
        reads = APIRouter()

        @reads.patch("/unchanged/{number}")
        @cache("unchanged", resource_id_name="number")
        async def patch(number: int, db: Session) -> int:
            return number + int(await db.scalar(text("SELECT 1")))

        async with running(small_app(services, reads, REDIS_CACHE_PORT=free_port())) as client:
            began = time.monotonic()
            responses = await asyncio.gather(*(client.patch(f"/unchanged/{number}") for number in range(10 * POOL)))
            assert [(each.status_code, each.json()) for each in responses] == [(200, n + 1) for n in range(10 * POOL)]
            assert time.monotonic() - began < 5


class TestLease:
    async def test_a_lease_is_renewed_at_most_twice_a_second_and_never_without_hits(
        self, application: FastAPI, client: httpx.AsyncClient, rows: Rows, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = f"{API}/user/{(await rows.user()).username}"
        await hits(client, path)
        database = lease_of(application)._database
        assert database is not None
        assert database is not application.state.resources.database
        statements = count_statements(database, monkeypatch)
        end = time.monotonic() + 2.2
        while time.monotonic() < end:
            assert (await client.get(path)).headers["X-Cache"] == "hit"
            await asyncio.sleep(0.005)
        assert 3 <= len(statements) <= 2.2 / RENEW_SECONDS + 1
        statements.clear()
        await asyncio.sleep(1.5 * LEASE_SECONDS)
        assert statements == []

    async def test_without_renewal_nothing_is_served_from_the_cache(
        self, application: FastAPI, client: httpx.AsyncClient, rows: Rows, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whatever the reason is: here the table of the epoch cannot be read, while all others can."""
        path = f"{API}/user/{(await rows.user()).username}"
        await hits(client, path)
        database = lease_of(application)._database
        assert database is not None

        async def fail(*_: object) -> None:
            raise OSError("no route to host")

        with monkeypatch.context() as patch:
            patch.setattr(database, "fetch_one", fail)
            await asyncio.sleep(LEASE_SECONDS)
            assert [(await client.get(path)).headers["X-Cache"] for _ in range(5)] == ["miss"] * 5
        await hits(client, path)

    @pytest.mark.alone
    async def test_a_partition_from_the_database_ends_hits_until_it_is_over(
        self, services: Services, rows: Rows
    ) -> None:
        """The reader is cut off from PostgreSQL, the writer from Redis. The reader shows nothing old at any time."""
        account = await rows.user()
        path = f"{API}/user/{account.username}"
        async with (
            proxy((services.postgres.host, services.postgres.port)) as postgres,
            reader_and_writer(services, POSTGRES_PORT=postgres.port) as (reader, writer),
        ):
            await hits(reader, path)
            postgres.is_open = False
            written = await writer.patch(path, json={"name": "Changed"}, headers=account.headers)
            assert written.status_code == 200
            reading = asyncio.create_task(reader.get(path))
            done, _ = await asyncio.wait([reading], timeout=1)
            assert not done or reading.result().status_code == 503 or reading.result().json()["name"] == "Changed"
            reading.cancel()
            await asyncio.wait([reading])
            postgres.is_open = True
            healed_at = time.monotonic()
            await hits(reader, path)
            assert time.monotonic() - healed_at < 3
            assert (await reader.get(path)).json()["name"] == "Changed"

    @pytest.mark.alone
    async def test_simultaneous_requests_share_a_renewal(
        self, application: FastAPI, client: httpx.AsyncClient, rows: Rows, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = f"{API}/user/{(await rows.user()).username}"
        await hits(client, path)
        database = lease_of(application)._database
        assert database is not None
        await asyncio.sleep(1.1 * LEASE_SECONDS)
        statements = count_statements(database, monkeypatch)
        responses = await asyncio.gather(*(client.get(path) for _ in range(100)))
        assert {response.headers["X-Cache"] for response in responses} == {"hit"}
        assert len(statements) == 1


class TestFloods:
    async def test_invented_pages_are_not_cached(self, client: httpx.AsyncClient, rows: Rows, redis: Redis) -> None:
        """Pages behind the end, for each of the kinds of lists; the pages that exist are."""
        author = await rows.user("author")
        await rows.post(author)
        for page in range(2, 40):
            for path in ("/users", "/author/posts"):
                response = await client.get(f"{API}{path}?page={page}&items_per_page={page}")
                assert (response.status_code, response.headers["X-Cache"], response.json()["data"]) == (200, "miss", [])
        assert [key for pattern in ("users:*", "author_posts:*") for key in await redis.keys(pattern)] == []
        for path in ("/users", "/author/posts"):
            await hits(client, f"{API}{path}?page=1&items_per_page=5")

    async def test_missing_rows_leave_nothing_that_lasts(
        self, client: httpx.AsyncClient, rows: Rows, redis: Redis
    ) -> None:
        """What Redis stores for names and ids that do not exist expires within two seconds."""
        for number in range(50):
            assert (await client.get(f"{API}/user/nobody{number}")).status_code == 404
            assert (await client.get(f"{API}/nobody{number}/posts")).status_code == 404
        lives = [await redis.pttl(key) for key in await redis.keys("*nobody*")]
        assert -1 not in lives, "a key without an end"
        assert max(lives) <= 2000


class TestForeignNames:
    async def _plant(self, application: FastAPI, name: str) -> None:
        responses: ResponseCache = application.state.resources.responses
        found = await responses.find(EntryKey(name))
        assert isinstance(found, Fill)
        await responses.store(found, Entry.of(b'{"of": "another"}', "application/json"), 3600)

    async def test_a_new_user_inherits_nothing_from_the_cache(
        self, application: FastAPI, client: httpx.AsyncClient, rows: Rows
    ) -> None:
        """Whatever is cached under the name, by whatever mistake, is dropped when it is registered."""
        names = ["user:bob", "bob_posts:page_1:items_per_page_10", "bob_post_cache:1"]
        for name in names:
            await self._plant(application, name)
        assert (await client.get(f"{API}/user/bob")).json() == {"of": "another"}
        values = {"name": "Bob", "username": "bob", "email": "bob@example.com", "password": "long enough"}
        assert (await client.post(f"{API}/user", json=values)).status_code == 201
        assert (await client.get(f"{API}/user/bob")).json()["email"] == "bob@example.com"
        assert (await client.get(f"{API}/bob/posts")).json()["data"] == []
        assert (await client.get(f"{API}/bob/post/1")).status_code == 404

    async def test_a_rename_drops_the_old_and_the_new_name(
        self, application: FastAPI, client: httpx.AsyncClient, rows: Rows
    ) -> None:
        account = await rows.user("alice")
        for name in ("alice", "bob"):
            for key in (f"user:{name}", f"{name}_posts:page_1:items_per_page_10", f"{name}_post_cache:1"):
                await self._plant(application, key)
        changed = await client.patch(f"{API}/user/alice", json={"username": "bob"}, headers=account.headers)
        assert changed.status_code == 200
        paths = [
            f"/{kind}" for name in ("alice", "bob") for kind in (f"user/{name}", f"{name}/posts", f"{name}/post/1")
        ]
        responses = [await client.get(API + path) for path in paths]
        assert [response.status_code for response in responses] == [404, 404, 404, 200, 200, 404]
        assert not any("another" in response.text for response in responses)
