"""The cache's epoch, a number in PostgreSQL: how a write whose invalidation never reached Redis is still respected.

Each entry carries the epoch of its read, and a process serves only entries of the epoch that it has read. A value
is valid for `LEASE_SECONDS`, counted from before its query. A write that cannot use Redis moves the epoch after its
commit, waits for `LEASE_SECONDS`, and only then the caller gets the response. The argument:

- A lease of the old epoch was queried before the epoch moved. So it ends at most `LEASE_SECONDS` after that, which is
  before the caller gets the response. A read that begins later finds the lease expired, and queries the new epoch.
- This needs no message to arrive anywhere. It holds for processes that never noticed an outage, for those that are cut
  off from PostgreSQL or stopped in the middle (their lease expires and cannot be renewed), and if the writer is killed.
- A process that cannot renew its lease, for whatever reason, serves nothing from the cache. It does not matter whether
  PostgreSQL is down, unreachable or slow.
- Leases compare readings of one process's monotonic clock. No two clocks are compared.
- A number counts only within one run of one server, whose start is part of the epoch. A server that has crashed, was
  restored or was promoted in a failover may have lost the last moves. Its numbers go back then, but never to an epoch
  that was in force before: all entries are discarded. A standby has no epoch, because it may not have the last moves.

Its cost: a lease is renewed when a request uses it in its second half, so that hits do not wait, by one query on a
connection that nothing else uses. That is at most `1 / RENEW_SECONDS` = 2 queries per second in a process that serves
hits, and none in one that does not. A longer lease would save queries, and each write without Redis would wait longer.

Why not LISTEN/NOTIFY: a message can be lost with its connection, so a lease is needed anyway, and PgBouncer in
transaction mode does not support LISTEN. Without confirmations it would not shorten the wait.
Not covered: a virtual machine that is suspended together with its monotonic clock; a process of PostgreSQL that crashes
under `synchronous_commit=off` and takes the last moves with it, while the server goes on; and two primaries at once, of
which each process respects the one that it is connected to.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from app.core.config import PostgresSettings
from app.core.db.database import Database, open_database
from app.core.db.demand import LEASE_MAX_OVERFLOW, LEASE_POOL_SIZE
from app.core.db.errors import OUTAGES, PoolTimeoutError, ReadOnlyDatabaseError
from app.core.settings.base import SettingsBase

logger = logging.getLogger(__name__)

LEASE_SECONDS = 1.0
RENEW_SECONDS = LEASE_SECONDS / 2
PATIENCE_SECONDS = 0.25
"""How long a request waits for an expired lease; then it runs without the cache."""
RETRY_SECONDS = 0.1

# A sequence: its value is visible to all at once, and never rolled back. With the database's own number in the epoch,
# databases that share a Redis do not share responses.
_READ = text(
    "SELECT last_value + is_called::int AS number, "
    "(extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint AS started_at, "
    "(SELECT oid FROM pg_database WHERE datname = current_database())::text AS database "
    "FROM cache_epoch WHERE NOT pg_is_in_recovery()"
)
_MOVE = text("SELECT nextval('cache_epoch')")


class EpochLease:
    """This process's value of the epoch, and how long it is valid. Without a database the epoch never moves."""

    def __init__(self, database: Database | None) -> None:
        """`database` is for the lease alone: it must not wait for connections that requests hold."""
        self._database = database
        self._epoch = b"-"
        self._valid_until = float("inf") if database is None else 0.0
        self._renew_at = self._valid_until
        self._renewal: asyncio.Task[None] | None = None
        self._is_failing = False

    def current(self) -> bytes | None:
        """The epoch in force, without waiting; None if nothing may be served."""
        now = time.monotonic()
        if now >= self._renew_at:
            self._start_renewal()
        return self._epoch if now < self._valid_until else None

    async def epoch(self) -> bytes | None:
        """The epoch in force; waits for an expired lease to be renewed, but not long."""
        epoch = self.current()
        if epoch is None and self._renewal and not self._renewal.done():
            await asyncio.wait([self._renewal], timeout=PATIENCE_SECONDS)
            epoch = self._epoch if time.monotonic() < self._valid_until else None
        return epoch

    async def move(self) -> None:
        """Puts all entries out of force; other processes may serve them for another `LEASE_SECONDS`."""
        if self._database:
            self._valid_until = self._renew_at = 0.0
            await self._database.fetch_one(_MOVE)

    async def close(self) -> None:
        if self._renewal:
            self._renewal.cancel()
            await asyncio.wait([self._renewal])

    def _start_renewal(self) -> None:
        if self._database and (self._renewal is None or self._renewal.done()):
            self._renewal = asyncio.create_task(self._renew(self._database))

    async def _renew(self, database: Database) -> None:
        asked_at = time.monotonic()
        try:
            async with asyncio.timeout(LEASE_SECONDS):
                row = await database.fetch_one(_READ)
            if row is None:
                raise ReadOnlyDatabaseError("this server is a standby")
        except (*OUTAGES, PoolTimeoutError, SQLAlchemyError, OSError) as error:
            if not self._is_failing:
                logger.warning("the cache is bypassed, because its epoch cannot be read from the database: %r", error)
            row = None
        self._is_failing = row is None
        if row is None:
            self._renew_at = time.monotonic() + RETRY_SECONDS
            return
        self._epoch = f"{row.database}.{row.started_at:x}.{row.number}".encode()
        self._valid_until = max(self._valid_until, asked_at + LEASE_SECONDS)
        self._renew_at = asked_at + RENEW_SECONDS


@asynccontextmanager
async def open_lease(settings: SettingsBase) -> AsyncIterator[EpochLease]:
    """A lease with its own connections, one for renewals and one for moves, so that neither waits."""
    if not isinstance(settings, PostgresSettings):
        yield EpochLease(None)
        return
    sizes = {"DATABASE_POOL_SIZE": LEASE_POOL_SIZE, "DATABASE_MAX_OVERFLOW": LEASE_MAX_OVERFLOW}
    async with open_database(settings.model_copy(update=sizes)) as own:
        lease = EpochLease(own)
        try:
            yield lease
        finally:
            await lease.close()
