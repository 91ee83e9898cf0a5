from sqlalchemy import ForeignKeyConstraint, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db.database import Base
from app.core.db.models import PersistentDeletion, TimestampMixin, UUIDMixin


class Post(UUIDMixin, TimestampMixin, PersistentDeletion, Base):
    """A text of one user; deleted with its author's row."""

    __tablename__ = "post"
    __table_args__ = (
        ForeignKeyConstraint(
            ["created_by_user_id"], ["user.id"], ondelete="CASCADE", info={"detail": "User not found"}
        ),
        Index(None, "created_by_user_id", "id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    created_by_user_id: Mapped[int]
    title: Mapped[str] = mapped_column(String(30))
    text: Mapped[str] = mapped_column(String(63206))
    media_url: Mapped[str | None] = mapped_column(String(2083), default=None)
