import logging
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request

from app.api.address_limits import limit_registration
from app.api.authentication import Hasher
from app.api.dependencies import (
    SUPERUSERS_ONLY,
    CurrentUser,
    Db,
    OpenResources,
    PathUser,
    PathUsername,
    ReadDb,
    SelfUser,
)
from app.api.owners import TIER, USER
from app.api.paginated import CursorListResponse, PageWindow, PaginatedListResponse, list_response
from app.api.responses import TIER_NOT_FOUND, USER_NOT_FOUND, errors, message, not_found, unprocessable
from app.api.usernames import refuse_reserved
from app.core.config import DefaultRateLimitSettings
from app.core.outbox import NewTask, accepts
from app.core.schemas import Message
from app.core.utils.cache import cache
from app.core.worker.functions import send_welcome
from app.crud.crud_rate_limit import crud_rate_limits
from app.crud.crud_tier import crud_tiers
from app.crud.crud_users import StoredUser, crud_users
from app.schemas.rate_limit import UserReadWithRateLimits
from app.schemas.user import (
    UserCreate,
    UserCreateInternal,
    UserRead,
    UserReadWithTier,
    UserTierUpdate,
    UserUpdate,
)

logger = logging.getLogger(__name__)
router = APIRouter(tags=["users"])

NO_SUCH_USER = not_found("User", "The user does not exist.")
EMAIL_TAKEN = unprocessable("Email is already registered", "Another user has this email address.")
USERNAME_TAKEN = unprocessable("Username not available", "Another user has this username, or a path needs it.")


async def hash_new_password(request: Request, values: UserCreate, hasher: Hasher) -> str:
    """A dependency, because it may wait: a write is announced to the cache only when the handler begins."""
    refuse_reserved(request, values.username)
    return await hasher.hash(values.password)


NewPasswordHash = Annotated[str, Depends(hash_new_password)]


async def get_default_tier_id(resources: OpenResources, db: Db) -> int | None:
    """The id of the tier that new users are put into; None without one."""
    settings = resources.settings
    name = settings.DEFAULT_TIER_NAME if isinstance(settings, DefaultRateLimitSettings) else None
    tier_id = await crud_tiers.find_id(db, name) if name else None
    if name and tier_id is None:
        logger.warning("there is no tier %r (DEFAULT_TIER_NAME): the new user has no tier", name)
    return tier_id


def _welcome(new: Mapping[str, Any]) -> NewTask:
    return NewTask(send_welcome, (new["uuid"],))


DefaultTierId = Annotated[int | None, Depends(get_default_tier_id)]


@router.get("/user/me", include_in_schema=False, response_model=UserRead)
@router.get("/user/me/", summary="Read the caller", response_model=UserRead)
async def read_users_me(current_user: CurrentUser) -> StoredUser:
    """The user whose access token the request has."""
    return current_user


@router.get("/user/{username}", summary="Read a user", response_model=UserRead, responses=errors(USER_NOT_FOUND))
@cache("user", resource_id_name="username", owners=[USER, TIER])
async def read_user(username: PathUsername, db: ReadDb) -> StoredUser:
    return await crud_users.read(db, username)


@router.get(
    "/users", summary="List users", response_model=PaginatedListResponse[UserRead] | CursorListResponse[UserRead]
)
@cache("users", resource_id_name="window", expiration=60, owners=[USER, TIER])
async def read_users(request: Request, db: ReadDb, window: PageWindow) -> dict[str, Any]:
    return list_response(request, window, await crud_users.read_page(db, window))


@router.post(
    "/user",
    status_code=201,
    summary="Register a user",
    responses=errors(EMAIL_TAKEN, USERNAME_TAKEN),
    dependencies=[Depends(limit_registration)],
)
@cache(changes=[USER.named("values.username")])
async def write_user(values: UserCreate, hashed_password: NewPasswordHash, tier_id: DefaultTierId, db: Db) -> UserRead:
    given = values.model_dump(exclude={"password"})
    user = UserCreateInternal(**given, hashed_password=hashed_password, tier_id=tier_id)
    return await crud_users.add(db, user, UserRead, task=_welcome if accepts(db, send_welcome) else None)


@router.patch(
    "/user/{username}",
    summary="Change a user",
    responses=message("User updated") | errors(EMAIL_TAKEN, USERNAME_TAKEN),
)
@cache(changes=[USER.named("user.username"), USER.named("values.username")])
async def patch_user(request: Request, user: SelfUser, values: UserUpdate, db: Db) -> Message:
    """For the user only. Fields that are left out keep their values."""
    if values.username:
        refuse_reserved(request, values.username)
    await crud_users.change(db, values, id=user.id, username=user.username)
    return Message(message="User updated")


@router.delete("/user/{username}", summary="Delete a user", responses=message("User deleted"))
@cache(changes=[USER.named("user.username")])
async def erase_user(user: SelfUser, db: Db) -> Message:
    """For the user only. The tokens are revoked. Username and email stay taken."""
    await crud_users.soft_delete(db, id=user.id, username=user.username)
    return Message(message="User deleted")


@router.delete(
    "/db_user/{username}",
    summary="Delete a user permanently",
    responses=message("User deleted from the database") | errors(NO_SUCH_USER),
    dependencies=[SUPERUSERS_ONLY],
)
@cache(changes=[USER.named("username")])
async def erase_db_user(username: PathUsername, db: Db) -> Message:
    """For superusers. The posts are deleted too. Username and email become available."""
    await crud_users.hard_delete(db, username=username)
    return Message(message="User deleted from the database")


@router.get(
    "/user/{username}/rate_limits",
    summary="Read a user with their rate limits",
    response_model=UserReadWithRateLimits,
    dependencies=[SUPERUSERS_ONLY],
)
async def read_user_rate_limits(user: PathUser, db: ReadDb) -> UserReadWithRateLimits:
    """For superusers."""
    rules = await crud_rate_limits.read_all_of_tier(db, user.tier_id) if user.tier_id else []
    public = UserRead.model_validate(user)
    return UserReadWithRateLimits(**public.model_dump(), tier_rate_limits=rules)


@router.get("/user/{username}/tier", summary="Read a user with their tier", responses=errors(USER_NOT_FOUND))
async def read_user_tier(username: PathUsername, db: ReadDb) -> UserReadWithTier | None:
    """`null` if the user has no tier."""
    return await crud_users.read_with_tier(db, username)


@router.patch(
    "/user/{username}/tier",
    summary="Move a user to a tier",
    responses=message("User User Userson Tier updated") | errors(USER_NOT_FOUND, TIER_NOT_FOUND),
    dependencies=[SUPERUSERS_ONLY],
)
@cache("user", resource_id_name="username", pattern_to_invalidate_extra=["users:*"])
async def patch_user_tier(username: PathUsername, values: UserTierUpdate, db: Db) -> Message:
    """For superusers. The rate limits of the new tier apply at once."""
    name = await crud_users.join_tier(db, username, values)
    return Message(message=f"User {name} Tier updated")
