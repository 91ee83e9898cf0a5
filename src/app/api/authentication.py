"""Passwords in requests: hashing, and the check that login, password change and the docs' prompt share."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

from fastapi import Depends, Request

from app.api.address_limits import limited_address
from app.api.dependencies import Lockout, get_password_hasher
from app.api.responses import LOCKED_OUT, raises, unavailable
from app.core.db.database import Database
from app.core.exceptions.http_exceptions import RateLimitException, ServiceUnavailableException
from app.core.limits.lockout import LockedOutError, LockoutBusyError
from app.core.passwords import ClientLeftError, PasswordHasher, QueueFullError
from app.crud.crud_users import Credentials, crud_users
from app.schemas.user import normalized_identifier

RETRY_AFTER_SECONDS = 2
TOO_MANY_WAIT = unavailable(
    "Too many passwords wait to be hashed, try again.", "The queue for hashing passwords is full."
)


async def _until_disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


@raises(TOO_MANY_WAIT)
class RequestHasher:
    """Hashes for one request, in turn with the requests of other addresses, and not for a client that has left.

    Raises 503 where too many wait.
    """

    def __init__(self, request: Request, hasher: Annotated[PasswordHasher, Depends(get_password_hasher)]) -> None:
        self._request = request
        self._client = limited_address(request)
        self._hasher = hasher

    async def hash(self, password: str) -> str:
        with _unavailable():
            return await self._hasher.hash(password, self._client, _until_disconnected(self._request))

    async def verify(self, password: str, hashed_password: str | None) -> bool:
        with _unavailable():
            left = _until_disconnected(self._request)
            return await self._hasher.verify(password, hashed_password, self._client, left)


@contextmanager
def _unavailable() -> Iterator[None]:
    try:
        yield
    except (QueueFullError, LockoutBusyError):
        raise ServiceUnavailableException(TOO_MANY_WAIT.detail, retry_after=RETRY_AFTER_SECONDS) from None
    except ClientLeftError:
        raise ServiceUnavailableException("The client closed the connection.") from None


Hasher = Annotated[RequestHasher, Depends()]


@raises(LOCKED_OUT)
class PasswordCheck:
    """Compares passwords and counts failures: raises 429 while the account is locked out for the address."""

    def __init__(self, hasher: Hasher, lockout: Lockout) -> None:
        self._hasher = hasher
        self._lockout = lockout

    async def credentials(self, database: Database, identifier: str, password: str) -> Credentials | None:
        """The user with this username or email if the password is right; takes as long if there is no such user."""
        found = await crud_users.read_credentials(database, identifier)
        account = str(found.user.uuid) if found else normalized_identifier(identifier)
        matches = await self.matches(account, password, found.hashed_password if found else None)
        return found if matches else None

    async def matches(self, account: str, password: str, hashed_password: str | None) -> bool:
        reservation = await self._reserve(account)
        matches: bool | None = None
        try:
            matches = await self._hasher.verify(password, hashed_password)
        finally:
            await self._lockout.settle(account, reservation, matches)
        return matches

    async def _reserve(self, account: str) -> str:
        try:
            with _unavailable():
                return await self._lockout.reserve(account)
        except LockedOutError as error:
            raise RateLimitException(LOCKED_OUT.detail, headers={"Retry-After": str(error.seconds)}) from None


Passwords = Annotated[PasswordCheck, Depends()]
