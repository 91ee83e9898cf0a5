from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from app.core.schemas import CreatedAt, StrictInput, omitted

_NAME = Field(
    description="The unique name, 1 to 50 printable characters without `/`; not `.` or `..`.", examples=["free"]
)


def _check_tier_name(value: str) -> str:
    if not value.isprintable() or "/" in value or value in {".", ".."}:
        raise ValueError("a tier's name is printable, has no '/', and is not '.' or '..', which paths cannot end with")
    return value


TierName = Annotated[str, AfterValidator(_check_tier_name), Field(min_length=1, max_length=50), _NAME]


class TierBase(BaseModel):
    name: TierName


class TierCreate(StrictInput, TierBase):
    """A new tier."""


class TierCreateInternal(TierBase):
    """A tier as it is stored."""


class TierRead(BaseModel):
    """A tier: a group of users with the same rate limits."""

    model_config = ConfigDict(from_attributes=True)

    id: Annotated[int, Field(description="The tier's number.", examples=[1])]
    name: Annotated[str, _NAME]
    created_at: CreatedAt


class TierUpdate(StrictInput):
    """The fields of a tier to change."""

    name: TierName = omitted()
