"""Whether PostgreSQL allows the connections that all processes together can open, checked once when a process starts.

Each process names its connections after itself, with the number that it can open (`process_name`). The check adds up
the numbers of the processes that are connected, wherever they run. Its own connection stays open in the pool, so of
processes that start at the same time, the last one to connect counts all of them.

Not covered: PgBouncer, which has a limit of its own, connections of other programs, and processes that have no
connection at the moment of the check.
"""

import asyncio
import logging
import os
import socket

from sqlalchemy import text

from app.core.config import PostgresSettings, RedisCacheSettings
from app.core.db.database import Database
from app.core.db.demand import connections_per_process

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS = 3.0
_CHECK = text(r"""
    SELECT current_setting('max_connections')::int AS allowed,
        current_setting('superuser_reserved_connections')::int
            + coalesce(current_setting('reserved_connections', true)::int, 0) AS reserved,
        count(*) AS processes, coalesce(sum(substring(name from '\d+$')::int), 0) AS needed
    FROM (
        SELECT DISTINCT application_name AS name FROM pg_stat_activity
        WHERE application_name ~ '^app \d+@.* up to \d{1,6}$'
    ) AS process
""")
_WARNING = (
    "PostgreSQL allows %d connections (max_connections is %d, %d of them are reserved), but the processes that are "
    "connected now (%d) can open %d, %d of them this one: lower DATABASE_POOL_SIZE (%d) or DATABASE_MAX_OVERFLOW (%d), "
    "run fewer processes, raise max_connections, or use PgBouncer with DATABASE_PGBOUNCER=true"
)


def _connections(settings: PostgresSettings, is_replica: bool) -> int:
    has_cache = isinstance(settings, RedisCacheSettings) and not is_replica
    return connections_per_process(settings.DATABASE_POOL_SIZE, settings.DATABASE_MAX_OVERFLOW, has_cache=has_cache)


def process_name(settings: PostgresSettings, *, is_replica: bool = False) -> str:
    """The `application_name` of this process's connections; PostgreSQL keeps 63 bytes of it."""
    return f"app {os.getpid()}@{socket.gethostname()[-32:]} up to {_connections(settings, is_replica)}"


async def check_connections(database: Database, settings: PostgresSettings, *, is_replica: bool = False) -> None:
    """Logs a warning if the processes can open more connections than this server allows. Raises nothing."""
    if settings.DATABASE_PGBOUNCER:
        return
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            row = await database.fetch_one(_CHECK)
    except Exception as error:  # noqa: BLE001 - the process starts, whatever is wrong
        logger.warning("the connections that PostgreSQL allows could not be compared with the settings: %r", error)
        return
    if row and row.needed > row.allowed - row.reserved:
        pool = (settings.DATABASE_POOL_SIZE, settings.DATABASE_MAX_OVERFLOW)
        own = _connections(settings, is_replica)
        logger.warning(
            _WARNING, row.allowed - row.reserved, row.allowed, row.reserved, row.processes, row.needed, own, *pool
        )
