"""How tokens die: by a digest in `token_blacklist`, of one retired refresh token or of a whole family."""

from datetime import UTC, datetime, timedelta

from fastcrud import FastCRUD
from pydantic import BaseModel
from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.config import CryptSettings
from app.core.db.token_blacklist import TokenBlacklist
from app.core.security import TokenClaims, TokenType, digest, token_lifetime

ISSUED_MEANWHILE = timedelta(hours=1)
"""How much younger than the end of its session a token can be that was being issued at that moment."""


class TokenBlacklistCreate(BaseModel):
    """A dead token or family, by digest, and when its entry may be forgotten."""

    token: str
    expires_at: datetime


class TokenBlacklistUpdate(BaseModel):
    """Entries do not change."""


class TokenBlacklistRead(TokenBlacklistCreate):
    """An entry as it is stored."""

    id: int


class CRUDTokenBlacklist(
    FastCRUD[
        TokenBlacklist,
        TokenBlacklistCreate,
        TokenBlacklistUpdate,
        TokenBlacklistUpdate,
        TokenBlacklistUpdate,
        TokenBlacklistRead,
    ]
):
    """None of its methods commits."""

    async def end_family(
        self, db: AsyncSession, family: str, settings: CryptSettings, known: TokenClaims | None = None
    ) -> None:
        """Kills every token of the session, those that are not issued yet included.

        A `known` token may outlive what is issued now, because it was made under longer settings.
        """
        expires_at = datetime.now(UTC) + token_lifetime(TokenType.REFRESH, settings)
        if known is not None:
            expires_at = max(expires_at, known.expires_at)
        expires_at += ISSUED_MEANWHILE
        entry = insert(TokenBlacklist).values(token=digest(family), expires_at=expires_at)
        await db.execute(entry.on_conflict_do_nothing())

    async def retire(self, db: AsyncSession, claims: TokenClaims) -> timedelta | None:
        """Marks a refresh token as used.

        Returns None on its first use, else how long ago that was. Of two simultaneous uses exactly one is the first.
        """
        digested = digest(claims.jti)
        entry = insert(TokenBlacklist).values(token=digested, expires_at=claims.expires_at)
        if await db.scalar(entry.on_conflict_do_nothing().returning(TokenBlacklist.id)) is not None:
            return None
        since_first_use = func.clock_timestamp() - TokenBlacklist.created_at
        return await db.scalar(select(since_first_use).where(TokenBlacklist.token == digested))

    async def purge_expired(self, db: AsyncSession, limit: int) -> int:
        """Deletes at most `limit` entries that nothing needs any more; returns how many."""
        expired = select(TokenBlacklist.id).where(TokenBlacklist.expires_at < func.now()).limit(limit)
        rows = expired.with_for_update(skip_locked=True).scalar_subquery()
        deleted = delete(TokenBlacklist).where(TokenBlacklist.id.in_(rows)).returning(TokenBlacklist.id)
        return len((await db.scalars(deleted)).all())


crud_token_blacklist = CRUDTokenBlacklist(TokenBlacklist)
