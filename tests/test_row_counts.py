"""The totals of pages are exact whatever writes the rows, and writers of one list do not wait for each other."""
# ruff: noqa: S608 - the statements are this file's own

import asyncio
import random

import httpx
from sqlalchemy import func, select, text

from app.core.db.row_count import RowCount
from app.crud.crud_posts import crud_posts, of_owner
from app.crud.crud_users import crud_users
from app.crud.helper import OffsetWindow
from app.models.post import Post
from app.models.user import User
from app.schemas.post import PostCreateInternal, PostRead
from tests.helper import API, Rows

FIRST = OffsetWindow(page=1, items_per_page=1)
USERS = 'INSERT INTO "user" (name, username, email, hashed_password, profile_image_url, is_superuser, uuid, is_deleted)'
POSTS = "INSERT INTO post (created_by_user_id, title, text, uuid, is_deleted)"


def users_of(number: int) -> str:
    name = f"'u{number}x' || i"
    values = f"'n', {name}, {name} || '@x.example', 'h', 'http://x', false, gen_random_uuid(), i = 2"
    return f"{USERS} SELECT {values} FROM generate_series(1, 3) i"


async def run(rows: Rows, statement: str) -> None:
    await rows.database.execute(text(statement))


async def assert_exact(rows: Rows) -> None:
    """Every total is what counting finds."""
    counted = await rows.database.fetch_one(select(func.count()).where(User.is_deleted.is_(False)))
    assert counted is not None
    assert (await crud_users.read_page(rows.database, FIRST)).total_count == counted[0]
    authors = await rows.database.fetch_all(select(User.id, User.username).where(User.is_deleted.is_(False)))
    for author in authors:
        visible = select(func.count()).where(Post.created_by_user_id == author.id, Post.is_deleted.is_(False))
        counted = await rows.database.fetch_one(visible)
        assert counted is not None
        assert (await crud_posts.read_page(rows.database, FIRST, author.username)).total_count == counted[0]


async def test_totals_are_exact_after_any_writes(rows: Rows) -> None:
    """200 random statements of SQL on users and posts: single and bulk, soft and hard, moves, reversals, rollbacks."""
    chance = random.Random(8)
    for number in range(6):
        await rows.post(await rows.user(f"start{number}"))

    def some(table: str) -> str:
        return f'id IN (SELECT id FROM "{table}" ORDER BY random() LIMIT {chance.randint(1, 4)})'

    for number in range(200):
        statement = chance.choice(
            [
                users_of(number),
                f"{POSTS} SELECT id, 't', 'x', gen_random_uuid(), random() < 0.3 FROM \"user\" ORDER BY uuid LIMIT 5",
                f"UPDATE post SET is_deleted = NOT is_deleted WHERE {some('post')}",
                f"UPDATE post SET title = 'other' WHERE {some('post')}",
                f'UPDATE post SET created_by_user_id = (SELECT min(id) FROM "user") WHERE {some("post")}',
                f'UPDATE "user" SET is_deleted = NOT is_deleted WHERE {some("user")}',
                f"DELETE FROM post WHERE {some('post')}",
                f'DELETE FROM "user" WHERE {some("user")}' if number % 3 == 0 else "SELECT 1",
            ]
        )
        async with rows.database.sessions() as session:
            await session.execute(text(statement))
            if chance.random() < 0.2:
                await session.rollback()
            await session.commit()
        if number % 20 == 0:
            await assert_exact(rows)
    await assert_exact(rows)


async def test_truncation_and_bulk_loads_count(rows: Rows) -> None:
    author = await rows.user()
    await run(
        rows, f"{POSTS} SELECT {author.user.id}, 't', 'x', gen_random_uuid(), false FROM generate_series(1, 5000)"
    )
    await assert_exact(rows)
    await run(rows, "TRUNCATE post")
    await assert_exact(rows)
    await rows.post(author)
    await assert_exact(rows)


async def test_deleting_an_author_deletes_its_counts(rows: Rows) -> None:
    author = await rows.user()
    for _ in range(5):
        await rows.post(author)
    await crud_users.hard_delete(rows.database, id=author.user.id)

    assert await rows.database.fetch_all(select(RowCount.id).where(RowCount.list == "post")) == []
    await assert_exact(rows)


async def test_writers_do_not_wait_for_an_open_transaction(rows: Rows) -> None:
    """A unit of work that stays open holds up no other post of the same author, and no other user."""
    author = await rows.user()
    values = PostCreateInternal(title="A title", text="A text", created_by_user_id=author.user.id)
    async with rows.database.sessions() as session:
        for _ in range(60):  # long enough for a merge
            await crud_posts.add(session, values, PostRead, parent=of_owner(author.user), commit=False)
        async with asyncio.timeout(3):
            for _ in range(60):
                await rows.post(author)
            await rows.user()
        await session.commit()
    await assert_exact(rows)


async def test_many_writers_at_once_are_counted_and_their_rows_merged(rows: Rows) -> None:
    author = await rows.user()
    for _ in range(6):
        await asyncio.gather(*(rows.post(author) for _ in range(100)))
    await assert_exact(rows)
    parts = await rows.database.fetch_one(select(func.count()).where(RowCount.owner_id == author.user.id))

    assert parts is not None
    assert parts[0] < 500, "600 statements appended a row each"


async def test_a_page_and_its_total_are_of_one_moment(client: httpx.AsyncClient, rows: Rows) -> None:
    """While posts are written, no page shows more rows than its total, or fewer."""
    author = await rows.user()
    writing = [asyncio.create_task(rows.post(author)) for _ in range(80)]
    while not all(each.done() for each in writing):
        page = await crud_posts.read_page(rows.database, OffsetWindow(page=1, items_per_page=100), author.username)
        assert page.total_count == len(page.rows)
    response = (await client.get(f"{API}/{author.username}/posts")).json()
    assert (response["total_count"], response["has_more"]) == (80, True)
