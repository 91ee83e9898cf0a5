"""What a relay does with rows that it owns: sends them to the queue, then settles them in the database."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import NamedTuple

from arq.utils import timestamp_ms, to_unix_ms
from redis.exceptions import OutOfMemoryError, ReadOnlyError, RedisError, ResponseError

from app.core.db.database import Database
from app.core.db.statements import Row
from app.core.outbox import writes
from app.core.queue.jobs import KEPT_UNTIL_RUN_MS, JobQueue, PackedTask
from app.core.redis import PROBE_SECONDS, RedisUnavailableError
from app.core.redis.errors import lacks_replicas

logger = logging.getLogger(__name__)

RETRY_SECONDS = 60
"""After which a task that Redis has refused is sent again."""
MAX_REASON = 500
VACUUM_AFTER = 20_000
"""Deleted rows after which a process lets their space be used again; autovacuum looks only once a minute."""
_TEMPORARY = (OutOfMemoryError, ReadOnlyError)
"""Error replies that say nothing about the task, also where Redis still stores a smaller value."""


class Entry(NamedTuple):
    """A row that a relay owns."""

    id: int
    task: PackedTask
    is_ordered: bool = False
    was_refused: bool = False

    @classmethod
    def of(cls, row: Row) -> "Entry":
        due = to_unix_ms(row.due_at)
        lifetime = max(due - timestamp_ms(), 0) + KEPT_UNTIL_RUN_MS
        task = PackedTask(row.job_id, row.packed, due, lifetime)
        return cls(row.id, task, row.order_key is not None, row.error is not None)


class Delivery:
    """Between one database and one queue."""

    def __init__(self, database: Database, queue: JobQueue) -> None:
        self.database = database
        self.queue = queue
        self._deleted = 0

    async def deliver(self, entries: Sequence[Entry]) -> bool:
        """Sends and settles them; False if Redis is unavailable: the rows that it does not have are released then."""
        errors = await asyncio.gather(*map(self._send, entries))
        outcomes = dict(zip(entries, errors, strict=True))
        outcomes |= await self._send_apart([entry for entry, error in outcomes.items() if error is not None])
        await self._settle([entry for entry, error in outcomes.items() if error is None])
        lost = [entry.id for entry, error in outcomes.items() if _is_outage(error)]
        for entry, error in outcomes.items():
            if error is not None and entry.id not in lost:
                await self._refuse(entry, error)
        if lost:
            await self.database.execute(writes.RELEASE, {"ids": lost})
        return not lost

    async def responds(self) -> bool:
        """Whether Redis stores what it is sent, after a moment if its connection was just lost."""
        for pause in (0, 2 * PROBE_SECONDS):
            await asyncio.sleep(pause)
            with suppress(RedisError):
                await self.queue.ping()
                return True
        return False

    async def _send(self, entry: Entry) -> RedisError | None:
        try:
            # False means that the queue has the task already: an earlier relay was killed after it had sent it.
            await self.queue.submit(entry.task)
        except RedisError as error:
            return error
        return None

    async def _send_apart(self, entries: Sequence[Entry]) -> dict[Entry, RedisError | None]:
        """Those that failed, one after another, while Redis stores anything at all.

        Redis closes the connection on some tasks, and each time the rest of their batch fails. And an error reply is
        about the task only if Redis stores others: it may be full, read-only, or without enough replicas.
        """
        outcomes: dict[Entry, RedisError | None] = {}
        responds = True
        for entry in entries:
            responds = responds and await self.responds()
            outcomes[entry] = await self._send(entry) if responds else RedisUnavailableError()
        return outcomes

    async def _settle(self, sent: Sequence[Entry]) -> None:
        plain = [entry.id for entry in sent if not entry.is_ordered]
        ordered = [entry.id for entry in sent if entry.is_ordered]
        for statement, ids in ((writes.FORGET, plain), (writes.MARK_SENT, ordered)):
            if ids:
                await self.database.execute(statement, {"ids": ids})
        self._deleted += len(plain)
        if self._deleted >= VACUUM_AFTER:
            self._deleted = 0
            await self._vacuum()

    async def _vacuum(self) -> None:
        if self.database.has_transactions:  # where VACUUM is not allowed; autovacuum has to do
            return
        try:
            await self.database.execute(writes.VACUUM)
        except Exception as error:  # noqa: BLE001 - the tasks are sent, and autovacuum will come
            logger.warning("the table of the outbox could not be vacuumed: %r", error)

    async def _refuse(self, entry: Entry, error: RedisError) -> None:
        if not entry.was_refused:
            logger.error("Redis refuses the task %s, which stays in the outbox: %s", entry.task.job_id, error)
        parameters = {
            "row_id": entry.id,
            "reason": f"{type(error).__name__}: {error}"[:MAX_REASON],
            "lease": timedelta(seconds=RETRY_SECONDS),
        }
        await self.database.execute(writes.REFUSE, parameters)


def _is_outage(error: RedisError | None) -> bool:
    if error is None:
        return False
    return not isinstance(error, ResponseError) or isinstance(error, _TEMPORARY) or lacks_replicas(error)
