"""How tokens are revoked: by a digest in `token_blacklist`, of one retired refresh token or of a whole family."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from sqlalchemy import ARRAY, String, bindparam, delete, exists, func, select
from sqlalchemy.dialects.postgresql import insert

from app.core.config import CryptSettings
from app.core.db.database import Database
from app.core.db.token_blacklist import TokenBlacklist
from app.core.security import TokenClaims, TokenType, digest, successor_jti, token_lifetime

ISSUED_MEANWHILE = timedelta(hours=1)
"""How much younger than the end of its session a token can be that was being issued at that moment."""
LONGEST_LINE = 100
"""How many times a refresh token and its successors can be used within the grace for concurrent uses."""

_TOKENS = select(
    func.unnest(bindparam("tokens", type_=ARRAY(String))), bindparam("expires_at", type_=TokenBlacklist.expires_at.type)
)
_REVOKE = insert(TokenBlacklist).from_select(["token", "expires_at"], _TOKENS).on_conflict_do_nothing()
_ENTRY = (
    insert(TokenBlacklist)
    .values(token=bindparam("digest"), expires_at=bindparam("expires_at"))
    .on_conflict_do_nothing()
    .returning(TokenBlacklist.id)
    .cte("entry")
)
_AGE = select(func.clock_timestamp() - TokenBlacklist.created_at).where(TokenBlacklist.token == bindparam("digest"))
_RETIRE = select(exists(select(_ENTRY.c.id)).label("is_first"), _AGE.scalar_subquery().label("age"))
_IS_REVOKED = select(TokenBlacklist.id).where(TokenBlacklist.token == bindparam("digest"))
_EXPIRED = (
    select(TokenBlacklist.id)
    .where(TokenBlacklist.expires_at < func.now())
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True)
)
_PURGE = delete(TokenBlacklist).where(TokenBlacklist.id.in_(_EXPIRED.scalar_subquery())).returning(TokenBlacklist.id)


class CRUDTokenBlacklist:
    """Each method is one statement, committed."""

    async def end_families(
        self, database: Database, families: Iterable[str], settings: CryptSettings, known: TokenClaims | None = None
    ) -> None:
        """Revokes every token of the sessions, including those that are not issued yet.

        The entries outlive every token of both types. A `known` token may live longer than what is issued now, because
        it was made under other settings.
        """
        expires_at = datetime.now(UTC) + max(token_lifetime(each, settings) for each in TokenType)
        if known is not None:
            expires_at = max(expires_at, known.expires_at)
        tokens = sorted({digest(family) for family in families})
        await database.execute(_REVOKE, {"tokens": tokens, "expires_at": expires_at + ISSUED_MEANWHILE})

    async def retire(self, database: Database, claims: TokenClaims) -> timedelta | None:
        """Marks a refresh token as used.

        Returns None on its first use, else how long ago that was. Of two simultaneous uses exactly one is the first.
        """
        expires_at = claims.expires_at + ISSUED_MEANWHILE
        row = (await database.execute(_RETIRE, {"digest": digest(claims.jti), "expires_at": expires_at}))[0]
        if row.is_first:
            return None
        # An entry younger than this statement is not visible to it.
        age: timedelta = row.age or timedelta(0)
        return age

    async def newest_successor(self, database: Database, claims: TokenClaims, settings: CryptSettings) -> str:
        """The `jti` of the token's latest successor, which is not used yet."""
        jti = successor_jti(claims.jti, settings)
        for _ in range(LONGEST_LINE):
            if await database.fetch_one(_IS_REVOKED, {"digest": digest(jti)}) is None:
                break
            jti = successor_jti(jti, settings)
        return jti

    async def purge_expired(self, database: Database, limit: int) -> int:
        """Deletes at most `limit` entries of expired tokens; returns how many."""
        return len(await database.execute(_PURGE, {"limit": limit}))


crud_token_blacklist = CRUDTokenBlacklist()
