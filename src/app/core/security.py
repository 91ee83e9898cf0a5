"""Passwords and tokens: how they are created and verified, independent of storage and HTTP."""

import hashlib
import hmac
import secrets
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from uuid import UUID

import bcrypt

from app.core.config import CryptSettings
from app.core.signing import sign, verify

MAX_PASSWORD_BYTES = 72
"""bcrypt's limit; further bytes would be ignored silently."""
STAMP_DIGITS = 16
MAX_VERIFIED_TOKENS = 4096
"""About 500 bytes each."""


class TokenType(StrEnum):
    """The purpose of a token; a token of one type is refused where the other is expected."""

    ACCESS = "access"
    REFRESH = "refresh"


@dataclass(frozen=True, slots=True)
class TokenClaims:
    """The claims of a valid token.

    A session is a family of tokens: `jti` is `<family>.<serial>`, so that one look-up can end them all.
    """

    subject: UUID
    jti: str
    expires_at: datetime
    family: str = field(init=False, repr=False)
    family_digest: str = field(init=False, repr=False)
    """What the blacklist knows the family by; computed once, because a verified token is used many times."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "family", self.jti.partition(".")[0])
        object.__setattr__(self, "family_digest", digest(self.family))

    def began_with(self, hashed_password: str) -> bool:
        """Whether this is still the user's password; a changed one ends every session that began before."""
        return self.family.endswith(f"-{_password_stamp(hashed_password)}")


def digest(value: str) -> str:
    """The 64 hexadecimal digits that identify a token or a family in the blacklist."""
    return hashlib.sha256(value.encode()).hexdigest()


@lru_cache(MAX_VERIFIED_TOKENS)
def _password_stamp(hashed_password: str) -> str:
    # bcrypt's salt is random and secret, so the stamp cannot be used to test guessed passwords.
    return digest(hashed_password)[:STAMP_DIGITS]


def new_family(hashed_password: str) -> str:
    """The name of a new session, bound to the password it begins with, so that the two end together."""
    return f"{secrets.token_hex(16)}-{_password_stamp(hashed_password)}"


def token_lifetime(token_type: TokenType, settings: CryptSettings) -> timedelta:
    if token_type is TokenType.ACCESS:
        return timedelta(minutes=settings.ACCESS_TOKEN_EXPIRE_MINUTES)
    return timedelta(days=settings.REFRESH_TOKEN_EXPIRE_DAYS)


def successor_jti(jti: str, settings: CryptSettings) -> str:
    """The `jti` of the refresh token that follows on this one: the same for every use, and secret."""
    family = jti.partition(".")[0]
    return (
        f"{family}.{hmac.digest(settings.SECRET_KEY.encode(), f'successor:{jti}'.encode(), hashlib.sha256).hex()[:32]}"
    )


def create_token(
    subject: UUID, token_type: TokenType, family: str, settings: CryptSettings, jti: str | None = None
) -> str:
    """A signed token (RFC 7519) for the user with this uuid, valid from now for its type's lifetime."""
    now = datetime.now(UTC)
    claims = {
        "sub": str(subject),
        "iat": now,
        "exp": now + token_lifetime(token_type, settings),
        "jti": jti or f"{family}.{secrets.token_hex(8)}",
        "token_type": token_type.value,
    }
    return sign(claims, settings)


def decode_token(token: str, token_type: TokenType, settings: CryptSettings) -> TokenClaims | None:
    """The claims of a token that this application signed, that is of this type and has not expired; else None."""
    claims = verify(token, settings)
    if claims is None or claims.get("token_type") != token_type.value:
        return None
    try:
        expires_at = datetime.fromtimestamp(claims["exp"], UTC)
        return TokenClaims(subject=UUID(claims["sub"]), jti=claims["jti"], expires_at=expires_at)
    except (ValueError, TypeError, OverflowError, OSError):
        return None


class VerifiedTokens:
    """Access tokens with a verified signature: verifying it is the most expensive part of checking a token.

    The key is the token's digest. Only valid tokens are stored, so that forged ones displace none. Expiry is checked
    each time, and only the database decides whether a token is revoked.
    """

    def __init__(self, settings: CryptSettings, max_tokens: int = MAX_VERIFIED_TOKENS) -> None:
        self._settings = settings
        self._max_tokens = max_tokens
        self._claims: dict[bytes, TokenClaims] = {}

    def decode(self, token: str) -> TokenClaims | None:
        """What `decode_token` returns."""
        key = hashlib.sha256(token.encode(errors="replace")).digest()
        claims = self._claims.get(key)
        if claims is None:
            return self._remember(key, decode_token(token, TokenType.ACCESS, self._settings))
        if claims.expires_at.timestamp() < int(time.time()):
            del self._claims[key]
            return None
        return claims

    def _remember(self, key: bytes, claims: TokenClaims | None) -> TokenClaims | None:
        if claims is not None:
            if len(self._claims) >= self._max_tokens:
                del self._claims[next(iter(self._claims))]
            self._claims[key] = claims
        return claims


def get_password_hash(password: str, rounds: int = 12) -> str:
    """The bcrypt hash; takes about 250 ms at 12 rounds, so never call it on the event loop."""
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(rounds)).decode()


def unmatchable_hash(rounds: int) -> str:
    """A hash that no password has, and that costs as much to compare with as the others."""
    return f"$2b${rounds:02}${'.' * 53}"


def verify_password(plain_password: str, hashed_password: str) -> bool:
    """Whether the password is the hashed one; takes as long for a password that bcrypt cannot take."""
    given = plain_password.encode(errors="replace")
    checked = given.replace(b"\x00", b"")[:MAX_PASSWORD_BYTES]
    return bcrypt.checkpw(checked, hashed_password.encode()) and checked == given
