"""The one place where tokens are signed and verified, so that another library can take the place of PyJWT."""

from collections.abc import Mapping
from typing import Any

import jwt
from jwt.types import Options

from app.core.config import CryptSettings

# Servers' clocks differ: a token that another one has just issued is valid here.
_OPTIONS: Options = {"require": ["exp", "iat", "sub", "jti"], "verify_iat": False}


def sign(claims: Mapping[str, Any], settings: CryptSettings) -> str:
    """A JSON Web Token (RFC 7519) with these claims."""
    return jwt.encode(dict(claims), settings.SECRET_KEY, algorithm=settings.ALGORITHM)


def verify(token: str, settings: CryptSettings) -> dict[str, Any] | None:
    """The claims of a token that was signed with the settings' key and algorithm and has not expired; else None."""
    try:
        return jwt.decode(token, settings.SECRET_KEY, algorithms=[settings.ALGORITHM], options=_OPTIONS)
    except (jwt.InvalidTokenError, ValueError, RecursionError):  # PyJWT does not catch all errors of malformed parts
        return None
