"""Field types and models that many schemas share."""

from datetime import UTC, datetime
from typing import Annotated, Any
from unicodedata import normalize

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    EmailStr,
    Field,
    HttpUrl,
    TypeAdapter,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

MIN_INT32, MAX_INT32 = -(2**31), 2**31 - 1
MAX_URL_LENGTH = 2083
MAX_FIELDS = 100
EXAMPLE_TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIwMTkzNWYwYSJ9.c2lnbmF0dXJl"  # noqa: S105 - it opens nothing

_http_url: TypeAdapter[HttpUrl] = TypeAdapter(HttpUrl)


def _refuse_nul(value: str) -> str:
    if "\x00" in value:
        raise ValueError("NUL characters are not allowed")
    return value


def _check_http_url(value: str) -> str:
    if not value.isprintable() or " " in value:
        raise ValueError("whitespace and control characters are not allowed")
    _http_url.validate_python(value)
    return value


def _normalize_email(value: str) -> str:
    # EmailStr has composed the characters (NFC) and decoded the domain (IDNA): lower case may undo the former.
    return normalize("NFC", value.lower())


def _to_utc(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("the time is before the year 1 or after the year 9999 in UTC") from None


def _check_digits(value: object) -> object:
    # Pydantic also reads ` 1`, `+1`, `1_0` and `1.0` as integers: one resource would have many paths.
    if isinstance(value, str) and not (value.isascii() and value.isdigit()):
        raise ValueError("an id is written in decimal digits")
    return value


Text = Annotated[str, AfterValidator(_refuse_nul)]
"""A string that PostgreSQL can hold."""

HttpUrlText = Annotated[
    str,
    AfterValidator(_check_http_url),
    Field(max_length=MAX_URL_LENGTH),
    WithJsonSchema({"type": "string", "format": "uri", "minLength": 1, "maxLength": MAX_URL_LENGTH}),
]
"""An http(s) URL, kept as it was written."""

EmailText = Annotated[EmailStr, AfterValidator(_normalize_email), Field(max_length=254)]
"""An email address in lower case."""

UtcDatetime = Annotated[AwareDatetime, AfterValidator(_to_utc)]
"""A time with its offset from UTC, converted to UTC."""

Int32 = Annotated[int, Field(ge=MIN_INT32, le=MAX_INT32)]
Id = Annotated[int, Field(ge=1, le=MAX_INT32)]
DIGITS_ONLY = BeforeValidator(_check_digits)
"""For ids in paths."""
PositiveInt32 = Annotated[int, Field(ge=1, le=MAX_INT32)]
TotalCount = Annotated[int, Field(description="The number of items in the whole list.", examples=[1])]
HasMore = Annotated[bool, Field(description="Whether the list continues after this page.", examples=[False])]
PageNumber = Annotated[int, Field(description="The number of the page, from 1.", examples=[1])]
ItemsPerPage = Annotated[int, Field(description="The largest number of items on a page.", examples=[10])]
CreatedAt = Annotated[datetime, Field(description="The time of creation, in UTC.", examples=["2026-01-01T12:00:00Z"])]


def omitted() -> Any:
    """The default of a field that an update may leave out but not set to null.

    Its value means nothing: only `model_dump(exclude_unset=True)` of such a schema is used.
    """
    return Field(default_factory=lambda: None)


class StrictInput(BaseModel):
    """The base of what clients send: an unknown field is an error.

    An object with more than `MAX_FIELDS` is one error: a body of 1 MiB has room for 60,000 unknown fields, and an error
    for each takes a third of a second to build.
    """

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _check_size(cls, data: Any) -> Any:
        if isinstance(data, dict) and len(data) > MAX_FIELDS:
            raise PydanticCustomError("too_many_fields", "At most {limit} fields are allowed", {"limit": MAX_FIELDS})
        return data


class Message(BaseModel):
    """The result of a change."""

    message: Annotated[str, Field(description="What was changed.", examples=["User updated"])]


class Token(BaseModel):
    """A new access token."""

    access_token: Annotated[
        str, Field(description="Send it as `Authorization: Bearer <access_token>`.", examples=[EXAMPLE_TOKEN])
    ]
    token_type: Annotated[str, Field(description="Always `bearer`.", examples=["bearer"])]


class ErrorDetail(BaseModel):
    """Why the request failed."""

    detail: Annotated[str, Field(description="The reason, in words.", examples=["Not Found"])]


class InvalidField(BaseModel):
    """One invalid value of a request."""

    type: Annotated[str, Field(description="The kind of error, for programs.", examples=["missing"])]
    loc: Annotated[
        list[str | int],
        Field(
            description="The place: `path`, `query`, `header`, `cookie` or `body`, then names and indexes.",
            examples=[["body", "name"]],
        ),
    ]
    msg: Annotated[str, Field(description="What is wrong with the value, in words.", examples=["Field required"])]


class InvalidRequest(BaseModel):
    """Why the values of the request were refused."""

    detail: Annotated[
        list[InvalidField] | str,
        Field(
            description="The invalid values; or one sentence, if valid values conflict with stored ones or each other.",
            examples=[
                [{"type": "missing", "loc": ["body", "name"], "msg": "Field required"}],
                "Username not available",
            ],
        ),
    ]


class Health(BaseModel):
    """The state of the process."""

    status: Annotated[str, Field(description="Always `ok`.", examples=["ok"])]


class Readiness(Health):
    """The state of the services that the process needs."""

    detail: Annotated[str | None, Field(description="Always `null`.", examples=[None])] = None
    parts: Annotated[
        dict[str, str],
        Field(
            description="The services that the settings switch on, each with its state.",
            examples=[{"database": "ok", "cache": "ok", "queue": "ok", "rate_limiter": "ok"}],
        ),
    ]
