"""The caller, the rows that the path names, and the resources of a handler, each as a named type."""

from dataclasses import dataclass
from typing import Annotated

from arq import ArqRedis
from fastapi import Depends, Path, Request
from fastapi.security import OAuth2PasswordBearer
from sqlalchemy.ext.asyncio import AsyncSession

from app.api.address_limits import limited_address
from app.api.rate_limiting import RateLimitSubject, is_limited_by, limit_request, rule_paths
from app.api.responses import (
    INVALID_TOKEN,
    NOT_AUTHENTICATED,
    NOT_COUNTED,
    NOT_OWNER,
    NOT_SUPERUSER,
    RATE_LIMITED,
    TIER_NOT_FOUND,
    USER_NOT_FOUND,
    raises,
)
from app.core.config import CryptSettings
from app.core.db.database import Database, async_get_db, get_database, get_read_database
from app.core.events import SecurityEvents
from app.core.exceptions.http_exceptions import ForbiddenException, UnauthorizedException
from app.core.features import require
from app.core.limits.lockout import LoginLockout
from app.core.passwords import PasswordHasher
from app.core.resources import Resources, resources_of
from app.core.schemas import DIGITS_ONLY, Id, Text
from app.core.security import TokenClaims
from app.core.utils.cache import provides_only
from app.crud.crud_rate_limit import TierRule, crud_rate_limits
from app.crud.crud_tier import crud_tiers
from app.crud.crud_users import StoredUser, UserWithRules, crud_users
from app.middleware.request_log import CALLER_KEY
from app.schemas.tier import TierRead

oauth2_scheme = OAuth2PasswordBearer(
    tokenUrl="/api/v1/login",
    auto_error=False,
    description="Log in with a username or an email address. Leave the client's fields empty.",
)

Session = Annotated[AsyncSession, Depends(provides_only(async_get_db), scope="function")]
Db = Annotated[Database, Depends(provides_only(get_database))]
ReadDb = Annotated[Database, Depends(provides_only(get_read_database))]

BearerToken = Annotated[str | None, Depends(oauth2_scheme)]

PathUsername = Annotated[Text, Path(description="The username of the user.", examples=["userson"])]
PathTierName = Annotated[Text, Path(description="The name of the tier.", examples=["free"])]
PathId = Annotated[Id, DIGITS_ONLY, Path(description="The `id` in the list.", examples=[1])]


@provides_only
async def get_resources(request: Request) -> Resources:
    return resources_of(request.app)


@provides_only
async def get_queue(request: Request) -> ArqRedis:
    return require(resources_of(request.app).queue, "RedisQueueSettings")


@provides_only
async def get_crypt_settings(request: Request) -> CryptSettings:
    return resources_of(request.app).settings_of(CryptSettings)


async def get_login_lockout(
    request: Request, settings: Annotated[CryptSettings, Depends(get_crypt_settings)]
) -> LoginLockout:
    resources = resources_of(request.app)
    connection = resources.rate_limiter.connection if resources.rate_limiter else None
    return LoginLockout(connection, settings, limited_address(request), resources.events)


@provides_only
async def get_security_events(request: Request) -> SecurityEvents:
    return resources_of(request.app).events


async def get_password_hasher(request: Request) -> PasswordHasher:
    return require(resources_of(request.app).password_hasher, "CryptSettings")


OpenResources = Annotated[Resources, Depends(get_resources)]
TaskQueue = Annotated[ArqRedis, Depends(get_queue)]
Events = Annotated[SecurityEvents, Depends(get_security_events)]
Crypt = Annotated[CryptSettings, Depends(get_crypt_settings)]
Lockout = Annotated[LoginLockout, Depends(get_login_lockout)]


@dataclass(frozen=True, slots=True)
class Caller:
    """A logged-in user and the claims of their access token."""

    user: StoredUser
    claims: TokenClaims


async def get_optional_caller(request: Request, token: BearerToken, database: Db) -> Caller | None:
    """None without a token or with a bad one; an unavailable database is an error, not an anonymous caller."""
    if token is None:
        return None
    # Found once per request, also where several dependencies need it. Each of them calls this function itself: every
    # dependency of a dependency costs FastAPI 20 us per request.
    if CALLER_KEY not in request.scope:
        request.scope[CALLER_KEY] = await _find_caller(request, token, database)
    caller: Caller | None = request.scope[CALLER_KEY]
    return caller


async def _find_caller(request: Request, token: str, database: Database) -> Caller | None:
    claims = require(resources_of(request.app).verified_tokens, "CryptSettings").decode(token)
    if claims is None:
        return None
    user: StoredUser | None
    if is_limited_by(rate_limiter, request):
        user = await crud_users.read_by_session_with_rules(database, claims, rule_paths(request))
    else:
        user = await crud_users.read_by_session(database, claims)
    return Caller(user, claims) if user else None


@raises(NOT_AUTHENTICATED, INVALID_TOKEN)
async def get_caller(request: Request, token: BearerToken, database: Db) -> Caller:
    caller = await get_optional_caller(request, token, database)
    if caller is None:
        raise UnauthorizedException("User not authenticated." if token else "Not authenticated")
    return caller


async def get_optional_user(request: Request, token: BearerToken, database: Db) -> StoredUser | None:
    caller = await get_optional_caller(request, token, database)
    return caller.user if caller else None


@raises(NOT_AUTHENTICATED, INVALID_TOKEN)
async def get_current_user(request: Request, token: BearerToken, database: Db) -> StoredUser:
    return (await get_caller(request, token, database)).user


@raises(NOT_SUPERUSER)
async def get_current_superuser(user: Annotated[StoredUser, Depends(get_current_user)]) -> StoredUser:
    if not user.is_superuser:
        raise ForbiddenException("You do not have enough privileges.")
    return user


CurrentCaller = Annotated[Caller, Depends(get_caller)]
CurrentUser = Annotated[StoredUser, Depends(get_current_user)]
OptionalUser = Annotated[StoredUser | None, Depends(get_optional_user)]
Superuser = Annotated[StoredUser, Depends(get_current_superuser)]
SUPERUSERS_ONLY = Depends(get_current_superuser)
"""For endpoints that do not use the user: `dependencies=[SUPERUSERS_ONLY]`."""


@raises(RATE_LIMITED, NOT_COUNTED)
async def rate_limiter(request: Request, user: OptionalUser) -> None:
    """Limits a route: `dependencies=[Depends(rate_limiter)]`.

    A user is limited by the rule of its tier for the path, or else by the default; an anonymous caller by address.
    """
    rules: tuple[TierRule, ...] = ()
    if isinstance(user, UserWithRules):
        rules = user.rules
    elif user and user.tier_id is not None:  # another dependency overrides the lookup of the user
        rules = await crud_rate_limits.read_rules(await get_database(request), user.tier_id, rule_paths(request))
    await limit_request(request, RateLimitSubject.of(request, user, rules))


@raises(USER_NOT_FOUND)
async def get_path_user(username: PathUsername, database: Db) -> StoredUser:
    return await crud_users.read(database, username)


@raises(USER_NOT_FOUND, NOT_OWNER)
async def get_self_user(username: PathUsername, current_user: CurrentUser, database: Db) -> StoredUser:
    """The path's user, who must be the caller; a superuser may not act for another user either."""
    if username == current_user.username:
        return current_user
    await crud_users.read(database, username)
    raise ForbiddenException("Request forbidden -- authorization will not help")


@raises(TIER_NOT_FOUND)
async def get_path_tier(tier_name: PathTierName, database: Db) -> TierRead:
    return await crud_tiers.read(database, tier_name)


PathUser = Annotated[StoredUser, Depends(get_path_user)]
SelfUser = Annotated[StoredUser, Depends(get_self_user)]
PathTier = Annotated[TierRead, Depends(get_path_tier)]
