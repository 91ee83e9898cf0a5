from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from app.core.schemas import StrictInput, omitted


def _check_tier_name(value: str) -> str:
    if not value.isprintable() or "/" in value:
        raise ValueError("a tier's name is printable and has no '/'")
    return value


TierName = Annotated[str, AfterValidator(_check_tier_name), Field(min_length=1, max_length=50, examples=["free"])]


class TierBase(BaseModel):
    name: TierName


class TierCreate(StrictInput, TierBase):
    pass


class TierCreateInternal(TierBase):
    """A tier as it is stored."""


class TierRead(BaseModel):
    """What anybody may see."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    name: str
    created_at: datetime


class TierUpdate(StrictInput):
    name: TierName = omitted()
