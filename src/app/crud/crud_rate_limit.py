"""The rules of one tier."""

from sqlalchemy import and_, bindparam, select

from app.core.db.database import Database
from app.core.exceptions.data_exceptions import RowNotFoundError
from app.crud.crud_base import CRUDBase
from app.crud.helper import Listed, Listing, Parent, Window, columns
from app.models.rate_limit import RateLimit
from app.models.tier import Tier
from app.schemas.rate_limit import (
    RateLimitCreateInternal,
    RateLimitDelete,
    RateLimitRead,
    RateLimitUpdate,
    RateLimitUpdateInternal,
)

_TIER = select(Tier.id).where(Tier.name == bindparam("tier_name"))
_BY_TIER = (
    select(*columns(RateLimit, RateLimitRead))
    .select_from(Tier)
    .outerjoin(RateLimit, and_(RateLimit.tier_id == Tier.id, RateLimit.id == bindparam("id")))
    .where(Tier.name == bindparam("tier_name"))
)
_OF_TIER_ID = (
    select(*columns(RateLimit, RateLimitRead)).where(RateLimit.tier_id == bindparam("tier_id")).order_by(RateLimit.id)
)
_LISTING = Listing(RateLimit, RateLimitRead, parent=Parent(_TIER, RateLimit.tier_id, "Tier"))


class CRUDRateLimit(
    CRUDBase[
        RateLimit, RateLimitCreateInternal, RateLimitUpdate, RateLimitUpdateInternal, RateLimitDelete, RateLimitRead
    ]
):
    """How often a tier's users may call a path."""

    entity = "Rate Limit"

    async def read(self, database: Database, tier_name: str, rate_limit_id: int) -> RateLimitRead:
        row = await database.fetch_one(_BY_TIER, {"tier_name": tier_name, "id": rate_limit_id})
        if row is None:
            raise RowNotFoundError("Tier")
        if row.id is None:
            raise RowNotFoundError(self.entity)
        return RateLimitRead.model_validate(row)

    async def read_page(self, database: Database, window: Window, tier_name: str) -> Listed:
        return await _LISTING.fetch(database, window, {"tier_name": tier_name})

    async def read_all_of_tier(self, database: Database, tier_id: int) -> list[RateLimitRead]:
        rows = await database.fetch_all(_OF_TIER_ID, {"tier_id": tier_id})
        return [RateLimitRead.model_validate(row) for row in rows]


crud_rate_limits = CRUDRateLimit(RateLimit)
