"""Reads from a replica: they get there, and nobody reads anything older than what was acknowledged."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from unittest.mock import patch
from urllib.parse import quote

import httpx
import pytest
from sqlalchemy import Executable, text

from app.api import router
from app.core.config import Settings
from app.core.db import replica as replica_module
from app.core.db.position import Positions
from app.core.db.read_database import ReadDatabase
from app.core.db.replica import Replica
from app.core.db.statements import Row
from app.core.setup import create_application
from dev.local.ports import free_port
from dev.services import POSTGRES_FAST, PostgresServer
from tests.conftest import Services
from tests.helper import API, Account, Rows, eventually, running
from tests.support.replication import Pair, configure, replicated, run

COUNTED = (*POSTGRES_FAST, "-c", "shared_preload_libraries=pg_stat_statements")
CALLS = "SELECT coalesce(sum(calls), 0)::int FROM pg_stat_statements WHERE query LIKE $1"
USERS = '%FROM "user"%ORDER BY%'
POSITIONS = "%pg_walfile_name%"
LOGGER = "app.core.db.replica"


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with replicated(COUNTED) as pair:
        asyncio.run(run(pair.primary, "CREATE EXTENSION pg_stat_statements"))
        yield pair


def url_of(server: PostgresServer) -> str:
    return f"postgresql://{server.user}:{quote(server.password, safe='')}@{server.host}:{server.port}/postgres"


def settings_of(services: Services, pair: Pair, **changes: object) -> Settings:
    where = {
        "POSTGRES_PORT": pair.primary.port,
        "POSTGRES_PASSWORD": pair.primary.password,
        "POSTGRES_URL_READ": url_of(pair.standby),
    }
    return services.settings(**where | changes)


@dataclass(frozen=True, slots=True)
class Stage:
    """Two processes with a replica, of which the second one has no cache; each with a client."""

    pair: Pair
    cached: httpx.AsyncClient
    uncached: httpx.AsyncClient
    rows: Rows
    reads: ReadDatabase

    @property
    def replica(self) -> Replica:
        return self.reads.replica

    async def served(self, server: PostgresServer, pattern: str = USERS) -> int:
        count: int = await run(server, CALLS, pattern)
        return count

    async def replica_serves(self) -> bool:
        """Whether the replica serves one more read."""
        before = await self.served(self.pair.standby)
        assert (await self.uncached.get(f"{API}/users")).status_code == 200
        return await self.served(self.pair.standby) == before + 1


@pytest.fixture(scope="module")
async def running_stage(anyio_backend: str, services: Services, pair: Pair) -> AsyncIterator[Stage]:
    settings = settings_of(services, pair)
    without_cache = settings.model_copy(update={"REDIS_CACHE_URL": f"redis://127.0.0.1:{free_port()}"})
    async with AsyncExitStack() as stack:
        stack.enter_context(patch.object(replica_module, "RETRY_SECONDS", 0.1))
        apps = [create_application(router=router, settings=each) for each in (settings, without_cache)]
        clients = [await stack.enter_async_context(running(app)) for app in apps]
        resources = apps[1].state.resources
        yield Stage(pair, clients[0], clients[1], Rows(resources.database, settings), resources.read_database)


@pytest.fixture
async def stage(running_stage: Stage) -> Stage:
    await eventually(running_stage.replica_serves)
    return running_stage


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests in which the replica serves every read, however busy the machine is."""
    monkeypatch.setattr(replica_module, "PATIENCE_SECONDS", 10.0)
    monkeypatch.setattr(replica_module, "PAUSES", (0.01,) * 500)


async def rename(stage: Stage, account: Account, name: str) -> None:
    path = f"{API}/user/{account.username}"
    response = await stage.cached.patch(path, json={"name": name}, headers=account.headers)
    assert response.status_code == 200


async def names(stage: Stage, account: Account) -> set[str]:
    """The user's name as both processes return it, one by one and in a list."""
    paths = [f"{API}/user/{account.username}", f"{API}/users?limit=100"]
    responses = [await client.get(path) for client in (stage.cached, stage.uncached) for path in paths]
    assert {response.status_code for response in responses} == {200}
    found = set()
    for response in responses:
        body = response.json()
        found |= {each["name"] for each in body.get("data", [body]) if each["username"] == account.username}
    return found


@pytest.mark.usefixtures("patient")
async def test_reads_arrive_at_the_replica(stage: Stage) -> None:
    primary, standby = stage.pair.primary, stage.pair.standby
    before = [await stage.served(server) for server in (primary, standby)]
    for _ in range(10):
        assert (await stage.uncached.get(f"{API}/users")).status_code == 200
    assert [await stage.served(server) for server in (primary, standby)] == [before[0], before[1] + 10]


@pytest.mark.usefixtures("patient")
async def test_simultaneous_reads_share_the_look_up_of_the_position(stage: Stage) -> None:
    before = await stage.served(stage.pair.primary, POSITIONS)
    read = await stage.served(stage.pair.standby)
    responses = await asyncio.gather(*(stage.uncached.get(f"{API}/users") for _ in range(50)))
    assert {response.status_code for response in responses} == {200}
    assert await stage.served(stage.pair.standby) == read + 50
    assert await stage.served(stage.pair.primary, POSITIONS) - before < 25


async def test_a_read_joins_no_look_up_that_began_before_it(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    primary = stage.reads._primary
    fetch_one = primary.fetch_one
    was_read, may_return = asyncio.Event(), asyncio.Event()

    async def delayed(statement: Executable) -> Row | None:
        row = await fetch_one(statement)
        was_read.set()
        await may_return.wait()
        return row

    positions = Positions(primary)
    await positions.current()
    monkeypatch.setattr(primary, "fetch_one", delayed)
    first = asyncio.create_task(positions.current())
    await was_read.wait()
    await run(stage.pair.primary, "SELECT pg_logical_emit_message(true, 'a', 'b')")
    written = await run(stage.pair.primary, "SELECT (pg_current_wal_flush_lsn() - '0/0')::bigint")
    later = [asyncio.create_task(positions.current()) for _ in range(2)]
    await asyncio.sleep(0)
    may_return.set()
    assert (await first).lsn < written <= (await later[0]).lsn
    assert await later[1] == await later[0]


@pytest.mark.parametrize("commit", ["on", "off"])
async def test_every_read_after_a_write_is_current(stage: Stage, commit: str) -> None:
    """Another client's, too, cached and uncached; while the replica follows, while it does not, and afterwards."""
    await configure(stage.pair.primary, synchronous_commit=commit)
    account = await stage.rows.user()
    for number in range(10):
        await rename(stage, account, f"Following {number}")
        assert await names(stage, account) == {f"Following {number}"}
    await run(stage.pair.standby, "SELECT pg_wal_replay_pause()")
    try:
        for number in range(3):
            await rename(stage, account, f"Paused {number}")
            assert await names(stage, account) == {f"Paused {number}"}
    finally:
        await run(stage.pair.standby, "SELECT pg_wal_replay_resume()")
    await eventually(stage.replica_serves)
    assert await names(stage, account) == {"Paused 2"}
    await configure(stage.pair.primary, synchronous_commit="on")


async def test_no_read_that_begins_after_a_write_is_stale(stage: Stage) -> None:
    """A writer and readers without a pause, of both processes; the replica serves some of the reads."""
    account = await stage.rows.user()
    path = f"{API}/user/{account.username}"
    await rename(stage, account, "Name 0")
    written, done = 0, False
    before = await stage.served(stage.pair.standby, '%FROM "user"%')

    async def read(client: httpx.AsyncClient) -> None:
        while not done:
            least = written
            assert int((await client.get(path)).json()["name"].split()[1]) >= least

    async def write() -> None:
        nonlocal written, done
        try:
            for number in range(1, 101):
                await rename(stage, account, f"Name {number}")
                written = number
        finally:
            done = True

    await asyncio.gather(write(), *(read(client) for client in (stage.cached, stage.uncached) for _ in range(3)))
    assert await stage.served(stage.pair.standby, '%FROM "user"%') > before


@pytest.mark.parametrize("violent", [True, False])
async def test_a_replica_that_is_unavailable(stage: Stage, violent: bool, caplog: pytest.LogCaptureFixture) -> None:
    """Killed or frozen: reads succeed without it, soon without a delay, and it is used again when it is back."""
    account = await stage.rows.user()
    standby = stage.pair.standby
    await asyncio.to_thread(standby.kill if violent else standby.pause)
    try:
        for number in range(3):
            await rename(stage, account, f"Without {number}")
            assert await names(stage, account) == {f"Without {number}"}
    finally:
        await asyncio.to_thread(standby.start if violent else standby.resume)
    await eventually(stage.replica_serves)
    messages = [record.getMessage() for record in caplog.records if record.name == LOGGER]
    assert sum(message.startswith("all reads go to the primary") for message in messages) >= 1
    assert messages.count("the replica serves reads again") >= 1


@pytest.mark.usefixtures("patient")
async def test_a_read_that_conflicts_with_the_replay_is_run_on_the_primary(stage: Stage) -> None:
    await configure(stage.pair.standby, max_standby_streaming_delay="0")
    account = await stage.rows.user()
    where = text("SELECT current_setting('port')::int AS port, count(*), pg_sleep(0.5) FROM \"user\"")
    await eventually(stage.replica_serves)
    reading = asyncio.create_task(stage.reads.fetch_one(where))

    async def has_begun() -> bool:
        return bool(await run(stage.pair.standby, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"))

    await eventually(has_begun)
    await rename(stage, account, "Another name")
    await run(stage.pair.primary, 'VACUUM "user"')
    row = await reading
    assert row
    assert row.port == stage.pair.primary.port
    assert await stage.replica_serves()


@pytest.mark.usefixtures("patient")
async def test_statements_that_only_a_primary_can_run(stage: Stage) -> None:
    """They succeed, and the replica is used for the next read."""
    locked = text('SELECT id FROM "user" ORDER BY id LIMIT 1 FOR UPDATE')
    await stage.rows.user()
    await eventually(stage.replica_serves)
    assert await stage.reads.fetch_one(locked)
    assert await stage.replica_serves()
    with pytest.raises(Exception, match="no_such_table"):
        await stage.reads.fetch_all(text("SELECT * FROM no_such_table"))
    assert await stage.replica_serves()


async def test_the_connections_are_counted_on_the_replicas_server(stage: Stage) -> None:
    named = "SELECT array_agg(DISTINCT substring(application_name FROM 'up to .*')) FROM pg_stat_activity"
    named += " WHERE application_name LIKE 'app %'"
    assert await run(stage.pair.standby, named) == ["up to 20"]
    assert await run(stage.pair.primary, named) == ["up to 22"]


async def test_another_server_is_not_used(services: Services, pair: Pair, caplog: pytest.LogCaptureFixture) -> None:
    """Neither a database that does not follow the primary, nor the primary itself."""
    for server in (services.postgres, pair.primary):
        caplog.clear()
        app = create_application(router=router, settings=settings_of(services, pair, POSTGRES_URL_READ=url_of(server)))
        async with running(app):
            row = await app.state.resources.read_database.fetch_one(text("SELECT current_setting('port')::int AS port"))
            assert row.port == pair.primary.port
        (message,) = [record.getMessage() for record in caplog.records if record.name == LOGGER]
        assert "history" in message if server is services.postgres else "not a standby" in message
