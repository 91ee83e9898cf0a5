"""Real servers for the whole run, started here from PyPI wheels; clean tables and an empty Valkey for each test."""

from tests.support import isolation  # noqa: F401 - before the application reads its settings

# isort: split

import gc
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import httpx
import pytest
from fastapi import FastAPI
from redis.asyncio import Redis

from app.api import router
from app.core.config import EnvironmentOption, Settings
from app.core.db.database import Base
from app.core.setup import create_application
from dev.services import POSTGRES_FAST, PostgresServer, ValkeyServer, server_variables, temporary_folder
from tests.helper import Rows, unique
from tests.support import schedule
from tests.support.processes import web_server
from tests.support.tables import empty_tables

MEASURED = (
    {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("COVERAGE_")}
    if "PYTEST_XDIST_WORKER" in os.environ
    else {}
)
"""Makes a process of a test count for the coverage. Servers under load start without it: it slows them down."""
SECRET_KEY = "a secret of the tests that is long enough for everything, HS512 too"
POSTGRES_PASSWORD = "p@ss/word #with? %20 'everything\""
VALKEY_PASSWORD = "v@l/key #& 'secret'"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    schedule.longest_first(items)


def pytest_collection_finish() -> None:
    # What is imported now stays. Otherwise each of some hundred applications looks through all of it when it starts.
    gc.collect()
    gc.freeze()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    schedule.record_durations(terminalreporter)


@dataclass(frozen=True, slots=True)
class Services:
    """The servers that every test of the run shares; a test that kills servers starts its own."""

    postgres: PostgresServer
    valkey: ValkeyServer

    def settings(self, **changes: object) -> Settings:
        """Settings that lead to these servers; keywords win."""
        where: dict[str, object] = {
            "ENVIRONMENT": EnvironmentOption.LOCAL,
            "SECRET_KEY": SECRET_KEY,
            "PASSWORD_HASH_ROUNDS": 4,
            "ADMIN_PASSWORD": "a password of the tests",
            "POSTGRES_DB": "postgres",
        }
        return Settings.model_validate(where | server_variables(self.postgres, self.valkey) | changes)

    def environment(self, **changes: str) -> dict[str, str]:
        """The environment of a process with the same settings; keywords win."""
        values = self.settings().model_dump(exclude_unset=True)
        return os.environ | {name: str(value) for name, value in values.items()} | changes


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def services() -> Iterator[Services]:
    with (
        temporary_folder() as folder,
        PostgresServer(folder / "postgres", password=POSTGRES_PASSWORD, options=POSTGRES_FAST) as postgres,
        ValkeyServer(folder / "valkey", password=VALKEY_PASSWORD) as valkey,
    ):
        yield Services(postgres, valkey)


@pytest.fixture(scope="session")
def settings(services: Services) -> Settings:
    return services.settings()


@pytest.fixture(scope="session")
async def redis(anyio_backend: str, settings: Settings) -> AsyncIterator[Redis]:
    """A client of the Valkey that every part of the application uses."""
    async with Redis.from_url(settings.REDIS_RATE_LIMIT_URL) as client:
        yield client


@pytest.fixture(scope="session")
async def application(anyio_backend: str, settings: Settings) -> AsyncIterator[FastAPI]:
    app = create_application(router=router, settings=settings)
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def rows(application: FastAPI, settings: Settings, redis: Redis) -> Rows:
    """Empty tables and an empty Valkey, and the means to fill them."""
    resources = application.state.resources
    async with resources.database.engine.begin() as connection:
        await connection.exec_driver_sql(empty_tables(Base.metadata.tables))
    await redis.flushall()
    return Rows(resources.database, settings)


@pytest.fixture
async def client(application: FastAPI, rows: Rows) -> AsyncIterator[httpx.AsyncClient]:
    """A caller without a token (over HTTPS, which the cookie requires)."""
    transport = httpx.ASGITransport(application)
    async with httpx.AsyncClient(transport=transport, base_url="https://testserver") as client:
        yield client


@pytest.fixture
async def empty_database(rows: Rows) -> AsyncIterator[str]:
    """The name of a database without tables."""
    name = unique("empty")
    async with rows.database.engine.connect() as connection:
        autocommit = await connection.execution_options(isolation_level="AUTOCOMMIT")
        await autocommit.exec_driver_sql(f"CREATE DATABASE {name}")
        yield name
        await autocommit.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def server(services: Services) -> Iterator[str]:
    """The address of an application that runs as users run it, in a process of its own."""
    with web_server(services.environment()) as address:
        yield address
