"""A failover: the primary is killed, its standby is promoted, and the processes go on without a restart."""

import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text

from app.api import router
from app.core.config import Settings
from app.core.db import connector
from app.core.db.database import Database, open_database
from app.core.db.engine import connect
from app.core.db.migrate import apply_migrations
from app.core.db.read_database import open_read_database
from app.core.setup import create_application
from app.core.worker.functions import send_welcome
from dev.local.ports import free_port
from dev.services import PostgresServer
from tests.conftest import Services
from tests.helper import API, Account, Rows, eventually, running, unique
from tests.support.replication import Pair, replicated, run, standby_of
from tests.support.tasks_worker import burst_worker

ROUNDS = int(os.environ.get("FAILOVER_ROUNDS", "1"))
LAG_SECONDS = float(os.environ.get("FAILOVER_LAG", "0.1"))
MOVE = "SELECT count(nextval('cache_epoch')) FROM generate_series(1, $1)"
PORT = text("SELECT current_setting('port')::int AS port")
MOVES = 100
"""More moves of the epoch than PostgreSQL writes to its log ahead of them (32)."""


@pytest.fixture
def pair() -> Iterator[Pair]:
    with replicated() as pair:
        yield pair


def settings_of(services: Services, pair: Pair, **changes: object) -> Settings:
    where = {"POSTGRES_SERVER": pair.hosts, "POSTGRES_PASSWORD": pair.primary.password}
    return services.settings(**where | changes)


@asynccontextmanager
async def application(settings: Settings) -> AsyncIterator[tuple[FastAPI, httpx.AsyncClient]]:
    app = create_application(router=router, settings=settings)
    async with running(app) as client:
        yield app, client


def rows_of(app: FastAPI, settings: Settings) -> Rows:
    return Rows(app.state.resources.database, settings)


@dataclass
class Writer:
    """Changes its own name again and again, to "Name 1", "Name 2", ..., and keeps the responses."""

    client: httpx.AsyncClient
    account: Account
    responses: Counter[tuple[int, str | None]]
    number: int = 0
    acknowledged: int = 0

    async def write(self) -> None:
        path = f"{API}/user/{self.account.username}"
        while True:
            self.number += 1
            body = {"name": f"Name {self.number}"}
            response = await self.client.patch(path, json=body, headers=self.account.headers)
            self.responses[response.status_code, response.headers.get("Retry-After")] += 1
            if response.status_code == 200:
                self.acknowledged = self.number
            else:
                await asyncio.sleep(0.02)

    async def lost(self, server: PostgresServer) -> int:
        """How many acknowledged changes the server does not have."""
        name = await run(server, 'SELECT name FROM "user" WHERE username = $1', self.account.username)
        return max(0, self.acknowledged - int(name.split()[-1]))


@asynccontextmanager
async def writing(client: httpx.AsyncClient, rows: Rows) -> AsyncIterator[list[Writer]]:
    """Eight clients that write until the end of the block, and share the counts of their responses."""
    responses: Counter[tuple[int, str | None]] = Counter()
    accounts = [await rows.user() for _ in range(8)]
    for account in accounts:
        await client.patch(f"{API}/user/{account.username}", json={"name": "Name 0"}, headers=account.headers)
    writers = [Writer(client, account, responses) for account in accounts]
    tasks = [asyncio.create_task(writer.write()) for writer in writers]
    try:
        yield writers
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def responded(writers: list[Writer], status: int, count: int) -> None:
    """Returns when the writers have got that many more responses with this status."""
    responses = writers[0].responses

    def total() -> int:
        return sum(number for (found, _), number in responses.items() if found == status)

    goal = total() + count

    async def is_reached() -> bool:
        return total() >= goal

    await eventually(is_reached)


@pytest.mark.parametrize("mode", ["synchronous", "asynchronous"])
async def test_writes_during_a_failover(services: Services, mode: str) -> None:
    """They get 200 or 503, and 200 again after the promotion.

    With synchronous replication nothing is lost that was acknowledged. Without it the standby lacks the changes that
    were made since it was disconnected.
    """
    for _ in range(ROUNDS):
        with replicated() as pair:
            settings = settings_of(services, pair)
            async with application(settings) as (app, client):
                if mode == "synchronous":
                    await pair.replicate_synchronously()
                async with writing(client, rows_of(app, settings)) as writers:
                    await responded(writers, 200, 100)
                    began = time.perf_counter()
                    if mode == "asynchronous":
                        await pair.disconnect()
                        await asyncio.sleep(LAG_SECONDS)
                    lag = time.perf_counter() - began
                    await asyncio.to_thread(pair.primary.kill)
                    await responded(writers, 503, 10)
                    ready = await client.get(f"{API}/ready")
                    lost = [await writer.lost(pair.standby) for writer in writers]
                    await pair.promote()
                    await responded(writers, 200, 100)
            assert (ready.status_code, ready.json()) == (503, {"detail": "Not ready: database"})
            assert writers[0].responses.keys() == {(200, None), (503, "1")}
            acknowledged = sum(writer.acknowledged for writer in writers)
            print(f"{mode}: the standby was {lag:.2f} s behind, and {sum(lost)} of {acknowledged} changes were lost")
            assert (sum(lost) == 0) == (mode == "synchronous")


async def test_tasks_are_sent_and_run_after_a_failover(
    services: Services, pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    """The relay of the web process, the worker and its sweep go on."""
    settings = settings_of(services, pair)
    async with application(settings) as (_, client), burst_worker(settings, [send_welcome], burst=False) as worker:
        working = asyncio.create_task(worker.async_run())
        await asyncio.to_thread(pair.primary.kill)
        await pair.promote()
        caplog.set_level("INFO", "app.core.worker.functions")
        name = unique("registered")
        body = {"name": "Name", "username": name, "email": f"{name}@example.com", "password": "a password"}

        async def is_registered() -> bool:
            return (await client.post(f"{API}/user", json=body)).status_code == 201

        async def is_welcomed() -> bool:
            # A worker that is stopped in the middle of a task is another test.
            return f"welcome, {name}" in caplog.messages and all(task.done() for task in worker.tasks.values())

        await eventually(is_registered)
        await eventually(is_welcomed)
        working.cancel()
        await asyncio.wait({working})


async def test_the_cache_after_a_failover_that_lost_writes(services: Services, pair: Pair) -> None:
    """Neither a lost write nor a state that a later write has replaced is served, though the epoch's number goes back.

    One process was there before, and one starts afterwards. The other writes of the test cannot reach Redis.
    """
    settings = settings_of(services, pair)
    async with application(settings) as (app, old):
        rows = rows_of(app, settings)
        account = await rows.user()
        path = f"{API}/user/{account.username}"

        async def rename(client: httpx.AsyncClient, name: str) -> None:
            assert (await client.patch(path, json={"name": name}, headers=account.headers)).status_code == 200

        async def cached(client: httpx.AsyncClient) -> str:
            async def is_hit() -> bool:
                return bool((await client.get(path)).headers.get("X-Cache") == "hit")

            await eventually(is_hit)
            return str((await client.get(path)).json()["name"])

        await rename(old, "Replicated")
        await eventually(lambda: _is_replicated(pair, "Replicated"))
        await pair.disconnect()
        await run(pair.primary, MOVE, MOVES)
        await rename(old, "Lost")
        assert await cached(old) == "Lost"
        number = await run(pair.primary, "SELECT last_value FROM cache_epoch")
        await asyncio.to_thread(pair.primary.kill)
        await pair.promote()
        assert await run(pair.standby, "SELECT last_value FROM cache_epoch") < number

        async def has_no_lease_of_the_former_primary() -> bool:
            response = await old.get(path)
            return bool(response.status_code == 200 and response.json()["name"] == "Replicated")

        await eventually(has_no_lease_of_the_former_primary)
        without_redis = settings.model_copy(update={"REDIS_CACHE_PORT": free_port()})
        async with application(settings) as (_, new), application(without_redis) as (_, writer):
            assert await cached(old) == await cached(new) == "Replicated"
            # The number reaches the one that the entry of the lost write was stored under, and passes it.
            for again in ("One", "Two"):
                await run(pair.standby, MOVE, MOVES // 2)
                await rename(writer, again)
                names = [(await client.get(path)).json()["name"] for client in (old, new)]
                assert names == [again, again]
                assert await cached(old) == await cached(new) == again


async def _is_replicated(pair: Pair, name: str) -> bool:
    return bool(await run(pair.standby, 'SELECT count(*) FROM "user" WHERE name = $1', name))


async def _read_port(primary: Database, settings: Settings, replica: PostgresServer) -> int:
    """The server of a read that this replica may serve."""
    url = f"postgresql://{replica.host}:{replica.port}"
    where = settings.model_copy(update={"POSTGRES_URL_READ": url}).replica
    assert where
    async with open_read_database(primary, where) as reads:
        row = await reads.fetch_one(PORT)
        assert row
        return int(row.port)


async def test_a_former_primary(services: Services, pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """If it does not respond, its successor is found, even by callers that do not wait for as long.

    As a second primary it is not used by a process that has found its successor, not for reads either. As a standby it
    may serve reads.
    """
    monkeypatch.setattr(connector, "CONNECT_TIMEOUT_SECONDS", 0.5)
    settings = settings_of(services, pair)
    async with open_database(settings) as database:
        await asyncio.to_thread(pair.primary.pause)
        await pair.promote()

        async def is_found() -> bool:
            with suppress(TimeoutError):
                async with asyncio.timeout(0.2):
                    return bool((await database.execute(PORT))[0].port == pair.standby.port)
            return False

        assert not await is_found()
        await eventually(is_found)

        await asyncio.to_thread(pair.primary.kill)
        await asyncio.to_thread(pair.primary.start)
        assert not await run(pair.primary, "SELECT pg_is_in_recovery()")
        await database.engine.dispose()
        assert (await database.execute(PORT))[0].port == pair.standby.port
        assert await _read_port(database, settings, pair.primary) == pair.standby.port

    await asyncio.to_thread(pair.primary.kill)
    with standby_of(pair.standby, pair.primary.data.with_name("again"), pair.primary.port) as demoted:
        assert await run(demoted, "SELECT pg_is_in_recovery()")
        async with open_database(settings) as database:
            assert (await database.execute(PORT))[0].port == pair.standby.port
            assert await _read_port(database, settings, demoted) == demoted.port
        await apply_migrations(settings)
        outside = await connect(settings)
        assert await outside.fetchval("SELECT current_setting('port')") == str(pair.standby.port)
        await outside.close()
