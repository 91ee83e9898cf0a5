from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from app.core.schemas import PositiveInt32, StrictInput, Text, omitted
from app.schemas.user import UserRead

MAX_PATH_LENGTH = 255


def sanitize_path(path: str) -> str:
    """A path as rules store it: `api/v1/tasks/task`, `/api/v1/tasks/task` and `api_v1_tasks_task` mean the same."""
    return path.strip("/").replace("/", "_")


def _check_path(value: str) -> str:
    path = sanitize_path(value)
    if not path or not path.isprintable():
        raise ValueError("a path is printable and not empty")
    return path


RulePath = Annotated[
    str, AfterValidator(_check_path), Field(min_length=1, max_length=MAX_PATH_LENGTH, examples=["api/v1/tasks/task"])
]
RuleName = Annotated[Text, Field(min_length=1, max_length=300, examples=["tasks:10:3600"])]


class RateLimitBase(BaseModel):
    path: RulePath
    limit: Annotated[PositiveInt32, Field(examples=[10])]
    period: Annotated[PositiveInt32, Field(description="seconds", examples=[3600])]


class RateLimitCreate(StrictInput, RateLimitBase):
    name: RuleName = omitted()


class RateLimitCreateInternal(RateLimitBase):
    """A rule as it is stored."""

    tier_id: int
    name: str

    @model_validator(mode="before")
    @classmethod
    def _name_after_the_rule(cls, values: dict[str, object]) -> dict[str, object]:
        return {"name": "{path}:{limit}:{period}".format(**values), **values}


class RateLimitRead(BaseModel):
    """What anybody may see."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    tier_id: int
    name: str
    path: str
    limit: int
    period: int


class RateLimitUpdate(StrictInput):
    path: RulePath = omitted()
    limit: PositiveInt32 = omitted()
    period: PositiveInt32 = omitted()
    name: RuleName = omitted()


class UserReadWithRateLimits(UserRead):
    """A user with the rules of its tier."""

    tier_rate_limits: list[RateLimitRead]
