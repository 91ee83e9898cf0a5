"""The database of GET requests: reads go to a replica where that makes no difference to the caller.

A read goes to the replica only if the replica has replayed everything that was acknowledged before the read began. So
every client reads its own writes and those of all others, without a session or a cookie. What is kept of a result is
as current as a read of the primary at that time: the position is read after the read has begun.

It costs one statement on the primary that reads a position (`position`), shared by all reads that wait for one, and
sometimes one on the replica (`replica`). So it is of use for reads that cost more than that.

If the replica is unavailable, too slow, too far behind, or does not follow this primary, all reads go to the primary
until it can be used again. A read that the replica cancels, because it conflicts with what is replayed, is run on the
primary. So is every other read that fails there, and the primary's error is the caller's.

Not covered: sessions, which use the primary, and a replica behind PgBouncer. A replica may show a change before the
primary does, while the commit waits for a synchronous standby: its writer has no response yet.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from sqlalchemy import Executable

from app.core.config import PostgresSettings
from app.core.db.budget import check_connections, process_name
from app.core.db.database import Check, Database, open_database
from app.core.db.position import Positions
from app.core.db.replica import Replica
from app.core.db.statements import Parameters, Row


class ReadDatabase(Database):
    """`fetch_one` and `fetch_all` may use the replica; everything else is the primary's."""

    def __init__(self, primary: Database, replica: Replica) -> None:
        super().__init__(primary.engine)
        self.sessions = primary.sessions
        self.replica = replica
        self._primary = primary

    async def fetch_all(self, statement: Executable, parameters: Parameters | None = None) -> Sequence[Row]:
        rows = await self.replica.fetch_all(statement, parameters)
        return await self._primary.fetch_all(statement, parameters) if rows is None else rows

    async def execute(
        self, statement: Executable, parameters: Parameters | None = None, check: Check | None = None
    ) -> Sequence[Row]:
        return await self._primary.execute(statement, parameters, check)


@asynccontextmanager
async def open_read_database(primary: Database, settings: PostgresSettings) -> AsyncIterator[ReadDatabase]:
    """`settings` are the replica's; its connections are closed at the end."""
    async with open_database(settings, process_name(settings, is_replica=True)) as database:
        await check_connections(database, settings, is_replica=True)
        replica = Replica(database, Positions(primary))
        try:
            yield ReadDatabase(primary, replica)
        finally:
            await replica.close()
