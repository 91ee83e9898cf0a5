"""The one place where tokens are signed and verified, so that another library can take the place of python-jose."""

from collections.abc import Mapping
from typing import Any

from jose import JWTError, jwt

from app.core.config import CryptSettings

_REQUIRED = {"require_exp": True, "require_iat": True, "require_sub": True, "require_jti": True}


def sign(claims: Mapping[str, Any], settings: CryptSettings) -> str:
    """A JSON Web Token (RFC 7519) with these claims."""
    return jwt.encode(dict(claims), settings.SECRET_KEY, algorithm=settings.ALGORITHM)


def verify(token: str, settings: CryptSettings) -> dict[str, Any] | None:
    """The claims of a token that was signed with the settings' key and algorithm and has not expired; else None."""
    try:
        return jwt.decode(token, settings.SECRET_KEY, algorithms=[settings.ALGORITHM], options=_REQUIRED)
    # python-jose does not catch the errors of malformed parts
    except (JWTError, ValueError, TypeError, OverflowError, RecursionError):
        return None
