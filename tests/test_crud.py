"""`CRUDBase`: the same verbs on the database and in a session, for models with soft deletion and without."""

import pytest
from sqlalchemy import select

from app.core.exceptions.data_exceptions import RowNotFoundError
from app.crud.crud_base import CRUDBase
from app.crud.crud_posts import crud_posts, of_owner
from app.crud.crud_rate_limit import crud_rate_limits
from app.crud.crud_tier import crud_tiers
from app.crud.crud_users import crud_users
from app.models.post import Post
from app.models.tier import Tier
from app.schemas.post import PostCreateInternal, PostRead, PostUpdate
from app.schemas.tier import TierCreateInternal, TierRead, TierUpdate
from tests.helper import Rows


async def test_soft_deleted_rows_are_invisible_to_every_method(rows: Rows) -> None:
    """No call passes `is_deleted=False`; a copy without the policy returns the rows."""
    author = await rows.user()
    kept, deleted = await rows.post(author), await rows.post(author)
    await crud_posts.soft_delete(rows.database, id=deleted.id)

    assert await crud_posts.exists(rows.database, id=kept.id)
    assert not await crud_posts.exists(rows.database, id=deleted.id)
    for write in (
        crud_posts.change(rows.database, PostUpdate(title="Other"), id=deleted.id),
        crud_posts.change(rows.database, PostUpdate(), id=deleted.id),
        crud_posts.soft_delete(rows.database, id=deleted.id),
    ):
        with pytest.raises(RowNotFoundError, match="Post not found"):
            await write
    async with rows.database.sessions() as session:
        assert await crud_posts.get(session, id=deleted.id) is None
        assert not await crud_posts.exists(session, id=deleted.id)
        assert await crud_posts.count(session) == 1
        assert [post["id"] for post in (await crud_posts.get_multi(session))["data"]] == [kept.id]
        everything = crud_posts.with_policy(None)
        assert await everything.count(session) == 2
    await crud_posts.hard_delete(rows.database, id=deleted.id)
    assert await rows.database.fetch_all(select(Post.id)) == [(kept.id,)]


async def test_a_model_without_soft_deletion_loses_the_row(rows: Rows) -> None:
    tier = await rows.tier()
    await crud_tiers.soft_delete(rows.database, name=tier.name)

    assert await rows.database.fetch_all(select(Tier.id)) == []
    with pytest.raises(RowNotFoundError, match="Tier not found"):
        await crud_tiers.soft_delete(rows.database, name=tier.name)


async def test_a_session_makes_several_writes_one_unit(rows: Rows) -> None:
    author = await rows.user()
    values = PostCreateInternal(title="A title", text="A text", created_by_user_id=author.user.id)
    async with rows.database.sessions() as session:
        first = await crud_posts.add(session, values, PostRead, commit=False)
        await crud_posts.change(session, PostUpdate(title="Other"), commit=False, id=first.id)
        await crud_posts.add(session, values, PostRead, parent=of_owner(author.user), commit=False)
        assert await crud_posts.count(session) == 2
        await session.rollback()
        assert await crud_posts.count(session) == 0
        await crud_posts.add(session, values, PostRead)
    assert len(await rows.database.fetch_all(select(Post.id))) == 1


async def test_filters_that_may_mean_several_rows_are_refused(rows: Rows) -> None:
    author = await rows.user()
    await rows.post(author)
    for write in (
        crud_posts.change(rows.database, PostUpdate(title="Other"), created_by_user_id=author.user.id),
        crud_posts.soft_delete(rows.database, parent=of_owner(author.user)),
        crud_users.hard_delete(rows.database),
        crud_users.hard_delete(rows.database, username=None),
    ):
        with pytest.raises(ValueError, match="may mean several rows"):
            await write
    with pytest.raises(ValueError, match="Post has no column 'nothing'; it has id, "):
        await crud_posts.hard_delete(rows.database, nothing=1)


async def test_unchanged_rows_keep_the_time_of_their_last_change(rows: Rows) -> None:
    tier = await rows.tier()
    await crud_tiers.change(rows.database, TierUpdate(), id=tier.id)
    assert await rows.database.fetch_one(select(Tier.updated_at)) == (None,)
    await crud_tiers.change(rows.database, TierUpdate(name="other"), id=tier.id)
    row = await rows.database.fetch_one(select(Tier.updated_at))

    assert row is not None
    assert row.updated_at > tier.created_at


def test_an_entitys_name_comes_from_its_model() -> None:
    assert crud_posts.entity == "Post"
    assert crud_rate_limits.entity == "Rate Limit"
    assert CRUDBase[Tier, TierCreateInternal, TierUpdate, TierRead](Tier).entity == "Tier"
