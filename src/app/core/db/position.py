"""Positions in the primary's write-ahead log: what a replica must have replayed before a read may go there.

A position is read on the primary after a read has begun, so that everything acknowledged before that lies below it. It
is `pg_current_wal_flush_lsn()`: a commit is acknowledged, and visible to others, when its record is flushed. With
`synchronous_commit=off` it is so before, and `pg_current_wal_insert_lsn()` takes its place. That may be ahead of what a
replica can receive, until the next flush. Not covered: a transaction that switches it off for itself.
"""

import asyncio
from typing import NamedTuple

from sqlalchemy import text

from app.core.db.database import Database
from app.core.db.errors import DatabaseUnavailableError

CLUSTER = """
    (SELECT system_identifier FROM pg_control_system())
    || '/' || (SELECT oid FROM pg_database WHERE datname = current_database())
"""
"""SQL for what a primary and its replicas have in common, and no other database."""

_CLUSTER = text(f"SELECT {CLUSTER} AS cluster")
_POSITION = text("""
    SELECT left(pg_walfile_name(lsn), 8) AS timeline, (lsn - '0/0'::pg_lsn)::bigint AS lsn
    FROM (
        SELECT CASE current_setting('synchronous_commit')
            WHEN 'off' THEN pg_current_wal_insert_lsn() ELSE pg_current_wal_flush_lsn()
        END AS lsn
    ) AS position
""")


class Position(NamedTuple):
    """Positions can be compared within one history: that of a database on one timeline, which a failover ends."""

    history: str
    lsn: int

    def includes(self, other: "Position") -> bool:
        return self.history == other.history and self.lsn >= other.lsn


class Positions:
    """The primary's positions, read with one statement for all callers that come while another one is running."""

    def __init__(self, primary: Database) -> None:
        self._primary = primary
        self._cluster = ""
        self._running: asyncio.Task[Position] | None = None
        self._next: asyncio.Task[Position] | None = None

    async def current(self) -> Position:
        """A position behind everything that was acknowledged before the call."""
        if self._next is None:
            self._next = asyncio.create_task(self._read_after(self._running))
            self._next.add_done_callback(_retrieve_error)
        return await asyncio.shield(self._next)

    async def close(self) -> None:
        tasks = [task for task in (self._running, self._next) if task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _read_after(self, running: "asyncio.Task[Position] | None") -> Position:
        if running:
            await asyncio.wait([running])
        # Who comes from now on may have seen what this statement does not see yet.
        self._running, self._next = self._next, None
        if not self._cluster:
            row = await self._primary.fetch_one(_CLUSTER)
            self._cluster = row.cluster if row else ""
        row = await self._primary.fetch_one(_POSITION)
        if row is None:
            raise DatabaseUnavailableError("the primary returned no position")
        return Position(f"{self._cluster}/{row.timeline}", row.lsn)


def _retrieve_error(task: "asyncio.Task[Position]") -> None:
    """All callers may have left; then nobody else does."""
    if not task.cancelled():
        task.exception()
