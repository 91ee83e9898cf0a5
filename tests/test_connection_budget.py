"""The connections that all processes can open are compared with what PostgreSQL allows when a process starts."""

import logging
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from sqlalchemy import text

from app.core.cache.epoch import open_lease
from app.core.config import Settings
from app.core.db.budget import check_connections, process_name
from app.core.db.database import open_database
from app.core.db.demand import connections_per_process
from app.core.resources import open_resources
from dev.local.ports import free_port
from dev.services import POSTGRES_FAST, PostgresServer, temporary_folder
from tests.conftest import POSTGRES_PASSWORD, Services
from tests.support.processes import API_HEALTH, UVICORN, python, wait_until_ready

ALLOWED = 27
"""`max_connections` of the server here is 30, and 3 of them are reserved."""
pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def small_server() -> Iterator[PostgresServer]:
    changes = ("max_connections=30", "superuser_reserved_connections=2", "reserved_connections=1")
    options = (*POSTGRES_FAST, *(part for change in changes for part in ("-c", change)))
    with (
        temporary_folder() as folder,
        PostgresServer(folder / "postgres", password=POSTGRES_PASSWORD, options=options) as server,
    ):
        yield server


@pytest.fixture
def small(services: Services, small_server: PostgresServer) -> Settings:
    """Exactly as many connections as the server allows."""
    overflow = ALLOWED - connections_per_process(20, 0)
    return services.settings(POSTGRES_PORT=small_server.port, DATABASE_POOL_SIZE=20, DATABASE_MAX_OVERFLOW=overflow)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "app.core.db.budget"]


async def start(settings: Settings) -> None:
    """What a web process and a worker open; it works."""
    async with open_resources(settings) as resources:
        assert resources.database
        assert await resources.database.fetch_one(text("SELECT 1")) == (1,)


async def test_as_many_as_allowed_cause_no_warning(small: Settings, caplog: pytest.LogCaptureFixture) -> None:
    await start(small)
    assert warnings(caplog) == []


async def test_a_warning_has_the_numbers_and_the_settings(small: Settings, caplog: pytest.LogCaptureFixture) -> None:
    overflow = small.DATABASE_MAX_OVERFLOW + 1
    await start(small.model_copy(update={"DATABASE_MAX_OVERFLOW": overflow}))
    (warning,) = warnings(caplog)
    assert warning == (
        "PostgreSQL allows 27 connections (max_connections is 30, 3 of them are reserved), but the processes that are "
        "connected now (1) can open 28, 28 of them this one: lower DATABASE_POOL_SIZE (20) or DATABASE_MAX_OVERFLOW "
        f"({overflow}), run fewer processes, raise max_connections, or use PgBouncer with DATABASE_PGBOUNCER=true"
    )


async def test_the_formula_is_the_size_of_all_pools_of_a_process(small: Settings) -> None:
    async with open_lease(small) as lease, open_database(small) as database:
        assert lease._database
        most = connections_per_process(small.DATABASE_POOL_SIZE, small.DATABASE_MAX_OVERFLOW)
        assert most == database.pool.size + lease._database.pool.size
    assert connections_per_process(20, 5, has_cache=False) == database.pool.size


async def test_behind_pgbouncer_nothing_is_compared(small: Settings, caplog: pytest.LogCaptureFixture) -> None:
    await start(small.model_copy(update={"DATABASE_POOL_SIZE": ALLOWED + 1, "DATABASE_PGBOUNCER": True}))
    assert warnings(caplog) == []


async def test_processes_of_other_machines_and_roles_count(small: Settings, caplog: pytest.LogCaptureFixture) -> None:
    """A role without rights sees how many connections the processes of other roles can open."""
    async with AsyncExitStack() as stack:
        owner = await stack.enter_async_context(open_database(small, "app 1@another-machine up to 20"))
        await owner.execute(text("CREATE ROLE plain LOGIN PASSWORD 'plain password'"))
        stack.push_async_callback(owner.execute, text("DROP ROLE plain"))
        changes = {"POSTGRES_USER": "plain", "POSTGRES_PASSWORD": "plain password", "DATABASE_POOL_SIZE": 1}
        plain = small.model_copy(update=changes)
        for name in ("psql", "app 2@looks-like-one up to", "app up to 9", process_name(plain)):
            other = await stack.enter_async_context(open_database(plain, name))
            await other.execute(text("SELECT 1"))
        await check_connections(other, plain)
    (warning,) = warnings(caplog)
    assert "connected now (2) can open 28, 8 of them this one: lower DATABASE_POOL_SIZE (1)" in warning


def test_of_processes_that_start_together_one_counts_all(
    services: Services, small_server: PostgresServer, tmp_path: Path
) -> None:
    """Each can open more than half of what the server allows: both start nevertheless."""
    environment = services.environment(
        POSTGRES_PORT=str(small_server.port), DATABASE_POOL_SIZE="10", DATABASE_MAX_OVERFLOW="4"
    )
    logs = [tmp_path / "1.log", tmp_path / "2.log"]
    ports = [free_port(), free_port()]
    commands = [[part.format(port=port) for part in UVICORN] for port in ports]
    first, second = (
        python(*command, log=log, environment=environment) for command, log in zip(commands, logs, strict=True)
    )
    with first, second:
        for port in ports:
            wait_until_ready(f"http://127.0.0.1:{port}{API_HEALTH}", first, second)
        output = first.output + second.output
    own = connections_per_process(10, 4)
    assert f"connected now (2) can open {2 * own}, {own} of them this one: lower DATABASE_POOL_SIZE (10)" in output


async def test_an_unavailable_database_does_not_stop_the_start(
    services: Services, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_resources(services.settings(POSTGRES_PORT=free_port())):
        pass
    (warning,) = warnings(caplog)
    assert warning.startswith("the connections that PostgreSQL allows could not be compared with the settings: ")


@pytest.fixture(autouse=True)
def _level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "app.core.db.budget")
