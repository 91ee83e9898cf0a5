"""How connections to the database are made: addresses, timeouts, and what PgBouncer needs."""

from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from app.core.config import PostgresSettings
from app.core.db.connector import AsyncpgConnection, Connector
from app.core.db.errors import READ_ONLY, DatabaseUnavailableError, sqlstate
from app.core.db.pool import SharedPool

POOL_TIMEOUT_SECONDS = 5
RECYCLE_SECONDS = 1800
RESPONSE_GRACE_SECONDS = 5
"""How much later than the server's own `statement_timeout` the client gives a statement up."""


async def connect(settings: PostgresSettings) -> AsyncpgConnection:
    """A connection outside the pool, for what must not share one; the caller closes it."""
    hosts = settings.POSTGRES_HOSTS
    return await Connector(hosts).connect(
        host=hosts[0].name,
        port=hosts[0].port,
        user=settings.POSTGRES_USER,
        password=settings.POSTGRES_PASSWORD,
        database=settings.POSTGRES_DB,
        statement_cache_size=0 if settings.DATABASE_PGBOUNCER else 100,
    )


def _refuse_closed(connection: Any, *_: object) -> None:
    # asyncpg notices a closed socket by itself: the freshness of a ping without its cost.
    if connection.driver_connection.is_closed():
        raise DisconnectionError("the server closed this connection")


def _lose_useless_connections(context: ExceptionContext) -> BaseException | None:
    """Replaces the connection after an error that shows it is stuck, or that its server has become a standby."""
    if isinstance(context.original_exception, TimeoutError):
        context.is_disconnect = True
        return DatabaseUnavailableError("the database did not respond in time")
    if sqlstate(context.original_exception) == READ_ONLY:
        context.is_disconnect = True
    return None


def create_engine(settings: PostgresSettings, **options: Any) -> AsyncEngine:
    """An engine that connects on first use.

    Behind PgBouncer in transaction mode a prepared statement may meet another server connection: no statement is kept,
    and no two share a name.
    """
    connect_args: dict[str, Any] = {
        "async_creator_fn": Connector(settings.POSTGRES_HOSTS).connect,
        **options.pop("connect_args", {}),
    }
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
    event.listen(engine.sync_engine, "handle_error", _lose_useless_connections)
    return engine


def server_timeouts(settings: PostgresSettings) -> dict[str, str]:
    """PostgreSQL's own timeouts by name, in milliseconds; 0 switches one off."""
    seconds = {
        "statement_timeout": settings.DATABASE_STATEMENT_TIMEOUT_SECONDS,
        "lock_timeout": settings.DATABASE_LOCK_TIMEOUT_SECONDS,
        "idle_in_transaction_session_timeout": settings.DATABASE_IDLE_TRANSACTION_TIMEOUT_SECONDS,
    }
    return {name: str(round(value * 1000)) for name, value in seconds.items()}


def create_pooled_engine(settings: PostgresSettings, name: str | None = None) -> AsyncEngine:
    """The engine of a process that serves requests: its connections are shared and its statements bounded in time.

    `name` is their `application_name`, by which PostgreSQL shows whose they are. PgBouncer refuses settings at the
    connection's start: there each transaction begins with them.
    """
    timeouts = server_timeouts(settings)
    limit = settings.DATABASE_STATEMENT_TIMEOUT_SECONDS
    connect_args: dict[str, Any] = {"command_timeout": limit + RESPONSE_GRACE_SECONDS if limit else None}
    if not settings.DATABASE_PGBOUNCER:
        connect_args["server_settings"] = timeouts | ({"application_name": name} if name else {})
    engine = create_engine(
        settings,
        poolclass=SharedPool,
        pool_size=settings.DATABASE_POOL_SIZE,
        max_overflow=settings.DATABASE_MAX_OVERFLOW,
        pool_timeout=POOL_TIMEOUT_SECONDS,
        pool_recycle=RECYCLE_SECONDS,
        connect_args=connect_args,
    )
    if settings.DATABASE_PGBOUNCER:
        configs = ", ".join(f"set_config('{name}', '{value}', true)" for name, value in timeouts.items())

        @event.listens_for(engine.sync_engine, "begin")
        def _set_timeouts(connection: Connection) -> None:
            connection.exec_driver_sql(f"SELECT {configs}")

    return engine
