"""The responses of an operation, as the OpenAPI document shows them.

An endpoint names its message and the errors that it raises itself:
`responses=message("Tier deleted") | errors(TIER_NOT_FOUND)`. A dependency declares its errors once, with `raises`:
they are documented for every operation that uses it. `app.api.docs` adds what any operation can return.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeVar

from pydantic import BaseModel

from app.core.schemas import ErrorDetail, InvalidRequest, Message

Responses = dict[int | str, dict[str, Any]]
Declared = TypeVar("Declared", bound=Callable[..., Any])
REFERENCE = "#/components/schemas/{model}"
_ATTRIBUTE = "documented_errors"


def reference(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": REFERENCE.format(model=model.__name__)}


@dataclass(frozen=True, slots=True)
class ErrorCase:
    """One reason for which a request fails: `detail` is the response's, `reason` is for the reader of the docs."""

    status: HTTPStatus
    detail: str
    reason: str

    @property
    def schema(self) -> dict[str, str]:
        """The body's schema, by its name in the OpenAPI document: FastAPI would build each model anew in each route."""
        return reference(InvalidRequest if self.status == HTTPStatus.UNPROCESSABLE_ENTITY else ErrorDetail)

    @property
    def examples(self) -> dict[str, Any]:
        """The OpenAPI document's named example."""
        name = re.sub(r"\W+", "_", self.detail.lower()).strip("_")
        return {name: {"summary": self.reason, "value": {"detail": self.detail}}}


def unauthorized(detail: str, reason: str) -> ErrorCase:
    return ErrorCase(HTTPStatus.UNAUTHORIZED, detail, reason)


def forbidden(detail: str, reason: str) -> ErrorCase:
    return ErrorCase(HTTPStatus.FORBIDDEN, detail, reason)


def not_found(what: str, reason: str) -> ErrorCase:
    """`what` is the entity's name in `Post not found`."""
    return ErrorCase(HTTPStatus.NOT_FOUND, f"{what} not found", reason)


def unprocessable(detail: str, reason: str) -> ErrorCase:
    return ErrorCase(HTTPStatus.UNPROCESSABLE_ENTITY, detail, reason)


def too_many_requests(detail: str, reason: str) -> ErrorCase:
    return ErrorCase(HTTPStatus.TOO_MANY_REQUESTS, detail, reason)


def unavailable(detail: str, reason: str) -> ErrorCase:
    return ErrorCase(HTTPStatus.SERVICE_UNAVAILABLE, detail, reason)


NOT_AUTHENTICATED = unauthorized("Not authenticated", "The request has no access token.")
INVALID_TOKEN = unauthorized("User not authenticated.", "The access token is invalid, expired or revoked.")
NOT_SUPERUSER = forbidden("You do not have enough privileges.", "The caller is not a superuser.")
NOT_OWNER = forbidden(
    "Request forbidden -- authorization will not help", "The caller is another user. A superuser is refused too."
)
USER_NOT_FOUND = not_found("User", "The user does not exist or is deleted.")
POST_NOT_FOUND = not_found("Post", "The post does not exist, is deleted, or has another author.")
TIER_NOT_FOUND = not_found("Tier", "The tier does not exist.")
RATE_LIMIT_NOT_FOUND = not_found("Rate Limit", "The tier has no rate limit with this id.")
TASK_NOT_FOUND = not_found("Task", "The task does not exist, its result has expired, or another user submitted it.")
NOT_COUNTED = unavailable(
    "Requests cannot be counted, try again.", "Redis is unavailable, and `RATE_LIMIT_FAIL_OPEN` is false."
)
RATE_LIMITED = too_many_requests("Rate limit exceeded.", "The caller has sent too many requests.")
LOCKED_OUT = too_many_requests(
    "Too many failed logins.", "Too many wrong passwords for this user were sent from this address."
)


def errors(*cases: ErrorCase) -> Responses:
    """For `responses=` of an endpoint: the errors that it raises itself, without those of its dependencies."""
    responses: Responses = {}
    for case in cases:
        content: dict[str, Any] = {"application/json": {"schema": case.schema, "examples": {}}}
        empty = {"description": case.status.phrase, "content": content}
        responses.setdefault(case.status.value, empty)["content"]["application/json"]["examples"] |= case.examples
    return responses


def message(text: str) -> Responses:
    """For `responses=` of an endpoint that returns a `Message`: the text, with which it succeeds."""
    content = {"application/json": {"example": Message(message=text).model_dump()}}
    return {HTTPStatus.OK.value: {"description": text, "content": content}}


def raises(*cases: ErrorCase) -> Callable[[Declared], Declared]:
    """Declares the errors of a dependency."""

    def declare(dependency: Declared) -> Declared:
        setattr(dependency, _ATTRIBUTE, cases)
        return dependency

    return declare


def raised_by(dependency: Callable[..., Any] | None) -> tuple[ErrorCase, ...]:
    cases: tuple[ErrorCase, ...] = getattr(dependency, _ATTRIBUTE, ())
    return cases
