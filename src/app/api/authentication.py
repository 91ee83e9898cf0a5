"""Who knows a password: the one check behind the login, the change of a password and the docs' prompt."""

from typing import Annotated

from fastapi import Depends

from app.api.dependencies import Hasher, Lockout
from app.api.responses import LOCKED_OUT, raises
from app.core.db.database import Database
from app.core.exceptions.http_exceptions import RateLimitException
from app.crud.crud_users import Credentials, crud_users


@raises(LOCKED_OUT)
class PasswordCheck:
    """Compares passwords within the lock against guessing: raises 429 for a pair that is locked out."""

    def __init__(self, hasher: Hasher, lockout: Lockout) -> None:
        self._hasher = hasher
        self._lockout = lockout

    async def credentials(self, database: Database, identifier: str, password: str) -> Credentials | None:
        """The user with this username or email, if the password is right; a missing user costs as much work."""
        found = await crud_users.read_credentials(database, identifier)
        account = str(found.user.uuid) if found else identifier.lower()
        matches = await self.matches(account, password, found.hashed_password if found else None)
        return found if matches else None

    async def matches(self, account: str, password: str, hashed_password: str | None) -> bool:
        await self._refuse_locked_out(account)
        async with self._hasher.turns:
            # Of many simultaneous guesses only as many as there are turns get this far before the first is counted.
            await self._refuse_locked_out(account)
            if await self._hasher.verify(password, hashed_password):
                await self._lockout.clear(account)
                return True
            await self._lockout.record_failure(account)
            return False

    async def _refuse_locked_out(self, account: str) -> None:
        if seconds := await self._lockout.seconds_left(account):
            raise RateLimitException("Too many failed logins.", headers={"Retry-After": str(seconds)})


Passwords = Annotated[PasswordCheck, Depends()]
