"""Tiers, by name."""

from sqlalchemy import bindparam, select

from app.core.db.database import Database
from app.core.exceptions.data_exceptions import RowNotFoundError
from app.crud.crud_base import CRUDBase
from app.crud.helper import Listed, Listing, Window, columns
from app.models.tier import Tier
from app.schemas.tier import TierCreateInternal, TierRead, TierUpdate

_BY_NAME = select(*columns(Tier, TierRead)).where(Tier.name == bindparam("name"))
_ID_BY_NAME = select(Tier.id).where(Tier.name == bindparam("name"))
_LISTING = Listing(Tier, TierRead)


class CRUDTier(CRUDBase[Tier, TierCreateInternal, TierUpdate, TierRead]):
    """The categories of users."""

    async def read(self, database: Database, name: str) -> TierRead:
        row = await database.fetch_one(_BY_NAME, {"name": name})
        if row is None:
            raise RowNotFoundError(self.entity)
        return TierRead.model_validate(row)

    async def find_id(self, database: Database, name: str) -> int | None:
        """None if there is no tier of this name."""
        row = await database.fetch_one(_ID_BY_NAME, {"name": name})
        return row.id if row else None

    async def read_page(self, database: Database, window: Window) -> Listed:
        return await _LISTING.fetch(database, window)


crud_tiers = CRUDTier(Tier)
