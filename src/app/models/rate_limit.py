from sqlalchemy import CheckConstraint, ForeignKeyConstraint, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db.database import Base
from app.core.db.models import TimestampMixin


class RateLimit(TimestampMixin, Base):
    """How many requests a tier's users may make to one path in a period of seconds; deleted with its tier."""

    __tablename__ = "rate_limit"
    __table_args__ = (
        UniqueConstraint("tier_id", "name", info={"detail": "Rate Limit Name not available"}),
        UniqueConstraint("tier_id", "path", info={"detail": "The tier has a Rate Limit for this path"}),
        ForeignKeyConstraint(["tier_id"], ["tier.id"], ondelete="CASCADE", info={"detail": "Tier not found"}),
        CheckConstraint('"limit" >= 1', name="limit_positive"),
        CheckConstraint("period >= 1", name="period_positive"),
    )

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    tier_id: Mapped[int]
    name: Mapped[str] = mapped_column(String(300))
    path: Mapped[str] = mapped_column(String(255))
    limit: Mapped[int]
    period: Mapped[int]
