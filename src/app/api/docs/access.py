"""Who may read the documentation in staging: superusers, with an access token or through the browser's own prompt."""

import base64
import binascii
from html import escape
from http import HTTPStatus
from typing import Annotated

from fastapi import Depends, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi.security.utils import get_authorization_scheme_param

from app.api.address_limits import limit_login
from app.api.authentication import Passwords
from app.api.dependencies import BearerToken, Db, OptionalUser
from app.api.responses import INVALID_TOKEN, NOT_AUTHENTICATED, NOT_SUPERUSER, ErrorCase
from app.core.exceptions.http_exceptions import CustomException
from app.crud.crud_users import StoredUser

CHALLENGE = {"WWW-Authenticate": 'Basic realm="API documentation", charset="UTF-8"'}
LOG_IN = (
    "The documentation of this API is for superusers. "
    "Reload the page, and enter the username or email address and the password of a superuser."
)
NOT_FOR_USER = (
    "The documentation of this API is for superusers, and {username} is not one. To log in as another user, "
    "open this page in a private window, or close the browser and open it again."
)
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>{status}</title></head>
<body><h1>{status}</h1><p>{detail}</p><p>{explanation}</p></body>
</html>
"""


class DocsRefusedError(CustomException):
    """401 with a challenge that makes a browser ask for a password, or 403; `explanation` describes what to do."""

    def __init__(self, case: ErrorCase, explanation: str) -> None:
        super().__init__(case.detail, status_code=case.status)
        self.headers = CHALLENGE if case.status == HTTPStatus.UNAUTHORIZED else None
        self.explanation = explanation


async def explain_refusal(request: Request, error: DocsRefusedError) -> Response:
    """For a browser a page, for programs the JSON of every other error."""
    if "text/html" not in request.headers.get("Accept", ""):
        return JSONResponse({"detail": error.detail}, error.status_code, error.headers)
    status = f"{error.status_code} {HTTPStatus(error.status_code).phrase}"
    page = _PAGE.format(status=status, detail=escape(error.detail), explanation=escape(error.explanation))
    return HTMLResponse(page, error.status_code, error.headers)


def _basic_credentials(request: Request) -> tuple[str, str] | None:
    """Username and password (RFC 7617); None if there are none that a user can have."""
    scheme, parameter = get_authorization_scheme_param(request.headers.get("Authorization"))
    if scheme.lower() != "basic":
        return None
    try:
        decoded = base64.b64decode(parameter, validate=True).decode()
    except (binascii.Error, ValueError):
        return None
    username, colon, password = decoded.partition(":")
    return (username, password) if colon and "\x00" not in decoded else None


async def _prompted_user(request: Request, db: Db, passwords: Passwords) -> StoredUser | None:
    given = _basic_credentials(request)
    if given is None:
        return None
    await limit_login(request)
    found = await passwords.credentials(db, *given)
    return found.user if found else None


async def get_docs_reader(
    token: BearerToken,
    user: OptionalUser,
    prompted: Annotated[StoredUser | None, Depends(_prompted_user)],
) -> StoredUser:
    reader = user or prompted
    if reader is None:
        raise DocsRefusedError(INVALID_TOKEN if token else NOT_AUTHENTICATED, LOG_IN)
    if not reader.is_superuser:
        raise DocsRefusedError(NOT_SUPERUSER, NOT_FOR_USER.format(username=reader.username))
    return reader
