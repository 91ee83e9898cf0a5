"""Posts of one author; the author is part of every condition."""

from sqlalchemy import and_, bindparam, select

from app.core.db.database import Database
from app.core.exceptions.data_exceptions import RowNotFoundError
from app.crud.crud_base import CRUDBase
from app.crud.crud_users import StoredUser
from app.crud.helper import Listed, Listing, Parent, ParentRow, Window, columns, visible
from app.models.post import Post
from app.models.user import User
from app.schemas.post import PostCreate, PostRead, PostUpdate

_AUTHOR = select(User.id).where(User.username == bindparam("username"), visible(User))
_BY_AUTHOR = (
    select(*columns(Post, PostRead))
    .select_from(User)
    .outerjoin(Post, and_(Post.created_by_user_id == User.id, Post.id == bindparam("id"), visible(Post)))
    .where(User.username == bindparam("username"), visible(User))
)
_BY_NAME = Parent(_AUTHOR, Post.created_by_user_id, "User")
_BY_ID_AND_NAME = Parent(_AUTHOR.where(User.id == bindparam("author_id")), Post.created_by_user_id, "User")
_LISTING = Listing(Post, PostRead, parent=_BY_NAME, newest_first=True, counted=True, large_columns=["text"])


def of_author(username: str) -> ParentRow:
    """For writes to the posts of the user with this username."""
    return ParentRow(_BY_NAME, {"username": username})


def of_owner(user: StoredUser) -> ParentRow:
    """For a user's writes to its own posts, as long as it still has the username that its request's path names."""
    return ParentRow(_BY_ID_AND_NAME, {"username": user.username, "author_id": user.id})


class CRUDPost(CRUDBase[Post, PostCreate, PostUpdate, PostRead]):
    """Posts that are not soft-deleted, unless a method's docstring says otherwise."""

    async def read(self, database: Database, username: str, post_id: int) -> PostRead:
        row = await database.fetch_one(_BY_AUTHOR, {"username": username, "id": post_id})
        if row is None:
            raise RowNotFoundError("User")
        if row.id is None:
            raise RowNotFoundError(self.entity)
        return PostRead.model_validate(row)

    async def read_page(self, database: Database, window: Window, username: str) -> Listed:
        return await _LISTING.fetch(database, window, {"username": username})


crud_posts = CRUDPost(Post)
