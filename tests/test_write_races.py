"""Writes that overlap: exactly one wins, 200 means done, and no path needs two connections."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx
import pytest
import time_machine
from fastapi import FastAPI
from sqlalchemy import func, select, text

from app.api import router
from app.core.config import Settings
from app.core.db.crud_token_blacklist import crud_token_blacklist
from app.core.db.token_blacklist import TokenBlacklist
from app.core.security import TokenType, decode_token
from app.core.setup import create_application
from app.crud.crud_posts import crud_posts, of_author, of_owner
from app.crud.crud_rate_limit import crud_rate_limits, of_tier
from app.crud.crud_tier import crud_tiers
from app.crud.crud_users import crud_users
from app.models.post import Post
from app.models.tier import Tier
from app.models.user import User
from app.schemas.post import PostUpdate
from app.schemas.rate_limit import RateLimitUpdate
from app.schemas.user import UserUpdate
from dev.local.ports import free_port
from tests.conftest import Services
from tests.helper import API, Account, Rows
from tests.support.statements import recorded_statements

ROUNDS = 20
POST = {"title": "A title", "text": "A text"}


async def count(rows: Rows, statement: Any) -> int:
    row = await rows.database.fetch_one(statement)
    assert row is not None
    return int(row[0])


class Shuffled:
    """The requests of one round, sent at once in an order that the seed gives."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)

    async def run(self, *requests: Callable[[], Awaitable[httpx.Response]]) -> list[httpx.Response]:
        results: list[httpx.Response | None] = [None] * len(requests)

        async def one(index: int) -> None:
            await asyncio.sleep(self._chance.random() * 0.003)
            results[index] = await requests[index]()

        await asyncio.gather(*(one(index) for index in self._chance.sample(range(len(requests)), len(requests))))
        return [result for result in results if result is not None]


async def test_a_rename_during_post_creation_leaves_no_stale_entry_under_either_name(
    client: httpx.AsyncClient, rows: Rows
) -> None:
    """Posts written, changed and read under the old name while it changes: afterwards the new name shows what is
    stored, and the old name nothing, also when another user registers it."""
    shuffled = Shuffled(1)
    for number in range(ROUNDS):
        old, new = f"old{number}", f"new{number}"
        account = await rows.user(old)
        post = await rows.post(account)
        mine = account.headers
        results = await shuffled.run(
            lambda: client.patch(f"{API}/user/{old}", headers=mine, json={"username": new}),  # noqa: B023
            lambda: client.post(f"{API}/{old}/post", headers=mine, json=POST),  # noqa: B023
            lambda: client.patch(f"{API}/{old}/post/{post.id}", headers=mine, json={"title": "New title"}),  # noqa: B023
            lambda: client.patch(f"{API}/user/{old}", headers=mine, json={"name": "New name"}),  # noqa: B023
            *(lambda path=path: client.get(f"{API}{path}") for path in [f"/{old}/posts", f"/{new}/posts"] * 4),
            *(lambda path=path: client.get(f"{API}{path}") for path in [f"/user/{old}", f"/user/{new}"] * 2),
            *(lambda path=path: client.get(f"{API}/{path}/post/{post.id}") for path in (old, new)),  # noqa: B023
        )
        assert results[0].status_code == 200
        wrote, changed = results[1].status_code == 201, results[2].status_code == 200
        shown = (await client.get(f"{API}/{new}/posts")).json()
        assert shown["total_count"] == 1 + wrote
        title = (await client.get(f"{API}/{new}/post/{post.id}")).json()["title"]
        assert title == ("New title" if changed else "A title")
        for path in (f"/user/{old}", f"/{old}/posts", f"/{old}/post/{post.id}"):
            assert (await client.get(f"{API}{path}")).status_code == 404, path
        values = {"name": "Next owner", "username": old, "email": f"{old}@next.example", "password": "a password"}
        assert (await client.post(f"{API}/user", json=values)).status_code == 201
        assert (await client.get(f"{API}/{old}/posts")).json()["data"] == []
        assert (await client.get(f"{API}/user/{old}")).json()["name"] == "Next owner"


async def wait_for_a_blocked_statement(rows: Rows) -> None:
    """Returns when a statement waits for a lock."""
    blocked = text("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()")
    for _ in range(200):
        if await rows.database.fetch_one(blocked):
            return
        await asyncio.sleep(0.02)
    raise AssertionError("no statement waits for a lock")


class TestTheTokensName:
    """A write that was allowed under a name does nothing when the user has another one by then."""

    @pytest.mark.parametrize(
        ("method", "body"), [("PATCH", {"name": "Changed"}), ("PATCH", {"username": "third"}), ("DELETE", None)]
    )
    async def test_users(self, client: httpx.AsyncClient, rows: Rows, method: str, body: dict[str, str] | None) -> None:
        """The request was let in under the old name; its statement waits for the rename."""
        account = await rows.user("before")
        async with rows.database.sessions() as session:
            await crud_users.change(session, UserUpdate(username="after"), commit=False, id=account.user.id)
            url = f"{API}/user/before"
            write = asyncio.create_task(client.request(method, url, headers=account.headers, json=body))
            await wait_for_a_blocked_statement(rows)
            await session.commit()
        response = await write
        assert (response.status_code, response.json()) == (404, {"detail": "User not found"})
        assert (await crud_users.read(rows.database, "after")).name == account.user.name

    async def test_posts(self, rows: Rows) -> None:
        account = await rows.user("before")
        post = await rows.post(account)
        await crud_users.change(rows.database, UserUpdate(username="after"), id=account.user.id)
        parent = of_owner(account.user)
        for write in (
            crud_posts.change(rows.database, PostUpdate(title="Changed"), parent=parent, id=post.id),
            crud_posts.change(rows.database, PostUpdate(), parent=parent, id=post.id),
            crud_posts.soft_delete(rows.database, parent=parent, id=post.id),
            crud_posts.hard_delete(rows.database, parent=parent, id=post.id),
        ):
            with pytest.raises(Exception, match="User not found"):
                await write
        assert (await crud_posts.read(rows.database, "after", post.id)).title == "A title"

    async def test_a_write_waits_for_a_rename_and_a_rename_for_a_write(self, rows: Rows) -> None:
        account = await rows.user("before")
        post = await rows.post(account)
        async with rows.database.sessions() as session:
            await crud_users.change(session, UserUpdate(username="after"), commit=False, id=account.user.id)
            write = asyncio.create_task(
                crud_posts.soft_delete(rows.database, parent=of_owner(account.user), id=post.id)
            )
            await wait_for_a_blocked_statement(rows)
            assert not write.done()
            await session.commit()
        with pytest.raises(Exception, match="User not found"):
            await write

        async with rows.database.sessions() as session:
            await crud_posts.soft_delete(session, parent=of_author("after"), commit=False, id=post.id)
            rename = asyncio.create_task(crud_users.change(rows.database, UserUpdate(username="x2"), username="after"))
            await wait_for_a_blocked_statement(rows)
            assert not rename.done()
            await session.commit()
        await rename

    async def test_a_write_waits_for_another_one_to_the_same_post(self, rows: Rows) -> None:
        """It finds the post as the other one has left it, and the rename waits for both."""
        account = await rows.user("before")
        post = await rows.post(account)
        parent = of_owner(account.user)
        async with rows.database.sessions() as session:
            await session.execute(text("UPDATE post SET text = 'Other' WHERE id = :id"), {"id": post.id})
            write = asyncio.create_task(
                crud_posts.change(rows.database, PostUpdate(title="Changed"), parent=parent, id=post.id)
            )
            await wait_for_a_blocked_statement(rows)
            rename = crud_users.change(rows.database, UserUpdate(username="after"), id=account.user.id)
            renaming = asyncio.create_task(rename)
            await asyncio.sleep(0.1)
            assert not renaming.done()
            await session.commit()
        await write
        await renaming
        stored = await crud_posts.read(rows.database, "after", post.id)
        assert (stored.title, stored.text) == ("Changed", "Other")

        async with rows.database.sessions() as session:
            await crud_posts.soft_delete(session, parent=of_author("after"), commit=False, id=post.id)
            late = asyncio.create_task(crud_posts.hard_delete(rows.database, parent=of_author("after"), id=post.id))
            await wait_for_a_blocked_statement(rows)
            await session.commit()
        await late
        assert await count(rows, select(func.count()).where(Post.id == post.id)) == 0

    async def test_rate_limits(self, rows: Rows) -> None:
        tier, other = await rows.tier(), await rows.tier()
        rule = await rows.rate_limit(tier)
        with pytest.raises(Exception, match="Rate Limit not found"):
            await crud_rate_limits.change(
                rows.database, RateLimitUpdate(limit=9), parent=of_tier(other.name), id=rule.id
            )
        with pytest.raises(Exception, match="Tier not found"):
            await crud_rate_limits.hard_delete(rows.database, parent=of_tier("nothing"), id=rule.id)


async def test_a_deletion_during_a_rename_reports_the_actual_result(client: httpx.AsyncClient, rows: Rows) -> None:
    """`DELETE /db_user/x` while x is renamed: 200 if and only if the user is deleted, otherwise 404."""
    shuffled, root = Shuffled(2), await rows.superuser()
    seen = set()
    for number in range(ROUNDS * 2):
        old, new = f"old{number}", f"new{number}"
        account = await rows.user(old)
        rename, deletion = await shuffled.run(
            lambda: client.patch(f"{API}/user/{old}", headers=account.headers, json={"username": new}),  # noqa: B023
            lambda: client.delete(f"{API}/db_user/{old}", headers=root.headers),  # noqa: B023
        )
        left = await count(rows, select(func.count()).where(User.id == account.user.id))
        assert (deletion.status_code, left) in {(200, 0), (404, 1)}
        assert rename.status_code in ({200} if left else {401, 404})
        seen.add(deletion.status_code)
    assert seen == {200, 404}, "both orders happened"


async def test_a_tiers_deletion_during_its_rename_reports_the_actual_result(
    client: httpx.AsyncClient, rows: Rows
) -> None:
    shuffled, root = Shuffled(3), await rows.superuser()
    for number in range(ROUNDS):
        tier = await rows.tier(f"tier{number}")
        rename, deletion = await shuffled.run(
            lambda: client.patch(f"{API}/tier/{tier.name}", headers=root.headers, json={"name": f"{tier.name}x"}),  # noqa: B023
            lambda: client.delete(f"{API}/tier/{tier.name}", headers=root.headers),  # noqa: B023
        )
        left = await count(rows, select(func.count()).where(Tier.id == tier.id))
        assert (rename.status_code, deletion.status_code) == ((200, 404) if left else (404, 200))


async def test_of_many_renames_of_one_tier_one_succeeds(client: httpx.AsyncClient, rows: Rows) -> None:
    shuffled, root = Shuffled(4), await rows.superuser()
    for number in range(ROUNDS // 2):
        tier = await rows.tier(f"tier{number}")
        path = f"{API}/tier/{tier.name}"
        results = await shuffled.run(
            *(
                lambda name=f"{tier.name}-{index}": client.patch(path, headers=root.headers, json={"name": name})  # noqa: B023
                for index in range(10)
            )
        )
        assert sorted(result.status_code for result in results) == [200, *[404] * 9]


async def test_of_many_deletions_of_one_post_one_succeeds(client: httpx.AsyncClient, rows: Rows) -> None:
    shuffled, account = Shuffled(5), await rows.user()
    for _ in range(ROUNDS // 2):
        post = await rows.post(account)
        path = f"{API}/{account.username}/post/{post.id}"
        results = await shuffled.run(*[lambda: client.delete(path, headers=account.headers)] * 6)  # noqa: B023
        assert sorted(result.status_code for result in results) == [200, *[404] * 5]


async def test_posts_created_during_their_authors_deletion(client: httpx.AsyncClient, rows: Rows) -> None:
    """201 for exactly the posts that are stored; nothing is written for an author who is deleted."""
    shuffled = Shuffled(6)
    for _ in range(ROUNDS):
        account = await rows.user()
        path = f"{API}/{account.username}/post"
        deletion, *posts = await shuffled.run(
            lambda: client.delete(f"{API}/user/{account.username}", headers=account.headers),  # noqa: B023
            *[lambda: client.post(path, headers=account.headers, json=POST)] * 4,  # noqa: B023
        )
        assert deletion.status_code == 200
        assert {post.status_code for post in posts} <= {201, 401, 404}
        stored = await count(rows, select(func.count()).where(Post.created_by_user_id == account.user.id))
        assert stored == sum(post.status_code == 201 for post in posts)


@asynccontextmanager
async def application(settings: Settings) -> AsyncIterator[tuple[FastAPI, httpx.AsyncClient]]:
    app = create_application(router=router, settings=settings)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="https://testserver") as client,
    ):
        yield app, client


def requests_of(account: Account, root: Account, post_id: int, tier: str) -> list[dict[str, Any]]:
    """One request to everything that reads or writes the database."""
    name, mine = account.username, account.headers
    cookie = {**mine, "Cookie": f"refresh_token={account.refresh_token}"}
    rule = {"path": "api/v1/users", "limit": 1, "period": 1}
    return [
        {"method": "PATCH", "url": f"/user/{name}", "headers": mine, "json": {}},
        {"method": "PATCH", "url": f"/{name}/post/{post_id}", "headers": mine, "json": {}},
        {"method": "PATCH", "url": f"/{name}/post/{post_id}", "headers": mine, "json": {"title": "Changed"}},
        {"method": "POST", "url": f"/{name}/post", "headers": mine, "json": POST},
        {"method": "GET", "url": f"/{name}/posts", "headers": {}},
        {"method": "GET", "url": f"/user/{name}/rate_limits", "headers": root.headers},
        {"method": "GET", "url": f"/user/{name}/tier", "headers": {}},
        {"method": "PATCH", "url": f"/tier/{tier}", "headers": root.headers, "json": {}},
        {"method": "POST", "url": f"/tier/{tier}/rate_limit", "headers": root.headers, "json": rule},
        {"method": "DELETE", "url": f"/{name}/post/999999", "headers": mine},
        {"method": "DELETE", "url": f"/{name}/db_post/999999", "headers": root.headers},
        {"method": "PATCH", "url": f"/user/{name}/tier", "headers": root.headers, "json": {"tier_id": 999}},
        {"method": "POST", "url": "/refresh", "headers": cookie},
        {"method": "GET", "url": "/ready", "headers": {}},
    ]


async def test_every_endpoint_works_with_one_connection(services: Services, rows: Rows) -> None:
    """No request holds one connection and waits for another: with a pool of one, and Redis unavailable, none stalls."""
    nobody = str(free_port())
    settings = services.settings(DATABASE_POOL_SIZE=1, DATABASE_MAX_OVERFLOW=0, REDIS_CACHE_PORT=nobody)
    account, root, tier = await rows.user(), await rows.superuser(), await rows.tier()
    post = await rows.post(account)
    async with application(settings) as (_, client):
        requests = requests_of(account, root, post.id, tier.name)
        responses = await asyncio.gather(
            *(client.request(**{**request, "url": API + request["url"]}) for _ in range(4) for request in requests)
        )
    failed = [
        response for response in responses if response.status_code >= 500 and not response.url.path.endswith("/ready")
    ]
    assert [(response.request.method, response.url.path, response.text) for response in failed] == []


async def test_a_burst_of_empty_changes_is_served(services: Services, rows: Rows) -> None:
    """200 changes of nothing with Redis unavailable: each is one statement, and none waits for a second connection."""
    account = await rows.user()
    async with application(services.settings(REDIS_CACHE_PORT=str(free_port()))) as (_, client):
        path = f"{API}/user/{account.username}"
        responses = await asyncio.gather(*(client.patch(path, headers=account.headers, json={}) for _ in range(200)))
    assert {response.status_code for response in responses} == {200}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/{name}/post", POST),
        ("PATCH", "/{name}/post/{id}", {"title": "Changed"}),
        ("PATCH", "/{name}/post/{id}", {}),
        ("DELETE", "/{name}/post/{id}", None),
        ("PATCH", "/user/{name}", {"name": "New name"}),
        ("DELETE", "/user/{name}", None),
        ("DELETE", "/{name}/db_post/{id}", None),
        ("DELETE", "/db_user/{name}", None),
        ("PATCH", "/user/{name}/tier", {"tier_id": 1}),
        ("PATCH", "/tier/{tier}", {"name": "other"}),
        ("DELETE", "/tier/{tier}", None),
        ("POST", "/tier/{tier}/rate_limit", {"path": "a", "limit": 1, "period": 1}),
        ("PATCH", "/tier/{tier}/rate_limit/{rule}", {"limit": 3}),
        ("DELETE", "/tier/{tier}/rate_limit/{rule}", None),
    ],
)
async def test_a_write_is_two_statements(
    client: httpx.AsyncClient, rows: Rows, method: str, path: str, body: dict[str, Any] | None
) -> None:
    """Who, and what."""
    account, root, tier = await rows.user(), await rows.superuser(), await rows.tier()
    post = await rows.post(account)
    rule = await rows.rate_limit(tier)
    superusers_only = "tier" in path or "db_" in path
    url = API + path.format(name=account.username, id=post.id, tier=tier.name, rule=rule.id)
    with recorded_statements(rows.database) as statements:
        response = await client.request(
            method, url, headers=root.headers if superusers_only else account.headers, json=body
        )
    assert response.status_code in {200, 201}, response.text
    assert len(statements) == 2, statements


class TestReadOnly:
    """A failover leaves a standby behind the database's address (SQLSTATE 25006)."""

    async def test_writes_and_readiness_are_503(self, services: Services, rows: Rows) -> None:
        account = await rows.user()
        async with application(services.settings()) as (app, client):
            database = services.settings().POSTGRES_DB
            await client.get(f"{API}/ready")
            await rows.database.execute(text(f"ALTER DATABASE {database} SET default_transaction_read_only = on"))
            try:
                await app.state.resources.database.engine.dispose()
                url, name = f"{API}/user/{account.username}", {"name": "Another Name"}
                write = await client.patch(url, headers=account.headers, json=name)
                read = await client.get(f"{API}/users")
                ready = await client.get(f"{API}/ready")
            finally:
                await rows.database.execute(text(f"ALTER DATABASE {database} RESET default_transaction_read_only"))
            assert (write.status_code, write.headers["Retry-After"]) == (503, "1")
            assert read.status_code == 200
            assert (ready.status_code, ready.json()) == (503, {"detail": "Not ready: database (read-only)"})
            # The connections to the standby are not kept: the next write finds the primary again.
            again = [await client.patch(url, headers=account.headers, json=name) for _ in range(3)]
            assert again[-1].status_code == 200

    async def test_a_session_keeps_no_connection_to_the_standby(self, services: Services, rows: Rows) -> None:
        database = services.settings().POSTGRES_DB
        async with application(services.settings()) as (app, _):
            sessions = app.state.resources.database.sessions
            await rows.database.execute(text(f"ALTER DATABASE {database} SET default_transaction_read_only = on"))
            try:
                await app.state.resources.database.engine.dispose()
                async with sessions() as session:
                    with pytest.raises(Exception, match="read-only"):
                        await crud_tiers.hard_delete(session, name="x")
            finally:
                await rows.database.execute(text(f"ALTER DATABASE {database} RESET default_transaction_read_only"))
            async with sessions() as session:
                with pytest.raises(Exception, match="Tier not found"):
                    await crud_tiers.hard_delete(session, name="x")


class TestSessions:
    async def refresh(self, client: httpx.AsyncClient, token: str) -> httpx.Response:
        client.cookies.clear()
        response = await client.post(f"{API}/refresh", headers={"Cookie": f"refresh_token={token}"})
        client.cookies.clear()
        return response

    def jti(self, rows: Rows, token: str) -> str:
        claims = decode_token(token, TokenType.REFRESH, rows.settings)
        assert claims is not None
        return claims.jti

    async def test_uses_within_the_grace_share_one_successor(self, client: httpx.AsyncClient, rows: Rows) -> None:
        """Of eight simultaneous uses all get the same successor, and a late one gets the newest: one token is alive."""
        for _ in range(5):
            account = await rows.user()
            responses = await asyncio.gather(*(self.refresh(client, account.refresh_token) for _ in range(8)))
            successors = {self.jti(rows, response.cookies["refresh_token"]) for response in responses}
            assert len(successors) == 1
            newer = await self.refresh(client, responses[0].cookies["refresh_token"])
            late = await self.refresh(client, account.refresh_token)
            assert self.jti(rows, late.cookies["refresh_token"]) == self.jti(rows, newer.cookies["refresh_token"])
            assert self.jti(rows, newer.cookies["refresh_token"]) not in successors

    async def test_a_revoked_session_outlives_its_longest_token(self, rows: Rows, services: Services) -> None:
        """Access tokens that live longer than refresh tokens do not live again when the entry is purged."""
        settings = services.settings(ACCESS_TOKEN_EXPIRE_MINUTES=60 * 24 * 30, REFRESH_TOKEN_EXPIRE_DAYS=1)
        account = await Rows(rows.database, settings).user()
        token = account.headers["Authorization"].removeprefix("Bearer ")
        claims = decode_token(token, TokenType.ACCESS, settings)
        assert claims is not None
        await crud_token_blacklist.end_families(rows.database, {claims.family}, settings)
        row = await rows.database.fetch_one(select(TokenBlacklist.expires_at))
        assert row is not None
        assert row.expires_at > claims.expires_at
        with time_machine.travel(claims.expires_at - timedelta(minutes=1), tick=False):
            assert decode_token(token, TokenType.ACCESS, settings) is not None
        assert await crud_token_blacklist.purge_expired(rows.database, 10) == 0
        assert await crud_users.read_by_session(rows.database, claims) is None

    async def test_a_session_of_other_settings_stays_revoked(self, rows: Rows, services: Services) -> None:
        """It was made when refresh tokens had a longer life."""
        account = await Rows(rows.database, services.settings(REFRESH_TOKEN_EXPIRE_DAYS=90)).user()
        claims = decode_token(account.refresh_token, TokenType.REFRESH, rows.settings)
        assert claims is not None
        await crud_token_blacklist.end_families(rows.database, {claims.family}, rows.settings, claims)
        row = await rows.database.fetch_one(select(TokenBlacklist.expires_at))
        assert row is not None
        assert row.expires_at > claims.expires_at


class TestOneAccountPerMailbox:
    SPELLINGS = (
        "José@bücher.example",
        "JOSÉ@BÜCHER.EXAMPLE",
        "Jose\u0301@xn--bcher-kva.example",
        "josé@XN--BCHER-KVA.example",
    )

    @pytest.mark.parametrize("registered", SPELLINGS)
    async def test_every_spelling_is_one_account(self, client: httpx.AsyncClient, rows: Rows, registered: str) -> None:
        values = {"name": "User", "username": "jose", "email": registered, "password": "a password"}
        assert (await client.post(f"{API}/user", json=values)).status_code == 201
        for spelling in self.SPELLINGS:
            again = await client.post(f"{API}/user", json={**values, "username": "other", "email": spelling})
            assert (again.status_code, again.json()) == (422, {"detail": "Email is already registered"})
            login = await client.post(f"{API}/login", data={"username": spelling, "password": "a password"})
            assert login.status_code == 200, spelling


@pytest.mark.parametrize("name", [".", ".."])
async def test_a_tier_whose_path_could_not_be_reached_is_refused(
    client: httpx.AsyncClient, rows: Rows, name: str
) -> None:
    root = await rows.superuser()
    created = await client.post(f"{API}/tier", headers=root.headers, json={"name": name})
    renamed = await client.patch(f"{API}/tier/{(await rows.tier()).name}", headers=root.headers, json={"name": name})
    assert (created.status_code, renamed.status_code) == (422, 422)
