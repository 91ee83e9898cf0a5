from typing import Any

from fastapi import APIRouter, Request

from app.api.dependencies import SUPERUSERS_ONLY, Db, PathId, PathUsername, ReadDb, SelfUser
from app.api.owners import USER
from app.api.paginated import CursorListResponse, PageWindow, PaginatedListResponse, list_response
from app.api.responses import POST_NOT_FOUND, USER_NOT_FOUND, errors, message, not_found
from app.core.schemas import Message
from app.core.utils.cache import cache
from app.crud.crud_posts import crud_posts, of_author, of_owner
from app.schemas.post import PostCreate, PostRead, PostUpdate

router = APIRouter(tags=["posts"])

NO_SUCH_POST = not_found("Post", "The post does not exist or has another author.")


@router.get(
    "/{username}/posts",
    summary="List a user's posts",
    response_model=PaginatedListResponse[PostRead] | CursorListResponse[PostRead],
    responses=errors(USER_NOT_FOUND),
)
@cache("{username}_posts", resource_id_name="window", expiration=60, owners=[USER])
async def read_posts(request: Request, username: PathUsername, db: ReadDb, window: PageWindow) -> dict[str, Any]:
    """Newest first.

    A response has at most 500,000 characters of text: with long posts it has fewer items than requested, and `has_more`
    is true. The next cursor continues after the last item; by page number, request fewer items per page.
    """
    return list_response(request, window, await crud_posts.read_page(db, window, username))


@router.get("/{username}/post/{id}", summary="Read a post", responses=errors(USER_NOT_FOUND, POST_NOT_FOUND))
@cache("{username}_post_cache", resource_id_name="id", owners=[USER])
async def read_post(username: PathUsername, id: PathId, db: ReadDb) -> PostRead:
    return await crud_posts.read(db, username, id)


@router.post("/{username}/post", status_code=201, summary="Write a post")
@cache(pattern_to_invalidate_extra=["{user.username}_posts:*"])
async def write_post(user: SelfUser, values: PostCreate, db: Db) -> PostRead:
    """For the author only."""
    return await crud_posts.add(db, values, PostRead, parent=of_owner(user))


@router.patch(
    "/{username}/post/{id}", summary="Change a post", responses=message("Post updated") | errors(POST_NOT_FOUND)
)
@cache("{user.username}_post_cache", resource_id_name="id", pattern_to_invalidate_extra=["{user.username}_posts:*"])
async def patch_post(user: SelfUser, id: PathId, values: PostUpdate, db: Db) -> Message:
    """For the author only. Fields that are left out keep their values."""
    await crud_posts.change(db, values, parent=of_owner(user), id=id)
    return Message(message="Post updated")


@router.delete(
    "/{username}/post/{id}", summary="Delete a post", responses=message("Post deleted") | errors(POST_NOT_FOUND)
)
@cache("{user.username}_post_cache", resource_id_name="id", pattern_to_invalidate_extra=["{user.username}_posts:*"])
async def erase_post(user: SelfUser, id: PathId, db: Db) -> Message:
    """For the author only."""
    await crud_posts.soft_delete(db, parent=of_owner(user), id=id)
    return Message(message="Post deleted")


@router.delete(
    "/{username}/db_post/{id}",
    summary="Delete a post permanently",
    responses=message("Post deleted from the database") | errors(USER_NOT_FOUND, NO_SUCH_POST),
    dependencies=[SUPERUSERS_ONLY],
)
@cache("{username}_post_cache", resource_id_name="id", pattern_to_invalidate_extra=["{username}_posts:*"])
async def erase_db_post(username: PathUsername, id: PathId, db: Db) -> Message:
    """For superusers."""
    await crud_posts.hard_delete(db, parent=of_author(username), id=id)
    return Message(message="Post deleted from the database")
