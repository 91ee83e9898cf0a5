"""The table `outbox`: tasks that are committed, and not yet in the queue."""

from datetime import UTC, datetime

from sqlalchemy import BigInteger, DateTime, Identity, Index, String, func, text
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db.database import Base

MAX_JOB_ID = 100
MAX_KEY = 200


class OutboxRow(Base):
    """One task. `job_id` is its id in the queue, and an idempotency key: it is unique.

    A relay owns the row until `claimed_until`. A task with an `order_key` is sent and stays until it has ended; the
    next one with the key waits for that. `error` is Redis' reason for refusing the task.
    """

    __tablename__ = "outbox"
    __table_args__ = (
        Index(None, "order_key", "id", postgresql_where=text("order_key IS NOT NULL")),
        Index("ix_outbox_sent", "id", postgresql_where=text("is_sent")),
        Index("ix_outbox_refused", "id", postgresql_where=text("error IS NOT NULL")),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True, init=False)
    job_id: Mapped[str] = mapped_column(String(MAX_JOB_ID), unique=True)
    function: Mapped[str]
    packed: Mapped[bytes]
    due_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    claimed_until: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    order_key: Mapped[str | None] = mapped_column(String(MAX_KEY), default=None)
    request_id: Mapped[str | None] = mapped_column(String(64), default=None)
    traceparent: Mapped[str | None] = mapped_column(default=None)
    is_sent: Mapped[bool] = mapped_column(server_default=text("false"), init=False)
    error: Mapped[str | None] = mapped_column(default=None, init=False)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now(), init=False)


_FIRST, _LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)
DUE_AT = func.greatest(func.least(OutboxRow.due_at, _LAST), _FIRST).label("due_at")
"""`due_at` as Python can read it: one row with another date, written by hand, must not hold up the others."""
