"""Who may read the docs in staging: a superuser, by a bearer token or through the browser's own prompt."""

import base64
import binascii
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security.utils import get_authorization_scheme_param

from app.api.authentication import Passwords
from app.api.dependencies import BearerToken, Db, OptionalUser
from app.core.exceptions.http_exceptions import ForbiddenException, UnauthorizedException
from app.crud.crud_users import StoredUser

CHALLENGE = 'Basic realm="API documentation", charset="UTF-8"'


def _basic_credentials(request: Request) -> tuple[str, str] | None:
    """Username and password (RFC 7617), any character in both."""
    scheme, parameter = get_authorization_scheme_param(request.headers.get("Authorization"))
    if scheme.lower() != "basic":
        return None
    try:
        username, colon, password = base64.b64decode(parameter, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return None
    return (username, password) if colon else None


async def _prompted_user(request: Request, db: Db, passwords: Passwords) -> StoredUser | None:
    given = _basic_credentials(request)
    found = await passwords.credentials(db, *given) if given else None
    return found.user if found else None


async def get_docs_reader(
    token: BearerToken,
    user: OptionalUser,
    prompted: Annotated[StoredUser | None, Depends(_prompted_user)],
) -> StoredUser:
    """A superuser; raises 401 with a challenge that makes a browser ask."""
    reader = user or prompted
    if reader is None:
        raise UnauthorizedException("User not authenticated." if token else "Not authenticated", challenge=CHALLENGE)
    if not reader.is_superuser:
        raise ForbiddenException("You do not have enough privileges.")
    return reader
