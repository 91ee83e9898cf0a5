from sqlalchemy import ForeignKeyConstraint, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db.database import Base
from app.core.db.models import PersistentDeletion, TimestampMixin, UUIDMixin


class User(UUIDMixin, TimestampMixin, PersistentDeletion, Base):
    """An account. Username and email stay taken after a soft deletion. If its tier is deleted, it has no tier."""

    __tablename__ = "user"
    __table_args__ = (
        UniqueConstraint("email", info={"detail": "Email is already registered"}),
        UniqueConstraint("username", info={"detail": "Username not available"}),
        ForeignKeyConstraint(["tier_id"], ["tier.id"], ondelete="SET NULL", info={"detail": "Tier not found"}),
    )

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    name: Mapped[str] = mapped_column(String(30))
    username: Mapped[str] = mapped_column(String(20))
    email: Mapped[str] = mapped_column(String(254))
    hashed_password: Mapped[str] = mapped_column(String(60), repr=False)
    profile_image_url: Mapped[str] = mapped_column(String(2083), default="https://profileimageurl.com")
    is_superuser: Mapped[bool] = mapped_column(default=False)
    tier_id: Mapped[int | None] = mapped_column(index=True, default=None)
