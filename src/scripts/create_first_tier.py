"""Creates the tier that the settings name; changes nothing if it exists.

python -m src.scripts.create_first_tier
"""

import sys

from pydantic import ValidationError
from sqlalchemy.exc import IntegrityError

from app.core.config import settings
from app.core.db.database import Database
from app.core.exceptions.data_exceptions import RowNotFoundError
from app.crud.crud_tier import crud_tiers
from app.schemas.tier import TierCreateInternal, TierRead
from src.scripts.first_rows import explain, run


async def create_tier(database: Database) -> str:
    try:
        wanted = TierCreateInternal(name=settings.TIER_NAME)
    except ValidationError as error:
        raise explain(error, "TIER_") from None
    try:
        await crud_tiers.read(database, wanted.name)
        return f"tier {wanted.name} exists already and was not changed"
    except RowNotFoundError:
        pass
    try:
        await crud_tiers.add(database, wanted, TierRead)
    except IntegrityError:
        return f"tier {wanted.name} exists already and was not changed"
    return f"tier {wanted.name} created"


def main() -> int:
    return run(create_tier)


if __name__ == "__main__":
    sys.exit(main())
