"""The response cache in one process: what it serves, drops and refuses."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import quote

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, Response
from redis.asyncio import Redis

from app.api.dependencies import CurrentUser, get_current_user
from app.core.config import Settings
from app.core.exceptions.cache_exceptions import CacheIdentificationInferenceError, InvalidRequestError
from app.core.setup import create_application
from app.core.utils.cache import Owner, cache
from tests.helper import API, Rows
from tests.support.statements import recorded_statements


@dataclass
class Calls:
    """How often the endpoint behind the cache ran, and what it returns."""

    count: int = 0
    value: str = "first"
    began: asyncio.Event = field(default_factory=asyncio.Event)


@asynccontextmanager
async def serving(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://testserver") as client,
    ):
        yield client


@pytest.fixture
def calls() -> Calls:
    return Calls()


def _header(response: Response) -> None:
    response.headers["X-Dependency"] = "seen"


def _sample_router(calls: Calls) -> APIRouter:
    router = APIRouter()

    @router.get("/sample/{my_id}", dependencies=[Depends(_header)])
    @cache(key_prefix="sample_data", resource_id_name="my_id")
    async def read(request: Request, my_id: str) -> dict[str, str]:
        calls.count += 1
        calls.began.set()
        await asyncio.sleep(0.02)
        if my_id == "absent":
            raise HTTPException(404)
        return {"data": calls.value}

    @router.patch("/sample/{my_id}")
    @cache(key_prefix="sample_data", resource_id_name="my_id")
    async def change(request: Request, my_id: str) -> None:
        calls.value = "second"

    @router.delete("/samples/{my_id}")
    @cache("other", resource_id_name="my_id", pattern_to_invalidate_extra=["sample_data:{my_id}*"])
    async def erase(request: Request, my_id: str) -> None:
        """Drops by pattern."""

    return router


@pytest.fixture
async def sample(calls: Calls, settings: Settings, rows: Rows) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(create_application(router=_sample_router(calls), settings=settings)) as client:
        yield client


async def test_the_second_read_is_a_hit_with_the_same_bytes(
    sample: httpx.AsyncClient, calls: Calls, redis: Redis
) -> None:
    """At the README's key, with headers that dependencies set, and for the given time."""
    first, second = await sample.get("/sample/7"), await sample.get("/sample/7")
    assert [first.headers["X-Cache"], second.headers["X-Cache"], calls.count] == ["miss", "hit", 1]
    assert first.content == second.content == b'{"data":"first"}'
    assert first.headers["ETag"] == second.headers["ETag"]
    assert second.headers["X-Dependency"] == "seen"
    assert second.headers["Content-Type"] == "application/json"
    assert 3590 < await redis.ttl("sample_data:7") <= 3600


async def test_only_success_is_stored(sample: httpx.AsyncClient, calls: Calls) -> None:
    assert [(await sample.get("/sample/absent")).status_code for _ in range(2)] == [404, 404]
    assert calls.count == 2


async def test_a_write_drops_the_entry(sample: httpx.AsyncClient) -> None:
    await sample.get("/sample/7")
    await sample.patch("/sample/7")
    assert (await sample.get("/sample/7")).json() == {"data": "second"}


async def test_a_read_that_overlaps_a_write_stores_nothing(sample: httpx.AsyncClient, calls: Calls) -> None:
    slow = asyncio.create_task(sample.get("/sample/7"))
    await calls.began.wait()
    await sample.patch("/sample/7")
    await slow
    assert (await sample.get("/sample/7")).headers["X-Cache"] == "miss"


async def test_simultaneous_misses_run_the_endpoint_once(sample: httpx.AsyncClient, calls: Calls) -> None:
    responses = await asyncio.gather(*(sample.get("/sample/7") for _ in range(50)))
    assert calls.count == 1
    assert {response.content for response in responses} == {b'{"data":"first"}'}


async def test_a_crashed_filler_delays_others_for_a_bounded_time(
    sample: httpx.AsyncClient, redis: Redis, calls: Calls
) -> None:
    await redis.set("_cache:lock:sample_data:7", "a filler that died", px=500)
    assert (await asyncio.wait_for(sample.get("/sample/7"), 2)).status_code == 200
    assert calls.count == 1


@pytest.mark.parametrize("value", ["*", "?", "[a-z]*", "7:*", "%2A", "{my_id}", "\\"])
async def test_values_mean_nothing_in_patterns(sample: httpx.AsyncClient, value: str) -> None:
    """A path value full of wildcards drops its own entry, and no other."""
    await sample.get("/sample/7")
    await sample.get("/sample/abc")
    await sample.delete(f"/samples/{quote(value, safe='')}")
    assert [(await sample.get(f"/sample/{other}")).headers["X-Cache"] for other in ("7", "abc")] == ["hit", "hit"]


async def test_a_pattern_drops_what_matches(sample: httpx.AsyncClient) -> None:
    for name in ("alpha", "alphabet", "beta"):
        await sample.get(f"/sample/{name}")
    await sample.delete("/samples/alpha")
    outcomes = {
        name: (await sample.get(f"/sample/{name}")).headers["X-Cache"] for name in ("alpha", "alphabet", "beta")
    }
    assert outcomes == {"alpha": "miss", "alphabet": "miss", "beta": "hit"}


async def test_a_hit_needs_no_database(client: httpx.AsyncClient, rows: Rows) -> None:
    """The only statements are those of the background, which keep the epoch."""
    account = await rows.user()
    await client.get(f"{API}/user/{account.username}")
    with recorded_statements(rows.database) as statements:
        responses = [await client.get(f"{API}/user/{account.username}") for _ in range(20)]
    assert {response.headers["X-Cache"] for response in responses} == {"hit"}
    assert statements == []


class TestOwnWrites:
    """A client reads its own write, whatever was cached before."""

    async def _warm(self, client: httpx.AsyncClient, *paths: str) -> None:
        for path in paths:
            assert (await client.get(API + path)).headers["X-Cache"] == "miss"
            assert (await client.get(API + path)).headers["X-Cache"] == "hit"

    async def test_posts(self, client: httpx.AsyncClient, rows: Rows) -> None:
        author, root = await rows.user("author"), await rows.superuser()
        await rows.post(author, "Zero")
        lists = ("/author/posts", "/author/posts?page=1&items_per_page=5", "/author/posts?limit=5")
        await self._warm(client, *lists)
        post = {"title": "One", "text": "text"}
        created = (await client.post(f"{API}/author/post", json=post, headers=author.headers)).json()
        for path in lists:
            assert [each["title"] for each in (await client.get(API + path)).json()["data"]] == ["One", "Zero"]
        path = f"/author/post/{created['id']}"
        await self._warm(client, path)
        await client.patch(API + path, json={"title": "Two"}, headers=author.headers)
        assert (await client.get(API + path)).json()["title"] == "Two"
        assert [each["title"] for each in (await client.get(API + lists[0])).json()["data"]] == ["Two", "Zero"]
        await client.delete(API + path, headers=author.headers)
        assert (await client.get(API + path)).status_code == 404
        assert [each["title"] for each in (await client.get(API + lists[0])).json()["data"]] == ["Zero"]
        other = (await client.post(f"{API}/author/post", json=post, headers=author.headers)).json()
        await self._warm(client, f"/author/post/{other['id']}")
        await client.delete(f"{API}/author/db_post/{other['id']}", headers=root.headers)
        assert (await client.get(f"{API}/author/post/{other['id']}")).status_code == 404

    async def test_a_renamed_author(self, client: httpx.AsyncClient, rows: Rows) -> None:
        """Nothing is left under the old name, and nothing of a former owner under the new one."""
        author, former = await rows.user("author"), await rows.user("wanted")
        post, old = await rows.post(author), await rows.post(former)
        paths = ("/user/author", "/users", "/author/posts", f"/author/post/{post.id}")
        await self._warm(client, *paths, "/user/wanted", "/wanted/posts", f"/wanted/post/{old.id}")
        await client.patch(f"{API}/user/wanted", json={"username": "gone"}, headers=former.headers)
        await client.patch(f"{API}/user/author", json={"username": "wanted"}, headers=author.headers)
        assert [(await client.get(API + path)).status_code for path in paths] == [404, 200, 404, 404]
        assert (await client.get(f"{API}/user/wanted")).json()["id"] == author.user.id
        assert [each["id"] for each in (await client.get(f"{API}/wanted/posts")).json()["data"]] == [post.id]
        assert (await client.get(f"{API}/wanted/post/{old.id}")).status_code == 404
        assert {user["username"] for user in (await client.get(f"{API}/users")).json()["data"]} == {"wanted", "gone"}

    @pytest.mark.parametrize("path", ["/user/author", "/db_user/author"])
    async def test_a_deleted_author(self, client: httpx.AsyncClient, rows: Rows, path: str) -> None:
        author, root = await rows.user("author"), await rows.superuser()
        post = await rows.post(author)
        paths = ("/user/author", "/author/posts", f"/author/post/{post.id}")
        await self._warm(client, *paths, "/users")
        caller = root if "db_user" in path else author
        assert (await client.delete(API + path, headers=caller.headers)).status_code == 200
        assert [(await client.get(API + each)).status_code for each in paths] == [404, 404, 404]
        assert [each["id"] for each in (await client.get(f"{API}/users")).json()["data"]] == [root.user.id]

    async def test_tiers(self, client: httpx.AsyncClient, rows: Rows) -> None:
        account, root, tier = await rows.user("member"), await rows.superuser(), await rows.tier("gold")
        await self._warm(client, "/user/member", "/users")
        await client.patch(f"{API}/user/member/tier", json={"tier_id": tier.id}, headers=root.headers)
        assert (await client.get(f"{API}/user/member")).json()["tier_id"] == tier.id
        await client.delete(f"{API}/tier/gold", headers=root.headers)
        assert (await client.get(f"{API}/user/member")).json()["tier_id"] is None
        assert {user["tier_id"] for user in (await client.get(f"{API}/users")).json()["data"]} == {None}
        assert account.user.tier_id is None

    async def test_a_new_user(self, client: httpx.AsyncClient, rows: Rows) -> None:
        await rows.user()
        await self._warm(client, "/users")
        values = {"name": "New", "username": "newuser", "email": "new@example.com", "password": "long enough"}
        assert (await client.post(f"{API}/user", json=values)).status_code == 201
        assert (await client.get(f"{API}/users")).json()["total_count"] == 2


class TestWrongUse:
    """Each mistake is reported before the first request, with the endpoint's name and how to fix it."""

    def test_an_unknown_placeholder(self) -> None:
        with pytest.raises(InvalidRequestError, match=r"endpoint: \{other\}.*Add the parameter"):

            @cache("{other}_data", resource_id_name="my_id")
            async def endpoint(request: Request, my_id: int) -> None: ...

    def test_a_reserved_key(self) -> None:
        with pytest.raises(InvalidRequestError, match=r"endpoint: keys that begin with '_cache:' .*another beginning"):

            @cache("_cache:data", resource_id_name="my_id")
            async def endpoint(my_id: int) -> None: ...

    def test_a_pattern_that_cannot_match(self) -> None:
        with pytest.raises(InvalidRequestError, match=r"endpoint: 'data:\[z-a\]' is no pattern"):

            @cache(pattern_to_invalidate_extra=["data:[z-a]"])
            async def endpoint(my_id: int) -> None: ...

    def test_get_without_a_key(self, settings: Settings) -> None:
        router = APIRouter()

        @router.get("/{my_id}")
        @cache()
        async def endpoint(my_id: int) -> None: ...

        with pytest.raises(InvalidRequestError, match="endpoint: a GET endpoint needs a key_prefix"):
            create_application(router=router, settings=settings)

    def test_owners_of_a_write(self, settings: Settings) -> None:
        router = APIRouter()

        @router.patch("/{my_id}")
        @cache("data", resource_id_name="my_id", owners=[Owner("my_id")])
        async def endpoint(my_id: int) -> None: ...

        with pytest.raises(InvalidRequestError, match="endpoint: only a GET endpoint has entries with owners"):
            create_application(router=router, settings=settings)

    def test_an_id_that_cannot_be_inferred(self) -> None:
        with pytest.raises(CacheIdentificationInferenceError, match=r"endpoint: 2 .*resource_id_name"):

            @cache("data")
            async def endpoint(request: Request, one: int, two: int) -> None: ...

    def test_an_inferred_id(self) -> None:
        @cache("data", resource_id_type=int)
        async def endpoint(request: Request, my_id: int, page: int = 1) -> None: ...

        assert endpoint.cache_rule.key.text == "data:{my_id}"  # type: ignore[attr-defined] # set by the decorator

    def test_invalidation_on_get(self, settings: Settings) -> None:
        router = APIRouter()

        @router.get("/{my_id}")
        @cache("data", resource_id_name="my_id", to_invalidate_extra={"more": "{my_id}"})
        async def endpoint(request: Request, my_id: int) -> None: ...

        with pytest.raises(InvalidRequestError, match="endpoint: a GET endpoint invalidates nothing"):
            create_application(router=router, settings=settings)

    def test_a_shared_key_behind_authentication(self, settings: Settings) -> None:
        router = APIRouter(dependencies=[Depends(get_current_user)])

        @router.get("/{my_id}")
        @cache("data", resource_id_name="my_id")
        async def endpoint(request: Request, my_id: int) -> None: ...

        with pytest.raises(InvalidRequestError, match=r"endpoint: the response depends on the caller.*Put the caller"):
            create_application(router=router, settings=settings)

    def test_a_key_with_the_caller(self, settings: Settings) -> None:
        router = APIRouter()

        @router.get("/mine")
        @cache("data", resource_id_name="user.id")
        async def endpoint(request: Request, user: CurrentUser) -> None: ...

        create_application(router=router, settings=settings)
