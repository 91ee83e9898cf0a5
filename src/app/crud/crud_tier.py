"""Tiers, by name."""

from sqlalchemy import bindparam, select

from app.core.db.database import Database
from app.core.exceptions.data_exceptions import RowNotFoundError
from app.crud.crud_base import CRUDBase
from app.crud.helper import Listed, Listing, Window, columns
from app.models.tier import Tier
from app.schemas.tier import TierCreateInternal, TierRead, TierUpdate

_BY_NAME = select(*columns(Tier, TierRead)).where(Tier.name == bindparam("name"))
_LISTING = Listing(Tier, TierRead)


class CRUDTier(CRUDBase[Tier, TierCreateInternal, TierUpdate, TierRead]):
    """The categories of users."""

    async def read(self, database: Database, name: str) -> TierRead:
        row = await database.fetch_one(_BY_NAME, {"name": name})
        if row is None:
            raise RowNotFoundError(self.entity)
        return TierRead.model_validate(row)

    async def read_page(self, database: Database, window: Window) -> Listed:
        return await _LISTING.fetch(database, window)


crud_tiers = CRUDTier(Tier)
