"""Field types and models that many schemas share."""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, HttpUrl, TypeAdapter, WithJsonSchema

MAX_INT32 = 2**31 - 1
MAX_URL_LENGTH = 2083

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


Text = Annotated[str, AfterValidator(_refuse_nul)]
"""A string that PostgreSQL can hold."""

HttpUrlText = Annotated[
    str,
    AfterValidator(_check_http_url),
    Field(max_length=MAX_URL_LENGTH),
    WithJsonSchema({"type": "string", "format": "uri", "minLength": 1, "maxLength": MAX_URL_LENGTH}),
]
"""An http(s) URL, kept as it was written."""

Id = Annotated[int, Field(ge=1, le=MAX_INT32)]
PositiveInt32 = Annotated[int, Field(ge=1, le=MAX_INT32)]


def omitted() -> Any:
    """The default of a field that an update may leave out but not set to null.

    Its value means nothing: only `model_dump(exclude_unset=True)` of such a schema is used.
    """
    return Field(default_factory=lambda: None)


class StrictInput(BaseModel):
    """The base of what clients send: an unknown field is an error, not a surprise."""

    model_config = ConfigDict(extra="forbid")


class Message(BaseModel):
    """What was done."""

    message: str


class Token(BaseModel):
    """An access token and how to send it."""

    access_token: str
    token_type: str


class ErrorDetail(BaseModel):
    """Why a request was refused."""

    detail: str


class InvalidField(BaseModel):
    """One thing that is wrong with a request, and where."""

    type: str
    loc: list[str | int]
    msg: str


class InvalidRequest(BaseModel):
    """Why a request's values were refused: what is wrong with them, or what they collide with."""

    detail: list[InvalidField] | str


class Health(BaseModel):
    """Whether the process, or what it needs, works."""

    status: str


class Readiness(Health):
    """Each part that is needed, and `ok` or what is wrong with it."""

    detail: str | None = None
    parts: dict[str, str]
