"""The statements of the outbox, each of them one transaction or part of the caller's."""

from functools import lru_cache
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Executable,
    Interval,
    Text,
    bindparam,
    delete,
    exists,
    func,
    or_,
    select,
    text,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import aliased
from sqlalchemy.sql.dml import ReturningInsert, UpdateBase

from app.core.outbox.table import DUE_AT, OutboxRow

STORED = 512
"""Statements with a task that are kept; there is one per statement that a task is stored with."""
_TABLE = OutboxRow.metadata.tables[OutboxRow.__tablename__]
"""The ORM takes an insert of its class apart, and does not know one from a SELECT."""
_GIVEN = ("job_id", "function", "packed", "due_at", "order_key", "request_id", "traceparent")
_NOW = func.now()
_LATER = bindparam("lease", type_=Interval())
_IDS = OutboxRow.id == func.any(bindparam("ids", type_=ARRAY(BigInteger)))
_Earlier = aliased(OutboxRow)


def _new(name: str) -> ColumnElement[Any]:
    return bindparam(f"task_{name}", type_=_TABLE.c[name].type)


def _insertion(*sources: Any, is_ordered: bool) -> "ReturningInsert[Any]":
    """The row, for each row of the sources; an id that is taken is left alone.

    With an order key other transactions with the key wait for the end of this one, so that the order of the rows is the
    order of the commits. The lock is taken before the row gets its number.
    """
    # A task with an order key is never sent from memory: any relay may claim it at once.
    claimed = _NOW if is_ordered else func.clock_timestamp() + _LATER
    row = select(*(_new(name) for name in _GIVEN), claimed)
    if is_ordered:
        lock = func.pg_advisory_xact_lock(func.hashtextextended(_new("order_key"), 0))
        row = row.select_from(select(lock).cte("locked"))
    for source in sources:
        row = row.select_from(source)
    statement = insert(_TABLE).from_select([*_GIVEN, "claimed_until"], row)
    return statement.on_conflict_do_nothing(index_elements=["job_id"]).returning(OutboxRow.id.label("outbox_id"))


@lru_cache(STORED)
def insertion(is_ordered: bool) -> Executable:
    """Stores a task; returns its `outbox_id`, or nothing if there is a task with this id."""
    return _insertion(is_ordered=is_ordered)


@lru_cache(STORED)
def insertion_with(statement: UpdateBase, is_ordered: bool) -> Executable:
    """The statement, and in the same one the task, if the statement returns a row.

    Returns the statement's columns, and `outbox_id`, which is null if there is a task with this id.
    """
    written = statement.cte("written")
    stored = _insertion(written, is_ordered=is_ordered).cte("stored")
    return select(*written.c, stored.c.outbox_id).select_from(written.outerjoin(stored, true()))


_ENTRY = (OutboxRow.id, OutboxRow.job_id, OutboxRow.packed, DUE_AT, OutboxRow.order_key, OutboxRow.error)
_IS_BLOCKED = exists().where(_Earlier.order_key == OutboxRow.order_key, _Earlier.id < OutboxRow.id)
_CLAIMABLE = (
    select(OutboxRow.id)
    .where(
        OutboxRow.id > bindparam("beyond"),
        OutboxRow.claimed_until <= _NOW,
        ~OutboxRow.is_sent,
        or_(OutboxRow.order_key.is_(None), ~_IS_BLOCKED),
    )
    .order_by(OutboxRow.id)
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True)
    .cte("claimable")
)
CLAIM = update(OutboxRow).where(OutboxRow.id == _CLAIMABLE.c.id).values(claimed_until=_NOW + _LATER).returning(*_ENTRY)
"""Takes rows that no relay owns, oldest first, for `lease`."""
COMMITTED = select(*_ENTRY).where(_IDS, OutboxRow.order_key.is_(None))
"""Those of the rows that exist, which another connection can see only after their commit."""
FORGET = delete(OutboxRow).where(_IDS)
MARK_SENT = update(OutboxRow).where(_IDS).values(is_sent=True, error=None)
RELEASE = update(OutboxRow).where(_IDS).values(claimed_until=_NOW)
REFUSE = (
    update(OutboxRow)
    .where(OutboxRow.id == bindparam("row_id"))
    .values(claimed_until=_NOW + _LATER, error=bindparam("reason", type_=Text()))
)
SENT = (
    select(OutboxRow.id, OutboxRow.job_id)
    .where(OutboxRow.is_sent, OutboxRow.id > bindparam("beyond"))
    .order_by(OutboxRow.id)
    .limit(bindparam("limit"))
)
"""Tasks with an order key that the queue has."""
VACUUM = text(f"VACUUM (SKIP_LOCKED) {OutboxRow.__tablename__}")
