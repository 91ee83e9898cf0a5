"""Columns that many tables share."""

from datetime import datetime
from uuid import UUID, uuid4

from sqlalchemy import DateTime, func
from sqlalchemy.orm import Mapped, MappedAsDataclass, mapped_column


class UUIDMixin(MappedAsDataclass):
    """An identity that never changes and is independent of the row's contents."""

    uuid: Mapped[UUID] = mapped_column(default_factory=uuid4, unique=True, init=False)


class TimestampMixin(MappedAsDataclass):
    """When the row was made, by the database's clock, and when it was last changed."""

    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now(), init=False)
    updated_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True), default=None, init=False)


class PersistentDeletion(MappedAsDataclass):
    """A deleted row stays in the table and is hidden by every query."""

    deleted_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True), default=None, init=False)
    is_deleted: Mapped[bool] = mapped_column(default=False, init=False)
