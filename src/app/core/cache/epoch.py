"""The cache's epoch, which PostgreSQL keeps: how a write whose invalidation Redis never got is still respected.

Every entry carries the epoch of its read; a process serves only entries of the epoch it knows, and it may trust what it
knows for `LEASE_SECONDS`. A write that cannot reach Redis moves the epoch and answers after that time: by then every
process knows, whether or not it noticed an outage, and also if the writer dies. Entries of older epochs never
match again.
"""

import asyncio
import logging
import time

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from app.core.db.database import OUTAGES, Database, is_outage

logger = logging.getLogger(__name__)

LEASE_SECONDS = 0.15
RENEW_SECONDS = 0.06
IDLE_SECONDS = 5.0
QUERY_SECONDS = 0.25

# A sequence: its value is seen at once by all, and never rolled back. With the database's own number in it, databases
# that share a Redis do not share answers.
_READ = text(
    "SELECT last_value + is_called::int AS number, "
    "(SELECT oid FROM pg_database WHERE datname = current_database())::text AS database FROM cache_epoch"
)
_MOVE = text("SELECT nextval('cache_epoch')")


class EpochLease:
    """What this process knows of the epoch, and until when.

    It is renewed in the background while the cache is in use, so that a hit waits for no database; after some idle
    seconds the first request renews it itself. While the database is away no write can be committed either, and the
    last epoch stays in force.
    """

    def __init__(self, database: Database | None) -> None:
        self._database = database
        self._number = 0
        self._epoch = ""
        self._valid_until = float("inf") if database is None else 0.0
        self._used_at = 0.0
        self._renewal: asyncio.Task[None] | None = None
        self._keeper: asyncio.Task[None] | None = None

    async def epoch(self) -> str | None:
        """The epoch in force; None if it cannot be told, and nothing may be served."""
        self._used_at = time.monotonic()
        if self._used_at >= self._valid_until:
            await self._renew()
        if self._database and (self._keeper is None or self._keeper.done()):
            self._keeper = asyncio.create_task(self._keep())
        return self._epoch if time.monotonic() < self._valid_until else None

    async def move(self) -> None:
        """Puts all entries out of force; a process may go on serving them for `LEASE_SECONDS`."""
        self._valid_until = float("inf") if self._database is None else 0.0
        if self._database:
            await self._database.fetch_one(_MOVE)

    async def close(self) -> None:
        tasks = [task for task in (self._keeper, self._renewal) if task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _keep(self) -> None:
        while time.monotonic() - self._used_at < IDLE_SECONDS:
            await asyncio.sleep(RENEW_SECONDS)
            await self._renew()

    async def _renew(self) -> None:
        """Joins a renewal under way: it began before this call, but its lease is counted from its own beginning."""
        if self._renewal is None or self._renewal.done():
            self._renewal = asyncio.create_task(self._ask())
        await asyncio.wait([self._renewal], timeout=QUERY_SECONDS)

    async def _ask(self) -> None:
        if self._database is None:
            return
        asked_at = time.monotonic()
        try:
            row = await self._database.fetch_one(_READ)
        except (*OUTAGES, SQLAlchemyError, OSError) as error:
            if is_outage(error):
                self._valid_until = time.monotonic() + LEASE_SECONDS
            else:
                logger.error("the cache is off, because its epoch cannot be read: %r", error)
            return
        if row is not None:
            self._number = max(self._number, row.number)
            self._epoch = f"{row.database}.{self._number}"
            self._valid_until = asked_at + LEASE_SECONDS
