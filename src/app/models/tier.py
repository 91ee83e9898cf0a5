from sqlalchemy import String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db.database import Base
from app.core.db.models import TimestampMixin


class Tier(TimestampMixin, Base):
    """A category of users, to which rate limits belong."""

    __tablename__ = "tier"
    __table_args__ = (UniqueConstraint("name", info={"detail": "Tier Name not available"}),)

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    name: Mapped[str] = mapped_column(String(50))
