"""The index over the routes gives every response that FastAPI's own router gives; routes may be added at any time."""

import random
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Annotated, Any
from urllib.parse import quote, unquote

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, Request, UploadFile, WebSocket
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Message, Scope

from app.api import router as api_router
from app.api.route_index import install_index
from app.api.routes import flatten
from app.api.v1 import router as v1_router
from app.core.config import Settings
from app.core.setup import create_application
from tests.helper import API, Rows, running

REQUESTS = 6_000
METHODS = ("GET", "GET", "GET", "POST", "PATCH", "DELETE", "HEAD", "OPTIONS", "PUT", "BREW")
SAMPLES = (
    *("user", "users", "me", "posts", "post", "tier", "x", "1", " 1", "1 ", "-1", "1.5", "é", "a/b", "..", "\n", "a\n"),
    *("", "%2F", "a b", "{username}", "0" * 40, "c0ffee00-0000-4000-8000-000000000000", "A", "a?b", "a#b", "\x00", "+"),
)


def _echo(template: str) -> Any:
    async def endpoint(request: Request) -> dict[str, Any]:
        parameters = {name: str(value) for name, value in request.path_params.items()}
        return {"template": template, "parameters": parameters, "endpoint": request.scope["endpoint"].__name__}

    return endpoint


def _tree_of(paths: Iterable[tuple[str, set[str]]]) -> APIRouter:
    """Three levels of routers with these paths, in this order."""
    root, version = APIRouter(prefix="/api"), APIRouter(prefix="/v1")
    for path, methods in paths:
        leaf = APIRouter()
        leaf.add_api_route(path, _echo(path), methods=list(methods))
        version.include_router(leaf)
    root.include_router(version)
    return root


def _paths_of_the_api() -> Iterator[tuple[str, set[str]]]:
    """Those that begin with a parameter last: FastAPI's own router keeps the order in which they are written."""
    contexts = [context for context in iter_route_contexts(v1_router.routes) if context.path]
    for context in sorted(contexts, key=lambda context: str(context.path).startswith("/v1/{")):
        yield str(context.path).removeprefix("/v1"), context.methods or set()


OTHER_PATHS = [
    ("/items/{id:int}", {"GET", "DELETE"}),
    ("/items/latest", {"GET"}),
    ("/items/{name}", {"GET", "PATCH"}),
    ("/items/{key:uuid}/part/{number:float}", {"GET"}),
    ("/files/{path:path}", {"GET", "POST"}),
    ("/files/index", {"GET"}),
    ("/a.b", {"GET"}),
    ("/slash/", {"GET"}),
    ("/{first}/{second}", {"GET"}),
    ("/{username}/", {"POST"}),
]


def _application(tree: APIRouter, *, indexed: bool) -> FastAPI:
    app = FastAPI()
    app.include_router(tree)
    app.mount("/mounted", Starlette(routes=[Route("/inside", lambda request: PlainTextResponse("inside"))]))
    app.add_api_route("/api/v1/behind/{the}/mount", _echo("behind"), methods=["GET", "POST"])
    if indexed:
        install_index(app.router)
        flatten(app.router)
    return app


async def _respond(app: ASGIApp, method: str, raw_path: str, root_path: str) -> tuple[int, dict[str, str], bytes]:
    messages: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        messages.append(message)

    scope: Scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(raw_path),
        "raw_path": raw_path.encode(),
        "query_string": b"",
        "root_path": root_path,
        "headers": [(b"host", b"test")],
        "client": ("127.0.0.1", 1),
        "server": ("test", 80),
    }
    await app(scope, receive, send)
    headers = {name.decode(): value.decode() for name, value in messages[0]["headers"]}
    if "location" in headers:  # FastAPI's names the host that the client sent
        headers["location"] = "/" + headers["location"].removeprefix("http://test").lstrip("/")
    if "allow" in headers:
        headers["allow"] = ", ".join(sorted(headers["allow"].split(", ")))  # a set in an order of its own
    return messages[0]["status"], headers, b"".join(message.get("body", b"") for message in messages[1:])


def _request(chance: random.Random, templates: list[str]) -> tuple[str, str, str]:
    parts = [
        chance.choice(SAMPLES) if part.startswith("{") or chance.random() < 0.05 else part
        for part in chance.choice(templates).split("/")
    ]
    path = "/".join(quote(part, safe=chance.choice(["", "/", " +{}"])) for part in parts)
    path += chance.choice(["", "", "", "", "/", "//", "%0A", "%2F"])
    if chance.random() < 0.1:
        path = path.replace("/", "//", 1) if chance.random() < 0.5 else path.upper()
    if chance.random() < 0.1:
        path = "".join(f"%{ord(each):02x}" if each.isalpha() and chance.random() < 0.3 else each for each in path)
    root_path = chance.choice(["", "", "", "/root", "/api", "/ap"])
    return chance.choice(METHODS), (root_path if chance.random() < 0.5 else "") + path, root_path


@pytest.mark.parametrize("which", ["api", "other"])
async def test_index_and_fastapis_router_give_the_same_responses(which: str) -> None:
    paths = list(_paths_of_the_api()) if which == "api" else OTHER_PATHS
    tree = _tree_of(paths)
    own, ours = _application(tree, indexed=False), _application(tree, indexed=True)
    templates = [f"/api/v1{path}" for path, _ in paths]
    templates += ["/mounted/inside", "/mounted", "/api/v1/behind/{the}/mount", "/", "", "/api", "/nothing/here"]
    chance = random.Random(1)
    statuses = set()
    for _ in range(REQUESTS):
        method, path, root_path = _request(chance, templates)
        expected = await _respond(own, method, path, root_path)
        assert await _respond(ours, method, path, root_path) == expected, (method, path, root_path)
        statuses.add(expected[0])
    assert statuses == {200, 307, 404, 405}


async def test_order_of_inclusion_does_not_matter() -> None:
    """Routes whose path begins with a parameter go last by themselves."""
    paths = list(_paths_of_the_api())
    usual = _application(_tree_of(paths), indexed=True)
    chance = random.Random(2)
    for _ in range(5):
        mixed = [each for each in paths if not each[0].startswith("/{")]
        place = chance.randrange(len(mixed))
        mixed[place:place] = [each for each in paths if each[0].startswith("/{")]
        shuffled = _application(_tree_of(mixed), indexed=True)
        for path in ("user/posts", "tier/posts", "user/me", "users", "tasks/task/1", "user/post/1", "user/x"):
            for method in ("GET", "POST", "PATCH", "DELETE"):
                expected = await _respond(usual, method, f"/api/v1/{path}", "")
                assert await _respond(shuffled, method, f"/api/v1/{path}", "") == expected


@pytest.mark.parametrize("id", ["%201", "1%20", "+1", "1_0", "%2B1", "%31%0A", "1.0", "0x1", "%EF%BC%91"])
async def test_post_ids_are_digits_only(client: httpx.AsyncClient, rows: Rows, id: str) -> None:
    author = await rows.user("author")
    created = await client.post(
        f"{API}/author/post", headers=author.headers, json={"title": "A title", "text": "A text"}
    )
    assert created.json()["id"] == 1
    assert (await client.get(f"{API}/author/post/1")).status_code == 200

    assert (await client.get(f"{API}/author/post/{id}")).status_code in (404, 422)


async def test_openapi_and_urls_are_those_of_fastapis_tree(settings: Settings) -> None:
    """Before the start the routes are FastAPI's tree, afterwards they are flat."""
    tree = create_application(router=api_router, settings=settings)
    app = create_application(router=api_router, settings=settings)

    async with running(app):
        assert app.openapi() == tree.openapi()
        for context in iter_route_contexts(api_router.routes):
            names = dict.fromkeys(context.param_convertors or {}, "1")
            assert app.url_path_for(context.name or "", **names) == tree.url_path_for(context.name or "", **names)


async def test_every_route_of_the_api_is_indexed(settings: Settings) -> None:
    app = create_application(router=api_router, settings=settings)
    async with running(app):
        api = [route for route in app.routes if str(getattr(route, "path", "")).startswith("/api/v1")]
        assert len(api) > 10
        assert all(type(route) is APIRoute for route in api)


async def _extra() -> str:
    return "extra"


@pytest.fixture
async def started(settings: Settings) -> AsyncIterator[tuple[FastAPI, httpx.AsyncClient]]:
    app = create_application(router=api_router, settings=settings)
    async with running(app) as client:
        assert (await client.get(f"{API}/health")).status_code == 200
        yield app, client


async def test_routes_may_be_added_after_the_start(started: tuple[FastAPI, httpx.AsyncClient]) -> None:
    app, client = started
    assert (await client.get("/late/thing")).status_code == 404
    later = APIRouter(prefix="/late")

    @later.get("/{name}")
    async def read(request: Request, name: str, extra: Annotated[str, Depends(_extra)]) -> list[str]:
        return [request.scope["route"].path_format, name, extra]

    app.include_router(later)
    assert (await client.get("/late/thing")).json() == ["/late/{name}", "thing", "extra"]

    app.add_api_route("/later", _extra, methods=["GET"])
    assert (await client.get("/later")).json() == "extra"
    assert (await client.post("/later")).status_code == 405

    app.dependency_overrides[_extra] = lambda: "another"
    assert (await client.get("/late/thing")).json() == ["/late/{name}", "thing", "another"]


async def test_routes_included_between_creation_and_start_are_indexed(settings: Settings) -> None:
    router, inner = APIRouter(), APIRouter(prefix="/inner")
    router.include_router(inner)
    app = create_application(router=router, settings=settings, create_tables_on_start=False)
    inner.add_api_route("/late", _extra)

    async with running(app) as client:
        assert (await client.get("/inner/late")).json() == "extra"
        assert "/inner/late" in {getattr(route, "path", None) for route in app.routes}


async def test_websockets_streams_and_own_route_classes_work(settings: Settings) -> None:
    class Shouting(APIRoute):
        def get_route_handler(self) -> Any:
            handler = super().get_route_handler()

            async def shout(request: Request) -> Any:
                response = await handler(request)
                response.headers["X-Shout"] = "1"
                return response

            return shout

    router, inner = APIRouter(prefix="/outer"), APIRouter(route_class=Shouting)
    inner.add_api_route("/loud", _extra)

    @inner.websocket("/socket/{name}")
    async def socket(websocket: WebSocket, name: str, extra: Annotated[str, Depends(_extra)]) -> None:
        await websocket.accept()
        await websocket.send_json([name, extra])
        await websocket.close()

    @inner.get("/numbers")
    async def numbers() -> AsyncIterator[int]:
        for number in range(3):
            yield number

    router.include_router(inner)
    app = create_application(router=router, settings=settings, create_tables_on_start=False)
    async with running(app) as client:
        assert (await client.get("/outer/loud")).headers["X-Shout"] == "1"
        assert (await client.get("/outer/numbers")).text.split() == ["0", "1", "2"]
        messages = await _open_websocket(app, "/outer/socket/one")
        assert [message["type"] for message in messages] == ["websocket.accept", "websocket.send", "websocket.close"]
        assert messages[1]["text"] == '["one","extra"]'


async def _open_websocket(app: FastAPI, path: str) -> list[Message]:
    messages: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        messages.append(message)

    scope = {"type": "websocket", "path": path, "raw_path": path.encode(), "query_string": b"", "headers": []}
    await app({**scope, "asgi": {"version": "3.0"}, "scheme": "ws", "subprotocols": []}, receive, send)
    return messages


async def test_routers_with_mounts_and_limits_on_forms_keep_them() -> None:
    async def upload(files: list[UploadFile]) -> int:
        return len(files)

    mounting, limited, outer = APIRouter(), APIRouter(form_limits={"max_files": 1}), APIRouter(prefix="/outer")
    mounting.routes.append(Mount("/mount", Starlette(routes=[Route("/", lambda request: PlainTextResponse("here"))])))
    limited.add_api_route("/upload", upload, methods=["POST"])
    outer.include_router(mounting)
    outer.include_router(limited)
    app = FastAPI()
    app.include_router(outer)
    install_index(app.router)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        assert (await client.get("/outer/mount/")).text == "here"
        one, two = [("files", b"1")], [("files", b"1"), ("files", b"2")]
        assert (await client.post("/outer/upload", files=one)).status_code == 200
        assert (await client.post("/outer/upload", files=two)).status_code == 400
