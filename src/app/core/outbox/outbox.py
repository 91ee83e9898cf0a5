"""The outbox of a process: it accepts tasks, stores them, and has the relay that sends them."""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session, SessionTransaction
from sqlalchemy.sql.dml import UpdateBase

from app.core.config import OutboxSettings, PostgresSettings, RedisQueueSettings
from app.core.db.database import Database
from app.core.features import FeatureDisabledError
from app.core.outbox import writes
from app.core.outbox.delivery import Delivery, Entry
from app.core.outbox.relay import Relay, open_relay
from app.core.outbox.tasks import NewTask, TaskFunction, TaskRefusedError, name_of, row_values
from app.core.queue.jobs import JobQueue, PackedTask
from app.core.settings.sources import ConfigurationError

Db = Database | AsyncSession
_OUTBOX = "app.outbox"
_STORED = "app.outbox.stored"
"""Entries of `info`, which a `Database` shares with its sessions, and of one session."""


class Outbox:
    """Of one database and one queue. `functions` are the names that a worker has; others are refused."""

    def __init__(self, delivery: Delivery, relay: Relay, settings: OutboxSettings, functions: Collection[str]) -> None:
        self.delivery = delivery
        self._relay = relay
        self._lease = timedelta(seconds=settings.OUTBOX_LEASE_SECONDS)
        self._max_bytes = settings.OUTBOX_MAX_TASK_BYTES
        self.functions = frozenset(functions)

    def pack(self, task: NewTask) -> PackedTask:
        """Raises `TaskRefusedError`, or arq's `SerializationError` for arguments that are not plain data."""
        task.check()
        if task.name not in self.functions:
            known = ", ".join(sorted(self.functions)) or "none"
            raise TaskRefusedError(f"no worker has the function {task.name!r}; functions of WorkerSettings: {known}")
        packed = self.delivery.queue.pack(
            task.name, task.args, task.kwargs, job_id=task.job_id, until=task.defer_until, by=task.defer_by
        )
        if len(packed.packed) > self._max_bytes:
            raise TaskRefusedError(
                f"the arguments of {task.name} are {len(packed.packed)} bytes, more than OUTBOX_MAX_TASK_BYTES "
                f"({self._max_bytes}): store the data, and pass its id"
            )
        return packed

    async def store(self, db: Db, task: NewTask) -> str:
        """Stores a task as a statement of its own, or as part of the session's transaction; returns the task's id."""
        packed = self.pack(task)
        statement = writes.insertion(task.after is not None)
        parameters = row_values(task, packed) | {"lease": self._lease}
        rows = await _execute(db, statement, parameters)
        self._stored(db, rows, task, packed)
        return packed.job_id

    async def store_with(
        self, db: Db, statement: UpdateBase, parameters: dict[str, Any], task: NewTask
    ) -> Sequence[Any]:
        """Stores a task together with what the statement writes, if it returns a row; returns the statement's rows."""
        packed = self.pack(task)
        both = writes.insertion_with(statement, task.after is not None)
        rows = await _execute(db, both, parameters | row_values(task, packed) | {"lease": self._lease})
        self._stored(db, rows, task, packed)
        return rows

    def _stored(self, db: Db, rows: Sequence[Any], task: NewTask, packed: PackedTask) -> None:
        row_id = rows[0].outbox_id if rows else None
        if row_id is None or task.after is not None:
            return
        if isinstance(db, Database):
            self._relay.add(Entry(row_id, packed))
        else:
            self._await_commit(db.sync_session, row_id)

    def _await_commit(self, session: Session, row_id: int) -> None:
        """The relay looks for the row when the outermost transaction has ended; a rollback leaves none."""
        if _STORED not in session.info:
            session.info[_STORED] = []
            event.listen(session, "after_transaction_end", self._pass_on)
        session.info[_STORED].append(row_id)

    def _pass_on(self, session: Session, transaction: SessionTransaction) -> None:
        if transaction.parent is None and session.info[_STORED]:
            self._relay.add_uncertain(session.info[_STORED])
            session.info[_STORED] = []


async def _execute(db: Db, statement: Any, parameters: dict[str, Any]) -> Sequence[Any]:
    if isinstance(db, Database):
        return await db.execute(statement, parameters)
    return (await db.execute(statement, parameters)).all()


def accepts(db: Db, function: TaskFunction) -> bool:
    """Whether the settings include the outbox, and a worker has this function."""
    outbox: Outbox | None = db.info.get(_OUTBOX)
    return outbox is not None and name_of(function) in outbox.functions


def require_outbox(db: Db) -> Outbox:
    """The outbox of the process that opened the database; raises `FeatureDisabledError` without one."""
    outbox: Outbox | None = db.info.get(_OUTBOX)
    if outbox is None:
        raise FeatureDisabledError(OutboxSettings.__name__)
    return outbox


@asynccontextmanager
async def open_outbox(
    settings: OutboxSettings, database: Database | None, queue: JobQueue | None, functions: Collection[str]
) -> AsyncIterator[Outbox]:
    """The outbox of the database, until the end."""
    for part, needed in ((database, PostgresSettings), (queue, RedisQueueSettings)):
        if part is None:
            raise ConfigurationError(
                f"OutboxSettings needs {needed.__name__}: let Settings inherit from both, or from neither."
            )
    if database is None or queue is None:
        raise AssertionError
    delivery = Delivery(database, queue)
    async with open_relay(delivery) as relay:
        database.info[_OUTBOX] = outbox = Outbox(delivery, relay, settings, functions)
        try:
            yield outbox
        finally:
            del database.info[_OUTBOX]
