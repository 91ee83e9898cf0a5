"""Posts: only the author may change them."""

from typing import Any

import httpx
import pytest
from sqlalchemy import select

from app.models.post import Post
from tests.helper import API, Account, Rows
from tests.support import authorization as may
from tests.support.authorization import PathValues

NEW_POST = {"title": "This is my post", "text": "This is its text."}


async def arrange(client: httpx.AsyncClient, rows: Rows, owner: Account) -> PathValues:
    post = await rows.post(owner)
    return {"username": owner.username, "id": post.id}


AUTHORIZATION = may.Table(
    may.owner("POST", "/{username}/post", 201, json=NEW_POST),
    may.anyone("GET", "/{username}/posts"),
    may.anyone("GET", "/{username}/post/{id}"),
    may.owner("PATCH", "/{username}/post/{id}", json={"title": "Changed"}),
    may.owner("DELETE", "/{username}/post/{id}"),
    may.superuser("DELETE", "/{username}/db_post/{id}"),
    arrange=arrange,
)


async def stored(rows: Rows, post_id: int) -> Any:
    return await rows.database.fetch_one(select(Post.__table__).where(Post.id == post_id))


class TestCreate:
    async def test_returns_the_post(self, client: httpx.AsyncClient, rows: Rows) -> None:
        author = await rows.user("author")
        response = await client.post(f"{API}/author/post", headers=author.headers, json=NEW_POST)

        assert response.status_code == 201
        body = response.json()
        assert body.pop("created_at").endswith("Z")
        assert body == NEW_POST | {"id": 1, "media_url": None, "created_by_user_id": author.user.id}

    async def test_for_an_unknown_user_is_not_found(self, client: httpx.AsyncClient, rows: Rows) -> None:
        author = await rows.user("author")
        response = await client.post(f"{API}/nobody/post", headers=author.headers, json=NEW_POST)

        assert (response.status_code, response.json()) == (404, {"detail": "User not found"})

    @pytest.mark.parametrize(
        "wrong",
        [
            {"title": "x"},
            {"title": "x" * 31},
            {"title": "nul\x00"},
            {"text": ""},
            {"text": "x" * 63207},
            {"text": "nul\x00"},
            {"media_url": "no url"},
            {"media_url": "file:///etc/passwd"},
            {"created_by_user_id": 1},
            {"id": 1},
        ],
        ids=lambda wrong: str(wrong)[:30],
    )
    async def test_invalid_values_are_refused(
        self, client: httpx.AsyncClient, rows: Rows, wrong: dict[str, Any]
    ) -> None:
        author = await rows.user("author")
        response = await client.post(f"{API}/author/post", headers=author.headers, json=NEW_POST | wrong)

        assert response.status_code == 422
        assert [problem["loc"] for problem in response.json()["detail"]] == [["body", next(iter(wrong))]]
        assert len(response.content) < 1000

    async def test_the_longest_text_survives(self, client: httpx.AsyncClient, rows: Rows) -> None:
        author = await rows.user("author")
        text = "é🚀" * (63206 // 2)
        created = await client.post(f"{API}/author/post", headers=author.headers, json=NEW_POST | {"text": text})

        assert (await client.get(f"{API}/author/post/{created.json()['id']}")).json()["text"] == text


class TestRead:
    async def test_through_another_user_is_not_found(self, client: httpx.AsyncClient, rows: Rows) -> None:
        author, other = await rows.user(), await rows.user()
        post = await rows.post(author)
        response = await client.get(f"{API}/{other.username}/post/{post.id}")

        assert (response.status_code, response.json()) == (404, {"detail": "Post not found"})

    async def test_an_unknown_author_is_named(self, client: httpx.AsyncClient, rows: Rows) -> None:
        for path in ("/nobody/post/1", "/nobody/posts"):
            response = await client.get(API + path)
            assert (response.status_code, response.json()) == (404, {"detail": "User not found"})

    async def test_the_newest_comes_first(self, client: httpx.AsyncClient, rows: Rows) -> None:
        author, other = await rows.user("author"), await rows.user()
        posts = [await rows.post(author, title=f"Post {number}") for number in range(3)]
        await rows.post(other)
        listed = (await client.get(f"{API}/author/posts")).json()

        assert [post["id"] for post in listed["data"]] == [post.id for post in reversed(posts)]
        assert listed["total_count"] == 3


class TestUpdate:
    async def test_changes_what_is_given(self, client: httpx.AsyncClient, rows: Rows) -> None:
        author = await rows.user("author")
        post = await rows.post(author)
        body = {"title": "Changed", "media_url": "https://example.com/x.png"}
        response = await client.patch(f"{API}/author/post/{post.id}", headers=author.headers, json=body)
        read = (await client.get(f"{API}/author/post/{post.id}")).json()

        assert (response.status_code, response.json()) == (200, {"message": "Post updated"})
        assert read == post.model_dump(mode="json") | body

    async def test_null_is_for_the_media_url_alone(self, client: httpx.AsyncClient, rows: Rows) -> None:
        author = await rows.user("author")
        post = await rows.post(author)
        url = f"{API}/author/post/{post.id}"

        assert (await client.patch(url, headers=author.headers, json={"media_url": None})).status_code == 200
        for field in ("title", "text"):
            assert (await client.patch(url, headers=author.headers, json={field: None})).status_code == 422

    @pytest.mark.parametrize("body", [{}, {"title": "Mine now"}])
    @pytest.mark.parametrize("method", ["PATCH", "DELETE"])
    async def test_another_users_post_is_not_found_under_my_name(
        self, client: httpx.AsyncClient, rows: Rows, method: str, body: dict[str, str]
    ) -> None:
        author, thief = await rows.user(), await rows.user("thief")
        post = await rows.post(author)
        before = await stored(rows, post.id)
        response = await client.request(method, f"{API}/thief/post/{post.id}", headers=thief.headers, json=body)

        assert (response.status_code, response.json()) == (404, {"detail": "Post not found"})
        assert await stored(rows, post.id) == before

    @pytest.mark.parametrize("post_id", ["0", "-1", str(2**31), str(2**63), str(2**64), "9" * 5000, "x", "1.5", "%00"])
    @pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
    async def test_ids_outside_the_column_are_refused(
        self, client: httpx.AsyncClient, rows: Rows, method: str, post_id: str
    ) -> None:
        author = await rows.user("author")
        response = await client.request(method, f"{API}/author/post/{post_id}", headers=author.headers, json={})

        assert response.status_code == 422


class TestDelete:
    async def test_soft_deletes_the_post_and_keeps_the_row(self, client: httpx.AsyncClient, rows: Rows) -> None:
        author = await rows.user("author")
        post, kept = await rows.post(author), await rows.post(author)
        url = f"{API}/author/post/{post.id}"
        first = await client.delete(url, headers=author.headers)
        second = await client.delete(url, headers=author.headers)
        changed = await client.patch(url, headers=author.headers, json={"title": "Changed"})
        listed = (await client.get(f"{API}/author/posts")).json()

        assert (first.status_code, first.json()) == (200, {"message": "Post deleted"})
        assert second.status_code == changed.status_code == (await client.get(url)).status_code == 404
        assert ([row["id"] for row in listed["data"]], listed["total_count"]) == ([kept.id], 1)
        assert (await stored(rows, post.id)).is_deleted

    @pytest.mark.parametrize("softly_deleted_before", [True, False])
    async def test_from_the_database(self, client: httpx.AsyncClient, rows: Rows, softly_deleted_before: bool) -> None:
        author, other, root = await rows.user("author"), await rows.user(), await rows.superuser()
        post = await rows.post(author)
        if softly_deleted_before:
            await client.delete(f"{API}/author/post/{post.id}", headers=author.headers)

        through_other = await client.delete(f"{API}/{other.username}/db_post/{post.id}", headers=root.headers)
        response = await client.delete(f"{API}/author/db_post/{post.id}", headers=root.headers)
        again = await client.delete(f"{API}/author/db_post/{post.id}", headers=root.headers)

        assert (response.status_code, response.json()) == (200, {"message": "Post deleted from the database"})
        assert (through_other.status_code, through_other.json()) == (404, {"detail": "Post not found"})
        assert again.status_code == 404
        assert await stored(rows, post.id) is None
