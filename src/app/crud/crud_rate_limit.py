"""The rules of one tier."""

from dataclasses import dataclass

from sqlalchemy import and_, bindparam, select

from app.core.db.database import Database
from app.core.exceptions.data_exceptions import RowNotFoundError
from app.crud.crud_base import CRUDBase
from app.crud.helper import Listed, Listing, Parent, ParentRow, Window, columns
from app.models.rate_limit import RateLimit
from app.models.tier import Tier
from app.schemas.rate_limit import RateLimitCreateInternal, RateLimitRead, RateLimitUpdate

RULE_COLUMNS = (RateLimit.path, RateLimit.limit, RateLimit.period)
"""Those of `TierRule`."""
MATCHES_PATHS = RateLimit.path.in_([bindparam("literal"), bindparam("template")])
"""The condition whose parameters are the fields of `RulePaths`."""
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
_OF_TIER_ID_AND_PATHS = select(*RULE_COLUMNS).where(RateLimit.tier_id == bindparam("tier_id"), MATCHES_PATHS)
_BY_TIER_NAME = Parent(_TIER, RateLimit.tier_id, "Tier")
_LISTING = Listing(RateLimit, RateLimitRead, parent=_BY_TIER_NAME)


def of_tier(name: str) -> ParentRow:
    """For writes to the rate limits of the tier with this name."""
    return ParentRow(_BY_TIER_NAME, {"tier_name": name})


@dataclass(frozen=True, slots=True)
class RulePaths:
    """The two paths under which a rule may be stored for a request; the same for a route without parameters."""

    literal: str
    template: str


@dataclass(frozen=True, slots=True)
class TierRule:
    """At most `limit` requests in any `period` seconds for the path as it is stored."""

    path: str
    limit: int
    period: int


class CRUDRateLimit(CRUDBase[RateLimit, RateLimitCreateInternal, RateLimitUpdate, RateLimitRead]):
    """How often a tier's users may call a path."""

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

    async def read_rules(self, database: Database, tier_id: int, paths: RulePaths) -> tuple[TierRule, ...]:
        rows = await database.fetch_all(
            _OF_TIER_ID_AND_PATHS, {"tier_id": tier_id, "literal": paths.literal, "template": paths.template}
        )
        return tuple(TierRule(row.path, row.limit, row.period) for row in rows)


crud_rate_limits = CRUDRateLimit(RateLimit)
