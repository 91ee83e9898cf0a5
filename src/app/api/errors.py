"""The response to every error has the shape `{"detail": ...}`."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from redis.exceptions import RedisError
from sqlalchemy import Constraint
from sqlalchemy.exc import DBAPIError, IntegrityError

from app.core.db.database import Base
from app.core.db.errors import OUTAGES, PoolTimeoutError, constraint_name, is_invalid_value, is_temporary, sqlstate
from app.core.exceptions.data_exceptions import RowNotFoundError
from app.core.features import FeatureDisabledError

logger = logging.getLogger(__name__)

RETRY_AFTER_SECONDS = 1
MAX_SHOWN_CHARACTERS = 200
MAX_SHOWN_PROBLEMS = 20
VIOLATIONS = {
    "23503": (404, "A referenced row was not found"),
    "23505": (422, "The value is not available"),
}
"""Status and default detail of a foreign key's and a unique constraint's violation."""


def _error(status_code: int, detail: object, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"detail": detail}, status_code, headers)


def _unavailable(request: Request, error: Exception) -> JSONResponse:
    logger.error("%s %s: a service is unavailable: %r", request.method, request.url.path, error)
    return _error(503, "Service unavailable, try again.", {"Retry-After": str(RETRY_AFTER_SECONDS)})


def _constraint(name: str | None) -> Constraint | None:
    constraints = (constraint for table in Base.metadata.tables.values() for constraint in table.constraints)
    return next((constraint for constraint in constraints if constraint.name == name), None)


def _violation(error: IntegrityError) -> JSONResponse:
    """The detail that the model gives its constraint (`info={"detail": ...}`), or the violation's default."""
    constraint = _constraint(constraint_name(error))
    detail = constraint.info.get("detail") if constraint is not None else None
    status, default = VIOLATIONS.get(sqlstate(error), (422, "The values violate a rule of the table"))
    return _error(status, detail or default)


async def _respond_not_found(request: Request, error: Exception) -> JSONResponse:
    return _error(404, str(error))


async def _respond_database_error(request: Request, error: Exception) -> JSONResponse:
    if is_temporary(error):
        return _unavailable(request, error)
    if isinstance(error, IntegrityError):
        return _violation(error)
    if is_invalid_value(error):
        return _error(422, "A value cannot be stored")
    raise error


async def _respond_outage(request: Request, error: Exception) -> JSONResponse:
    return _unavailable(request, error)


def _shown(text: str) -> str:
    return text[:MAX_SHOWN_CHARACTERS].encode(errors="replace").decode()


def shown_problems(problems: Sequence[Any]) -> list[dict[str, Any]]:
    """FastAPI's list without the input, which may be large, secret or not even text, and with a bounded length.

    A value that an endpoint and its dependency both take is in FastAPI's list twice, and here once.
    """
    shown = [
        {
            "type": problem["type"],
            "loc": [_shown(part) if isinstance(part, str) else part for part in problem["loc"]],
            "msg": _shown(problem["msg"]),
        }
        for problem in problems[:MAX_SHOWN_PROBLEMS]
    ]
    return [problem for index, problem in enumerate(shown) if problem not in shown[:index]]


async def _respond_invalid_request(request: Request, error: RequestValidationError) -> JSONResponse:
    return _error(422, shown_problems(error.errors()))


async def _respond_feature_disabled(request: Request, error: Exception) -> JSONResponse:
    logger.error("%s %s: %s", request.method, request.url.path, error)
    return _error(501, "This feature is switched off.")


async def _respond_unexpected(request: Request, error: Exception) -> JSONResponse:
    return _error(500, "Internal Server Error")


def install_error_handlers(app: FastAPI) -> None:
    app.exception_handler(RowNotFoundError)(_respond_not_found)
    app.exception_handler(RequestValidationError)(_respond_invalid_request)
    app.exception_handler(DBAPIError)(_respond_database_error)
    for outage in (*OUTAGES, PoolTimeoutError, RedisError):
        app.exception_handler(outage)(_respond_outage)
    app.exception_handler(FeatureDisabledError)(_respond_feature_disabled)
    app.exception_handler(Exception)(_respond_unexpected)
