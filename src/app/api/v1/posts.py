from typing import Any

from fastapi import APIRouter, Request

from app.api.dependencies import Db, PathId, PathUser, PathUsername, SelfUser, Superuser
from app.api.paginated import CursorListResponse, PageWindow, PaginatedListResponse, list_response
from app.api.responses import errors
from app.core.schemas import Message
from app.core.utils.cache import cache
from app.crud.crud_posts import crud_posts
from app.schemas.post import PostCreate, PostCreateInternal, PostRead, PostUpdate

router = APIRouter(tags=["posts"])


@router.get(
    "/{username}/posts",
    response_model=PaginatedListResponse[PostRead] | CursorListResponse[PostRead],
    responses=errors(404),
)
@cache("{username}_posts", resource_id_name="window", expiration=60)
async def read_posts(request: Request, username: PathUsername, db: Db, window: PageWindow) -> dict[str, Any]:
    return list_response(request, window, await crud_posts.read_page(db, window, username))


@router.get("/{username}/post/{id}", responses=errors(404))
@cache("{username}_post_cache", resource_id_name="id")
async def read_post(request: Request, username: PathUsername, id: PathId, db: Db) -> PostRead:
    return await crud_posts.read(db, username, id)


@router.post("/{username}/post", status_code=201, responses=errors(401, 403, 404))
@cache("{username}_posts", resource_id_name="username", pattern_to_invalidate_extra=["{username}_posts:*"])
async def write_post(request: Request, username: PathUsername, user: SelfUser, values: PostCreate, db: Db) -> PostRead:
    post = PostCreateInternal(**values.model_dump(), created_by_user_id=user.id)
    return await crud_posts.add(db, post, PostRead)


@router.patch("/{username}/post/{id}", responses=errors(401, 403, 404))
@cache("{username}_post_cache", resource_id_name="id", pattern_to_invalidate_extra=["{username}_posts:*"])
async def patch_post(
    request: Request, username: PathUsername, user: SelfUser, id: PathId, values: PostUpdate, db: Db
) -> Message:
    await crud_posts.change(db, values, id=id, created_by_user_id=user.id)
    return Message(message="Post updated")


@router.delete("/{username}/post/{id}", responses=errors(401, 403, 404))
@cache("{username}_post_cache", resource_id_name="id", pattern_to_invalidate_extra=["{username}_posts:*"])
async def erase_post(request: Request, username: PathUsername, user: SelfUser, id: PathId, db: Db) -> Message:
    await crud_posts.soft_delete(db, id=id, created_by_user_id=user.id)
    return Message(message="Post deleted")


@router.delete("/{username}/db_post/{id}", responses=errors(401, 403, 404))
@cache("{username}_post_cache", resource_id_name="id", pattern_to_invalidate_extra=["{username}_posts:*"])
async def erase_db_post(
    request: Request, username: PathUsername, superuser: Superuser, user: PathUser, id: PathId, db: Db
) -> Message:
    await crud_posts.hard_delete(db, id=id, created_by_user_id=user.id)
    return Message(message="Post deleted from the database")
