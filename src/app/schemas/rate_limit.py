from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from app.core.schemas import PositiveInt32, StrictInput, Text, omitted
from app.schemas.user import UserRead

MAX_PATH_LENGTH = 255
_LIMIT = Field(description="The number of requests allowed in any `period`.", examples=[10])
_PERIOD = Field(description="The length of the period, in seconds.", examples=[3600])


def sanitize_path(path: str) -> str:
    """A path as rules store it: `api/v1/tasks/task`, `/api/v1/tasks/task` and `api_v1_tasks_task` mean the same."""
    return path.strip("/").replace("/", "_")


def _check_path(value: str) -> str:
    path = sanitize_path(value)
    if not path or not path.isprintable():
        raise ValueError("a path is printable and not empty")
    return path


RulePath = Annotated[
    str,
    AfterValidator(_check_path),
    Field(
        min_length=1,
        max_length=MAX_PATH_LENGTH,
        description=(
            "The limited path, as requested (`api/v1/user/userson`) or as a template (`api/v1/user/{username}`). "
            "Slashes and underscores mean the same."
        ),
        examples=["api/v1/tasks/task"],
    ),
]
RuleName = Annotated[
    Text,
    Field(
        min_length=1,
        max_length=300,
        description="A name, unique in the tier. Default: `{path}:{limit}:{period}`.",
        examples=["api_v1_tasks_task:10:3600"],
    ),
]
Limit = Annotated[PositiveInt32, _LIMIT]
Period = Annotated[PositiveInt32, _PERIOD]


class RateLimitBase(BaseModel):
    path: RulePath
    limit: Limit
    period: Period


class RateLimitCreate(StrictInput, RateLimitBase):
    """A new rate limit of a tier."""

    name: RuleName = omitted()


class RateLimitCreateInternal(RateLimitBase):
    """A rate limit as it is stored."""

    tier_id: int | None = None
    """Where the tier is not given as the row's parent."""
    name: str

    @model_validator(mode="before")
    @classmethod
    def _name_after_the_rule(cls, values: dict[str, object]) -> dict[str, object]:
        return {"name": "{path}:{limit}:{period}".format(**values), **values}


class RateLimitRead(BaseModel):
    """A rate limit: how many requests to a path each user of a tier may send."""

    model_config = ConfigDict(from_attributes=True)

    id: Annotated[int, Field(description="The rate limit's number.", examples=[1])]
    tier_id: Annotated[int, Field(description="The `id` of the tier.", examples=[1])]
    name: Annotated[str, Field(description="The name, unique in the tier.", examples=["api_v1_tasks_task:10:3600"])]
    path: Annotated[
        str,
        Field(
            description="The limited path, with `_` for `/`; `api_v1_user_{username}` is a template.",
            examples=["api_v1_tasks_task"],
        ),
    ]
    limit: Annotated[int, _LIMIT]
    period: Annotated[int, _PERIOD]


class RateLimitUpdate(StrictInput):
    """The fields of a rate limit to change."""

    path: RulePath = omitted()
    limit: Limit = omitted()
    period: Period = omitted()
    name: RuleName = omitted()


class UserReadWithRateLimits(UserRead):
    """A user with the rate limits of their tier."""

    tier_rate_limits: Annotated[
        list[RateLimitRead], Field(description="The rate limits of the user's tier; empty without a tier.")
    ]
