"""What most tests need: accounts with tokens, and rows to act on."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from itertools import count

import httpx
from fastapi import FastAPI

from app.core.config import Settings
from app.core.db.database import Database
from app.core.security import TokenType, create_token, get_password_hash, new_family
from app.crud.crud_posts import crud_posts
from app.crud.crud_rate_limit import crud_rate_limits
from app.crud.crud_tier import crud_tiers
from app.crud.crud_users import StoredUser, crud_users
from app.schemas.post import PostCreateInternal, PostRead
from app.schemas.rate_limit import RateLimitCreateInternal, RateLimitRead
from app.schemas.tier import TierCreateInternal, TierRead
from app.schemas.user import UserCreateInternal, UserRead

API = "/api/v1"
PASSWORD = "correct horse battery staple"
PLAIN_HTTP = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""`verify` of clients without TLS. Otherwise each loads the certificates of all authorities, which takes 20 ms."""

_numbers = count(1)


@dataclass(frozen=True, slots=True)
class Account:
    """A stored user, the headers that authenticate it, and the refresh token of the same session."""

    user: StoredUser
    headers: Mapping[str, str]
    refresh_token: str

    @property
    def username(self) -> str:
        return self.user.username


@cache
def hashed(password: str) -> str:
    return get_password_hash(password, rounds=4)


def unique(prefix: str) -> str:
    return f"{prefix}{next(_numbers)}"


class Rows:
    """Stores rows directly, past the API, and signs tokens as the API would."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self.database = database
        self.settings = settings

    def session(self, user: StoredUser) -> Account:
        """A new login of the user."""
        family = new_family(hashed(PASSWORD))
        access = create_token(user.uuid, TokenType.ACCESS, family, self.settings)
        refresh = create_token(user.uuid, TokenType.REFRESH, family, self.settings)
        return Account(user, {"Authorization": f"Bearer {access}"}, refresh)

    async def user(self, username: str | None = None, *, is_superuser: bool = False) -> Account:
        username = username or unique("user")
        values = UserCreateInternal(
            name=f"Name of {username}",
            username=username,
            email=f"{unique(username)}@example.com",
            hashed_password=hashed(PASSWORD),
            is_superuser=is_superuser,
        )
        async with self.database.sessions() as db:
            await crud_users.add(db, values, UserRead)
        return self.session(await crud_users.read(self.database, username))

    async def superuser(self) -> Account:
        return await self.user(unique("root"), is_superuser=True)

    async def post(self, author: Account, title: str = "A title", text: str = "A text") -> PostRead:
        values = PostCreateInternal(title=title, text=text, created_by_user_id=author.user.id)
        async with self.database.sessions() as db:
            return await crud_posts.add(db, values, PostRead)

    async def tier(self, name: str | None = None) -> TierRead:
        async with self.database.sessions() as db:
            return await crud_tiers.add(db, TierCreateInternal(name=name or unique("tier")), TierRead)

    async def rate_limit(self, tier: TierRead, path: str = "api_v1_tasks_task", limit: int = 5) -> RateLimitRead:
        values = RateLimitCreateInternal.model_validate(
            {"path": path, "limit": limit, "period": 60, "tier_id": tier.id}
        )
        async with self.database.sessions() as db:
            return await crud_rate_limits.add(db, values, RateLimitRead)

    async def join_tier(self, account: Account, tier: TierRead) -> None:
        async with self.database.sessions() as db:
            await crud_users.update(db, {"tier_id": tier.id}, id=account.user.id)


@asynccontextmanager
async def running(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """The application between start and stop, and a caller of it."""
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="https://testserver") as client,
    ):
        yield client


async def eventually(condition: Callable[[], Awaitable[object]], seconds: float = 10.0) -> None:
    """Waits until the condition holds."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - it becomes true in another process
            await asyncio.sleep(0.02)
