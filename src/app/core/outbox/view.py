"""Rows of the outbox as tasks, for the endpoints that show them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from arq import ArqRedis
from arq.utils import to_unix_ms
from redis.exceptions import RedisError
from sqlalchemy import bindparam, func, select

from app.core.db.database import Database
from app.core.db.statements import Row
from app.core.outbox.outbox import Outbox
from app.core.outbox.table import DUE_AT, OutboxRow
from app.core.queue.view import TaskState, read_task, unfinished

MAX_COUNTED = 10_000
MAX_REFUSED = 100
_COLUMNS = (OutboxRow.job_id, OutboxRow.packed, DUE_AT, OutboxRow.error)
_BY_JOB_ID = select(*_COLUMNS).where(OutboxRow.job_id == bindparam("job_id"), ~OutboxRow.is_sent)
_REFUSED = select(*_COLUMNS).where(OutboxRow.error.is_not(None)).order_by(OutboxRow.id.desc()).limit(MAX_REFUSED)
_WAITING = select(OutboxRow.id).where(~OutboxRow.is_sent).limit(MAX_COUNTED).subquery()
_LENGTH = select(func.count().label("length")).select_from(_WAITING)
_ERRORS = select(OutboxRow.id).where(OutboxRow.error.is_not(None)).limit(MAX_COUNTED).subquery()
_DEPTH = select(
    _LENGTH.scalar_subquery().label("length"),
    select(func.count()).select_from(_ERRORS).scalar_subquery().label("refused"),
)


@dataclass(frozen=True, slots=True)
class OutboxView:
    """How many tasks the queue does not have yet, at most `MAX_COUNTED`, and those that Redis refuses, newest first."""

    length: int
    refused: Sequence[TaskState]


@dataclass(frozen=True, slots=True)
class OutboxDepth:
    """How many tasks the queue does not have yet; at most `MAX_COUNTED` each, Redis refuses the latter."""

    waiting: int
    refused: int


async def find_task(queue: ArqRedis, outbox: Outbox | None, job_id: str) -> TaskState | None:
    """The task, in the queue or in the outbox; while Redis is unavailable the outbox is enough.

    A row is deleted after Redis has its task, so a task that is found in neither may have moved in between.
    """
    if outbox is None:
        return await read_task(queue, job_id)
    try:
        found = await read_task(queue, job_id)
    except RedisError:
        stored = await _read_stored(outbox.delivery.database, job_id)
        if stored is None:
            raise
        return stored
    return found or await _read_stored(outbox.delivery.database, job_id) or await read_task(queue, job_id)


async def read_outbox(outbox: Outbox | None) -> OutboxView:
    if outbox is None:
        return OutboxView(0, [])
    database = outbox.delivery.database
    length = await database.fetch_one(_LENGTH)
    refused = await database.fetch_all(_REFUSED)
    return OutboxView(length.length if length else 0, [_state(row) for row in refused])


async def read_outbox_depth(outbox: Outbox) -> OutboxDepth:
    row = await outbox.delivery.database.fetch_one(_DEPTH)
    return OutboxDepth(max(row.length - row.refused, 0), row.refused) if row else OutboxDepth(0, 0)


async def _read_stored(database: Database, job_id: str) -> TaskState | None:
    row = await database.fetch_one(_BY_JOB_ID, {"job_id": job_id})
    return _state(row) if row else None


def _state(row: Row) -> TaskState:
    """With the reason as its result, if Redis refuses the task."""
    return replace(unfinished(row.job_id, row.packed, to_unix_ms(row.due_at)), result=row.error)
