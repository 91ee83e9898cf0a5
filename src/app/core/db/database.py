"""The database of a process: sessions for units of work, and single statements for everything else."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import asyncpg
from sqlalchemy import Executable, MetaData
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from sqlalchemy.orm import DeclarativeBase, MappedAsDataclass
from starlette.requests import HTTPConnection

from app.core.config import PostgresSettings
from app.core.db.engine import create_pooled_engine, server_timeouts
from app.core.db.errors import ConnectionLostError, StaleReplicaError, is_invalid_value, is_outage, translate
from app.core.db.pool import SharedPool
from app.core.db.statements import Parameters, Row, Statements
from app.core.features import read_resources, require

Check: TypeAlias = Callable[[Any], Awaitable[None]]
"""What is done with a connection of asyncpg's before a statement; raises an error if it must not be used."""


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


def _leaves_usable(error: BaseException) -> bool:
    """Whether the server reported an error and waits for the next statement."""
    if is_invalid_value(error) or isinstance(error, (SQLAlchemyError, StaleReplicaError)):
        return True
    return isinstance(error, asyncpg.PostgresError) and not is_outage(error)


class Database:
    """`fetch_one`, `fetch_all` and `execute` run one statement and commit it; `sessions` are for units of work.

    A single statement is SQLAlchemy Core's, compiled once, on a connection of asyncpg's: one round trip, and the
    connection is held no longer. Behind PgBouncer a transaction surrounds it, because preparing and executing are two
    messages, and between them the server connection may change.

    `info` is for what a part of the process attaches to the database; each session has it in its own `info`.
    """

    def __init__(self, engine: AsyncEngine, begin: str | None = None) -> None:
        self.engine = engine
        self.info: dict[Any, Any] = {}
        self.sessions = async_sessionmaker(engine, expire_on_commit=False, info=self.info)
        self._begin = begin
        self._statements = Statements(engine.dialect)

    async def fetch_all(self, statement: Executable, parameters: Parameters | None = None) -> Sequence[Row]:
        """All rows of a statement that only reads: it is run again once if its connection turns out to be lost."""
        try:
            return await self.execute(statement, parameters)
        except ConnectionLostError:
            return await self.execute(statement, parameters)

    async def fetch_one(self, statement: Executable, parameters: Parameters | None = None) -> Row | None:
        """The first row, if there is one, of a statement that only reads."""
        rows = await self.fetch_all(statement, parameters)
        return rows[0] if rows else None

    async def execute(
        self, statement: Executable, parameters: Parameters | None = None, check: Check | None = None
    ) -> Sequence[Row]:
        """What a statement returns, a write too, which is committed then; it is run once."""
        pool = self.pool
        entry = pool.take() or await pool.acquire()
        try:
            if check:
                await check(entry.driver_connection)
            rows = await self._run(entry.driver_connection, statement, parameters or {})
        except BaseException as error:
            if _leaves_usable(error):
                pool.give(entry)
            else:
                pool.discard(entry)
            if isinstance(error, Exception):
                raise translate(error) from error
            raise
        pool.give(entry)
        return rows

    async def close(self) -> None:
        pool = self.pool
        await self.engine.dispose()
        await pool.wait_closed()

    @property
    def pool(self) -> SharedPool:
        pool = self.engine.sync_engine.pool
        if not isinstance(pool, SharedPool):
            raise TypeError("the engine of a Database is made by create_pooled_engine")
        return pool

    @property
    def has_transactions(self) -> bool:
        """Whether a transaction surrounds each single statement, as behind PgBouncer."""
        return self._begin is not None

    def sql(self, statement: Executable, parameters: Parameters | None = None) -> str:
        """What is sent to the server, with placeholders for the values."""
        return self._statements.compile(statement, parameters or {}).sql

    async def _run(self, connection: Any, statement: Executable, parameters: Parameters) -> Sequence[Row]:
        if self._begin is None:
            return await self._fetch(connection, statement, parameters)
        await connection.execute(self._begin)
        try:
            rows = await self._fetch(connection, statement, parameters)
        except Exception as error:
            if _leaves_usable(error):
                await connection.execute("ROLLBACK")
            raise
        await connection.execute("COMMIT")
        return rows

    async def _fetch(self, connection: Any, statement: Executable, parameters: Parameters) -> Sequence[Row]:
        compiled = self._statements.compile(statement, parameters)
        sql, arguments = compiled.bind(parameters)
        reader = compiled.reader
        if reader is None:
            reader = self._statements.reader(compiled, (await connection.prepare(sql)).get_attributes())
        return reader.read(await connection.fetch(sql, *arguments))


@asynccontextmanager
async def open_database(settings: PostgresSettings, name: str | None = None) -> AsyncIterator[Database]:
    """A database whose connections are closed at the end; `name` is their `application_name`."""
    begin = None
    if settings.DATABASE_PGBOUNCER:
        timeouts = (f"SET LOCAL {name} = {value}" for name, value in server_timeouts(settings).items())
        begin = "; ".join(("BEGIN", *timeouts))
    database = Database(create_pooled_engine(settings, name), begin)
    try:
        yield database
    finally:
        await database.close()


async def get_database(connection: HTTPConnection) -> Database:
    """The dependency for single statements."""
    database: Database | None = read_resources(connection.app).database
    return require(database, PostgresSettings.__name__)


async def get_read_database(connection: HTTPConnection) -> Database:
    """The dependency of GET requests, whose reads a replica may serve (`read_database`)."""
    database: Database | None = read_resources(connection.app).read_database
    return require(database, PostgresSettings.__name__)


async def async_get_db(connection: HTTPConnection) -> AsyncIterator[AsyncSession]:
    """The dependency for a unit of work: what is not committed is rolled back."""
    async with (await get_database(connection)).sessions() as session:
        yield session
