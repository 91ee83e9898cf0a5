"""The database: one engine, sessions for writes, and single statements for reads."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, NoReturn, TypeAlias
from uuid import uuid4

import asyncpg
from sqlalchemy import Executable, MetaData, Row, event
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, MappedAsDataclass
from starlette.requests import HTTPConnection

from app.core.config import PostgresSettings

CONNECT_TIMEOUT_SECONDS = 3
POOL_TIMEOUT_SECONDS = 5
RECYCLE_SECONDS = 1800

Parameters = Mapping[str, Any]


class DatabaseUnavailableError(Exception):
    """No connection to the database can be made."""


OUTAGES = (
    DatabaseUnavailableError,
    PoolTimeoutError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
)
"""What is raised while the database is away, besides a `DBAPIError` that lost its connection."""


class Base(DeclarativeBase, MappedAsDataclass):
    """The base of every model: a dataclass, so attributes with a default come last."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_N_label)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


def is_outage(error: BaseException) -> bool:
    """Whether the error says that the database is away, and not that the statement is wrong."""
    if isinstance(error, OUTAGES):
        return True
    return isinstance(error, DBAPIError) and (
        error.connection_invalidated or _sqlstate(error)[:2] in {"08", "53", "57"} or isinstance(error.orig, OSError)
    )


def _sqlstate(error: DBAPIError) -> str:
    return str(getattr(error.orig, "sqlstate", None) or "")


Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


def _discard(attempt: "asyncio.Task[Connection]") -> None:
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().terminate()


async def _connect(*args: Any, **options: Any) -> Connection:
    # A client that leaves cancels its request: asyncpg must not be stopped in the middle of a TLS negotiation.
    attempt = asyncio.ensure_future(asyncpg.connect(*args, **options))
    try:
        return await asyncio.shield(attempt)
    except asyncio.CancelledError:
        attempt.add_done_callback(_discard)
        raise
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise DatabaseUnavailableError(f"cannot connect to the database: {error!r}") from error


def _refuse_closed(connection: Any, *_: object) -> None:
    # asyncpg hears of a closed socket without asking: the freshness of a ping at no cost.
    if connection.driver_connection.is_closed():
        raise DisconnectionError("the server closed this connection")


def create_engine(settings: PostgresSettings, **options: Any) -> AsyncEngine:
    """An engine that connects on first use.

    Behind PgBouncer in transaction mode a prepared statement may meet another server connection: no statement is kept,
    and no two share a name.
    """
    connect_args: dict[str, Any] = {"async_creator_fn": _connect, "timeout": CONNECT_TIMEOUT_SECONDS}
    if settings.DATABASE_PGBOUNCER:
        connect_args |= {
            "statement_cache_size": 0,
            "prepared_statement_cache_size": 0,
            "prepared_statement_name_func": lambda: f"__asyncpg_{uuid4()}__",
        }
    engine = create_async_engine(
        settings.POSTGRES_URL, connect_args=connect_args, hide_parameters=True, skip_autocommit_rollback=True, **options
    )
    event.listen(engine.sync_engine, "checkout", _refuse_closed)
    return engine


class Database:
    """The engine with its two ways in: `sessions` for units of work, `fetch_…` for one read statement.

    Behind PgBouncer a read needs a transaction, too, because preparing and executing are two messages, and between
    them the server connection may change.
    """

    def __init__(self, engine: AsyncEngine, *, pgbouncer: bool = False) -> None:
        self.engine = engine
        self.sessions = async_sessionmaker(engine, expire_on_commit=False)
        self._reads = engine if pgbouncer else engine.execution_options(isolation_level="AUTOCOMMIT")

    async def fetch_all(self, statement: Executable, parameters: Parameters | None = None) -> Sequence[Row[Any]]:
        """All rows; the connection is held for this one statement, and taken anew once if it turns out dead."""
        try:
            return await self._fetch(statement, parameters)
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
            return await self._fetch(statement, parameters)

    async def fetch_one(self, statement: Executable, parameters: Parameters | None = None) -> Row[Any] | None:
        """The first row, if there is one."""
        rows = await self.fetch_all(statement, parameters)
        return rows[0] if rows else None

    async def _fetch(self, statement: Executable, parameters: Parameters | None) -> Sequence[Row[Any]]:
        async with self._reads.connect() as connection:
            return (await connection.execute(statement, parameters)).all()


@asynccontextmanager
async def open_database(settings: PostgresSettings) -> AsyncIterator[Database]:
    """A database whose pool is closed at the end."""
    engine = create_engine(
        settings,
        pool_size=settings.DATABASE_POOL_SIZE,
        max_overflow=settings.DATABASE_MAX_OVERFLOW,
        pool_timeout=POOL_TIMEOUT_SECONDS,
        pool_recycle=RECYCLE_SECONDS,
    )
    try:
        yield Database(engine, pgbouncer=settings.DATABASE_PGBOUNCER)
    finally:
        await engine.dispose()


async def get_database(connection: HTTPConnection) -> Database:
    """The dependency for single reads."""
    database: Database | None = connection.app.state.resources.database
    return database or _switched_off()


async def async_get_db(connection: HTTPConnection) -> AsyncIterator[AsyncSession]:
    """The dependency for a unit of work: what is not committed is rolled back."""
    async with (await get_database(connection)).sessions() as session:
        yield session


def _switched_off() -> NoReturn:
    raise RuntimeError("This endpoint needs a database: let your Settings inherit from PostgresSettings.")
