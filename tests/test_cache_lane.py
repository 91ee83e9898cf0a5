"""Hits before dependencies: the responses of the full way, and no lane where something else has to happen."""

import random
from collections.abc import AsyncIterator
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, Cookie, Depends, FastAPI, Header, Query, Request, Response
from fastapi.routing import APIRoute

from app.api import router as api_router
from app.api.dependencies import Db, get_current_user, rate_limiter
from app.api.paginated import PageWindow
from app.api.short_ways import short_ways_of
from app.core.cache import lane
from app.core.cache.entries import Entry, EntryKey
from app.core.cache.lane import HitLane
from app.core.cache.store import ResponseCache
from app.core.config import Settings
from app.core.setup import create_application
from app.core.utils.cache import cache, provides_only
from tests.helper import API, Rows

Raw = tuple[int, list[tuple[bytes, bytes]], bytes]


async def call(app: FastAPI, target: bytes, method: str = "GET", *, has_raw_path: bool = True) -> Raw:
    """The response as ASGI messages, because a client library may already change the target and the headers."""
    path, _, query = target.partition(b"?")
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "https",
        "path": httpx.URL(f"https://testserver{path.decode('latin-1')}").path,
        "raw_path": path,
        "query_string": query,
        "root_path": "",
        "headers": [(b"host", b"testserver")],
        "client": ("192.0.2.1", 1),
        "server": ("testserver", 443),
    }
    if not has_raw_path:
        del scope["raw_path"]
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    start, *bodies = sent
    headers = [(name, value) for name, value in start["headers"] if name != b"x-request-id"]
    return start["status"], headers, b"".join(each.get("body", b"") for each in bodies)


def lanes(app: FastAPI) -> dict[str, HitLane]:
    routes = (route for route in app.routes if isinstance(route, APIRoute))
    return {route.path: way for route in routes for way in short_ways_of(route) if isinstance(way, HitLane)}


@pytest.fixture
async def full_way(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FastAPI]:
    """The same application without lanes."""
    app = create_application(router=api_router, settings=settings)
    with monkeypatch.context() as patch:
        patch.setattr("app.api.short_ways.create_lane", lambda route: None)
        async with app.router.lifespan_context(app):
            yield app


@pytest.fixture
def peeked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys of the hits that lanes have found."""
    found: list[str] = []
    peek = ResponseCache.peek

    async def watched(self: ResponseCache, key: EntryKey) -> Entry | None:
        entry = await peek(self, key)
        if entry:
            found.append(key.text)
        return entry

    monkeypatch.setattr(ResponseCache, "peek", watched)
    return found


def test_the_cached_lists_and_rows_have_lanes(application: FastAPI) -> None:
    assert set(lanes(application)) >= {
        f"{API}/user/{{username}}",
        f"{API}/users",
        f"{API}/{{username}}/posts",
        f"{API}/{{username}}/post/{{id}}",
    }


NAMES = ["author", "%61uthor", "AUTHOR", "author%20", "%20author", "author%00", "%C3%BC", "a%2Fb", "nobody", "%ff"]
IDS = ["1", "%31", "%201", "1%20", "01", "+1", "1.0", "0", "-1", "2147483648", "x", "%EF%BC%91"]
QUERIES = [
    "page=1",
    "page=01",
    "page=%31",
    "page=1&page=2",
    "items_per_page=5",
    "limit=5",
    "limit=5&cursor=x",
    "page=1&limit=5",
    "page=",
    "page=%20",
    "unknown=1",
    "page=9",
    "&&page=1",
    "page=1;x",
    "page=%ff",
    "=",
]


def targets(chance: random.Random) -> list[bytes]:
    """Targets of cached routes, in many spellings."""
    found = []
    for _ in range(400):
        shape = chance.choice(["/user/{name}", "/{name}/posts", "/{name}/post/{id}", "/users"])
        path = shape.format(name=chance.choice(NAMES), id=chance.choice(IDS)) + chance.choice(["", "", "", "/"])
        query = chance.choice(["", "", *QUERIES])
        found.append(f"{API}{path}{'?' if query else ''}{query}".encode())
    return found


async def test_a_lane_responds_like_the_full_way(
    application: FastAPI, full_way: FastAPI, rows: Rows, peeked: list[str]
) -> None:
    """Status, headers and bytes, on 400 targets, each of them three times."""
    await rows.post(await rows.user("author"))
    for target in targets(random.Random(11)):
        for _ in range(2):
            await call(application, target)
        for method in ("GET", "HEAD", "POST"):
            assert await call(application, target, method) == await call(full_way, target, method), (target, method)
    assert len(peeked) > 100


async def test_an_invalid_target_stays_invalid_next_to_a_valid_one(application: FastAPI, rows: Rows) -> None:
    author = await rows.user("author")
    post = await rows.post(author)
    valid = f"{API}/author/post/{post.id}".encode()
    for _ in range(3):
        assert (await call(application, valid))[0] == 200
        status, _, _ = await call(application, valid.replace(b"/post/", b"/post/%20"))
        assert status in {404, 422}


def _sample(router: APIRouter, path: str, *dependencies: Any) -> None:
    @router.get(path, dependencies=[Depends(each) for each in dependencies])
    @cache("lane_sample", resource_id_name="number")
    async def read(number: int) -> dict[str, int]:
        return {"number": number}


@provides_only
async def provided(db: Db, window: PageWindow) -> None: ...


async def unmarked() -> None: ...


@provides_only
async def reads_a_header(accept_language: Annotated[str, Header()] = "") -> None: ...


@provides_only
async def reads_a_cookie(seen: Annotated[str, Cookie()] = "") -> None: ...


@provides_only
async def sets_a_header(response: Response) -> None:
    response.headers["X-Dependency"] = "seen"


@provides_only
async def depends_on_unmarked(value: Annotated[None, Depends(unmarked)]) -> None: ...


@pytest.mark.parametrize(
    ("dependency", "expected"),
    [
        (provided, True),
        (unmarked, False),
        (reads_a_header, False),
        (reads_a_cookie, False),
        (sets_a_header, False),
        (depends_on_unmarked, False),
        (rate_limiter, False),
        (get_current_user, False),
    ],
)
def test_only_routes_whose_dependencies_provide_have_a_lane(dependency: Any, expected: bool) -> None:
    app = FastAPI()
    _sample(app.router, "/{number}", dependency)
    assert bool(lanes(app)) is expected


async def test_an_endpoint_with_a_header_has_no_lane() -> None:
    app = FastAPI()

    @app.get("/{number}")
    @cache("lane_sample", resource_id_name="number")
    async def read(number: int, language: Annotated[str, Header()]) -> None: ...

    assert not lanes(app)


@pytest.fixture
async def sample(settings: Settings, rows: Rows) -> AsyncIterator[FastAPI]:
    router = APIRouter()
    _sample(router, "/sample/{number}", provided)

    @router.get("/queried")
    @cache("lane_queried", resource_id_name="number")
    async def read(request: Request, number: Annotated[int, Query()] = 1) -> dict[str, int]:
        return {"number": number}

    app = create_application(router=router, settings=settings)
    async with app.router.lifespan_context(app):
        yield app


async def test_overridden_dependencies_run(sample: FastAPI) -> None:
    """Tests of an application that override a dependency see it run on a hit too."""
    ran = 0

    def count() -> None:
        nonlocal ran
        ran += 1

    for _ in range(3):
        assert (await call(sample, b"/sample/1"))[0] == 200
    assert lanes(sample)["/sample/{number}"]._keys
    sample.dependency_overrides[provided] = count
    assert (await call(sample, b"/sample/1"))[0] == 200
    assert ran == 1


async def test_the_number_and_length_of_targets_is_bounded(sample: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane, "MAX_TARGETS", 10)
    for number in range(30):
        await call(sample, b"/queried?number=1&junk=%d" % number)
    await call(sample, b"/queried?number=1&junk=" + b"x" * lane.MAX_TARGET_BYTES)
    keys = lanes(sample)["/queried"]._keys
    assert [query for _, query in keys] == [b"number=1&junk=%d" % number for number in range(20, 30)]


async def test_a_write_is_seen_through_the_lane(client: httpx.AsyncClient, rows: Rows) -> None:
    account = await rows.user()
    path = f"{API}/user/{account.username}"
    for name in ("One", "Two", "Three"):
        await client.patch(path, json={"name": name}, headers=account.headers)
        outcomes = [await client.get(path) for _ in range(3)]
        assert [each.json()["name"] for each in outcomes] == [name] * 3
        assert [each.headers["X-Cache"] for each in outcomes] == ["miss", "hit", "hit"]


async def test_without_a_raw_path_the_full_way_is_taken(sample: FastAPI, peeked: list[str]) -> None:
    """`raw_path` is optional in ASGI."""
    for _ in range(3):
        assert (await call(sample, b"/sample/1", has_raw_path=False))[0] == 200
    assert not lanes(sample)["/sample/{number}"]._keys
    assert not peeked
