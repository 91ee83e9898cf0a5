from typing import Any

from fastapi import APIRouter, Request

from app.api.dependencies import (
    CurrentUser,
    Db,
    Hasher,
    PathUser,
    PathUsername,
    SelfUser,
    Superuser,
)
from app.api.paginated import CursorListResponse, PageWindow, PaginatedListResponse, list_response
from app.api.responses import errors
from app.api.usernames import refuse_reserved
from app.core.schemas import Message
from app.core.utils.cache import cache
from app.crud.crud_rate_limit import crud_rate_limits
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

router = APIRouter(tags=["users"])

_OF_AUTHOR = ["users:*", "{username}_posts:*", "{username}_post_cache:*"]
_OF_NEW_NAME = ["{values.username}_posts:*", "{values.username}_post_cache:*"]
"""What shows a user: the lists, and the posts under the name in their path."""


@router.get("/user/me", include_in_schema=False, response_model=UserRead)
@router.get("/user/me/", response_model=UserRead, responses=errors(401))
async def read_users_me(current_user: CurrentUser) -> StoredUser:
    return current_user


@router.get("/user/{username}", response_model=UserRead, responses=errors(404))
@cache("user", resource_id_name="username")
async def read_user(request: Request, username: PathUsername, db: Db) -> StoredUser:
    return await crud_users.read(db, username)


@router.get("/users", response_model=PaginatedListResponse[UserRead] | CursorListResponse[UserRead])
@cache("users", resource_id_name="window", expiration=60)
async def read_users(request: Request, db: Db, window: PageWindow) -> dict[str, Any]:
    return list_response(request, window, await crud_users.read_page(db, window))


@router.post("/user", status_code=201)
@cache("user", resource_id_name="values.username", pattern_to_invalidate_extra=["users:*"])
async def write_user(request: Request, values: UserCreate, db: Db, hasher: Hasher) -> UserRead:
    refuse_reserved(request, values.username)
    hashed_password = await hasher.hash(values.password)
    user = UserCreateInternal(**values.model_dump(exclude={"password"}), hashed_password=hashed_password)
    return await crud_users.add(db, user, UserRead)


@router.patch("/user/{username}", responses=errors(401, 403, 404))
@cache(
    "user",
    resource_id_name="username",
    to_invalidate_extra={"user": "{values.username}"},
    pattern_to_invalidate_extra=[*_OF_AUTHOR, *_OF_NEW_NAME],
)
async def patch_user(request: Request, username: PathUsername, user: SelfUser, values: UserUpdate, db: Db) -> Message:
    if values.username:
        refuse_reserved(request, values.username)
    await crud_users.change(db, values, id=user.id)
    return Message(message="User updated")


@router.delete("/user/{username}", responses=errors(401, 403, 404))
@cache("user", resource_id_name="username", pattern_to_invalidate_extra=_OF_AUTHOR)
async def erase_user(request: Request, username: PathUsername, user: SelfUser, db: Db) -> Message:
    await crud_users.soft_delete(db, id=user.id)
    return Message(message="User deleted")


@router.delete("/db_user/{username}", responses=errors(401, 403, 404))
@cache("user", resource_id_name="username", pattern_to_invalidate_extra=_OF_AUTHOR)
async def erase_db_user(request: Request, username: PathUsername, superuser: Superuser, db: Db) -> Message:
    await crud_users.hard_delete(db, username=username)
    return Message(message="User deleted from the database")


@router.get("/user/{username}/rate_limits", response_model=UserReadWithRateLimits, responses=errors(401, 403, 404))
async def read_user_rate_limits(superuser: Superuser, user: PathUser, db: Db) -> UserReadWithRateLimits:
    rules = await crud_rate_limits.read_all_of_tier(db, user.tier_id) if user.tier_id else []
    public = UserRead.model_validate(user)
    return UserReadWithRateLimits(**public.model_dump(), tier_rate_limits=rules)


@router.get("/user/{username}/tier", responses=errors(404))
async def read_user_tier(username: PathUsername, db: Db) -> UserReadWithTier | None:
    return await crud_users.read_with_tier(db, username)


@router.patch("/user/{username}/tier", responses=errors(401, 403, 404))
@cache("user", resource_id_name="username", pattern_to_invalidate_extra=["users:*"])
async def patch_user_tier(
    request: Request,
    username: PathUsername,
    superuser: Superuser,
    user: PathUser,
    values: UserTierUpdate,
    db: Db,
) -> Message:
    await crud_users.change(db, values, id=user.id)
    return Message(message=f"User {user.name} Tier updated")
