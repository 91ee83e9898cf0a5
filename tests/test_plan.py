"""A plan responds like FastAPI's own way: on generated signatures and inputs, with errors and odd bodies."""

import inspect
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import date
from enum import Enum
from typing import Annotated, Any, Literal
from urllib.parse import urlencode
from uuid import UUID

import pytest
from fastapi import (
    APIRouter,
    BackgroundTasks,
    Cookie,
    Depends,
    FastAPI,
    Form,
    Header,
    HTTPException,
    Path,
    Query,
    Request,
    Response,
    Security,
)
from fastapi.routing import APIRoute
from fastapi.security import OAuth2PasswordBearer, SecurityScopes
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse
from starlette.types import Message

from app.api import router as api_router
from app.api.plan import NoPlanError, Plan
from app.api.route_index import install_index
from app.api.routes import flatten
from app.api.short_ways import ShortWaysMiddleware, short_ways_of

SIGNATURES = 120
REQUESTS = 30
Raw = tuple[int, list[tuple[bytes, bytes]], bytes]


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Part(BaseModel):
    size: Annotated[int, Field(ge=1)]


class Item(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=2, max_length=5)]
    count: int = 1
    parts: list[Part] = []
    anything: Any = None


class KnownError(Exception):
    """The application has a handler for it."""


class UnknownError(Exception):
    """It has none."""


TYPES: list[Any] = [
    *(int, str, str, float, bool, UUID, date, Colour, Literal["a", "b"], int | None, str | None),
    *(Annotated[int, Field(ge=1, le=5)], Annotated[str, Field(pattern="^[a-z]+$")]),
]
TEXTS = ["1", "1", "3", "-3", "1.5", "true", "red", "a", "abc", "2026-01-01", str(UUID(int=1)), "", " 1", "é"]
BODIES = [
    *[b'{"name":"abc"}'] * 20,
    b'{"name":"abc","count":"2","parts":[{"size":1}],"anything":{"a":[1,null,1.5]}}',
    b'{"name":"a"}',
    b'{"name":"abc","parts":[{"size":0},{}]}',
    b'{"name":"abc","more":1}',
    b'{"name":"abc","name":"abcd"}',
    b'{"name":"\\ud800b"}',
    b'{"name":"abc","anything":NaN}',
    b'{"name":"abc","anything":1' + b"0" * 5000 + b"}",
    b'{"name":"abc"',
    b"[" * 5000,
    *(b"null", b"[]", b"1", b""),
    b'\xef\xbb\xbf{"name":"abc"}',
    '{"name":"abc"}'.encode("utf-16"),
    b'{"name":"\xff\xff"}',
]
JSON = "application/json"
CONTENT_TYPES = [*[JSON] * 8, f"{JSON}; charset=utf-8", "application/x+json", "text/plain", ""]


@dataclass(frozen=True, slots=True)
class Call:
    """A request."""

    path: str
    body: bytes
    headers: dict[str, str]
    query: str = ""

    async def send_to(self, app: FastAPI) -> tuple[Raw | None, str]:
        """The response as ASGI messages, and the exception that reached the server."""
        scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": self.path,
            "raw_path": self.path.encode(),
            "query_string": self.query.encode(),
            "root_path": "",
            "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in self.headers.items()],
            "client": ("192.0.2.1", 1),
            "server": ("test", 80),
        }
        half = len(self.body) // 2
        parts: list[Message] = [
            {"type": "http.request", "body": self.body[:half], "more_body": True},
            {"type": "http.request", "body": self.body[half:], "more_body": False},
        ]
        sent: list[Message] = []

        async def receive() -> Message:
            return parts.pop(0) if parts else {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            sent.append(message)

        raised = ""
        try:
            await app(scope, receive, send)
        except Exception as error:  # noqa: BLE001 - compared
            raised = repr(error)
        if not sent:
            return None, raised
        content = b"".join(each.get("body", b"") for each in sent[1:])
        return (sent[0]["status"], list(sent[0]["headers"]), content), raised


def application(router: APIRouter, *, planned: bool) -> FastAPI:
    app = FastAPI()
    app.include_router(router)

    @app.exception_handler(KnownError)
    async def respond(request: Request, error: Exception) -> JSONResponse:
        content = await request.body()  # the same as in the route
        return JSONResponse({"detail": str(error), "body": content.decode("latin-1")}, 409)

    if planned:
        app.add_middleware(ShortWaysMiddleware, index=install_index(app.router))
    return app


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each request that a plan was asked: whether it responded."""
    outcomes: list[bool] = []
    call = Plan.__call__

    async def watched(self: Plan, *arguments: Any) -> Any:
        remaining = await call(self, *arguments)
        outcomes.append(remaining is None)
        return remaining

    monkeypatch.setattr(Plan, "__call__", watched)
    return outcomes


def keyword(name: str, annotation: Any, default: Any = inspect.Parameter.empty) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)


class Generator:
    """An endpoint with a tree of dependencies; the same seed makes the same one."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.calls: list[str] = []
        self.path: list[str] = []
        self.names: dict[str, list[str]] = {"query": [], "header": [], "cookie": []}
        self.has_body = self.chance.random() < 0.5
        self.functions: list[Callable[..., Any]] = []

    def router(self) -> APIRouter:
        router = APIRouter()
        ahead = [Depends(self.function("ahead", 1))] if self.chance.random() < 0.3 else []
        endpoint = self.function("endpoint", 3)
        path = "/".join(["/x", *(f"{{{name}}}" for name in self.path)])
        status = self.chance.choice([200, 201])
        router.add_api_route(path, endpoint, methods=["POST"], status_code=status, dependencies=ahead)
        return router

    def function(self, name: str, depth: int) -> Callable[..., Any]:
        chance = self.chance
        parameters = [self._value(f"{name}_{index}") for index in range(chance.randrange(3))]
        parameters += [
            self._dependency(f"{name}{index}", depth) for index in range(chance.randrange(3) if depth else 0)
        ]
        for kind in (Request, Response):
            parameters += [keyword(f"{name}_{kind.__name__}", kind)] if chance.random() < 0.3 else []
        if self.has_body and (name == "endpoint" or chance.random() < 0.2):
            parameters.append(keyword("item", Item, chance.choice([inspect.Parameter.empty, None])))
        outcome = chance.choice([None] * 30 + [HTTPException(418, "teapot"), KnownError("known"), UnknownError()])

        async def call(**values: Any) -> Any:
            self.calls.append(name)
            for response in (each for each in values.values() if isinstance(each, Response)):
                response.headers.append("X-Called", name)
                response.status_code = 202 if name == "endpoint" else response.status_code
            if outcome is not None:
                raise outcome
            shown = {key: each for key, each in values.items() if not isinstance(each, Request | Response)}
            return {name: repr(shown)}

        signature = inspect.Signature(parameters, return_annotation=dict[str, str])
        setattr(call, "__signature__", signature)  # noqa: B010 - a function has no such attribute for the type checker
        return call

    def _value(self, name: str) -> inspect.Parameter:
        kind, source = self.chance.choice(TYPES), self.chance.choice(["path", "query", "query", "header", "cookie"])
        if source == "path":
            self.path.append(name)
            return keyword(name, Annotated[kind, Path()])
        alias = self.chance.choice([None, None, f"{name}-alias"])
        self.names[source].append(alias or (name.replace("_", "-") if source == "header" else name))
        option: Any = {"query": Query, "header": Header, "cookie": Cookie}[source]
        default = self.chance.choice([inspect.Parameter.empty, None, 1, "x"])
        return keyword(name, Annotated[kind, option(alias=alias)], default)

    def _dependency(self, name: str, depth: int) -> inspect.Parameter:
        if not self.functions or self.chance.random() < 0.7:
            self.functions.append(self.function(name, depth - 1))
        return keyword(f"{name}_result", Annotated[Any, Depends(self.chance.choice(self.functions))])

    def request(self, chance: random.Random) -> Call:
        given = {
            source: {name: chance.choice(TEXTS) for name in names if chance.random() < 0.9}
            for source, names in self.names.items()
        }
        headers = given["header"]
        if given["cookie"]:
            headers["cookie"] = "; ".join(f"{name}={value}" for name, value in given["cookie"].items())
        if content_type := chance.choice(CONTENT_TYPES):
            headers["content-type"] = content_type
        path = "/".join(["/x", *(chance.choice(TEXTS[:10]) for _ in self.path)])
        return Call(path, chance.choice(BODIES), headers, urlencode(given["query"]))


async def test_a_plan_responds_like_fastapi(served: list[bool]) -> None:
    """Status, header fields, bytes, exceptions, and which functions were called in which order."""
    statuses = set()
    for seed in range(SIGNATURES):
        theirs, ours = Generator(seed), Generator(seed)
        expected_of, app = application(theirs.router(), planned=False), application(ours.router(), planned=True)
        chance = random.Random(seed)
        for _ in range(REQUESTS):
            call = ours.request(chance)
            theirs.calls.clear()
            ours.calls.clear()
            expected = await call.send_to(expected_of)
            assert await call.send_to(app) == expected, (seed, call)
            assert ours.calls == theirs.calls, (seed, call)
            statuses.add(expected[0] and expected[0][0])
    assert statuses >= {200, 201, 202, 400, 409, 418, 422, 500}
    assert len(served) == SIGNATURES * REQUESTS
    assert sum(served) > len(served) / 10


async def _yields() -> AsyncIterator[int]:
    yield 1


async def _scoped(scopes: SecurityScopes) -> str:
    return scopes.scope_str


async def _plain() -> int:
    return 1


_login = OAuth2PasswordBearer("login", auto_error=False)


class Own(APIRoute):
    pass


NOT_PLANNED: dict[str, Any] = {
    "yield": Annotated[int, Depends(_yields)],
    "a thread": Annotated[int, Depends(lambda: 1)],
    "scopes": Annotated[str, Security(_scoped, scopes=["all"])],
    "scopes of a known function": Annotated[int, Security(_plain, scopes=["all"])],
    "not cached": Annotated[int, Depends(_plain, use_cache=False)],
    "form": Annotated[str, Form()],
    "several values": Annotated[list[int], Query()],
    "a model of parameters": Annotated[Part, Query()],
    "background tasks": BackgroundTasks,
}


def _route(annotation: Any, **options: Any) -> APIRoute:
    async def endpoint(value: Any) -> int:
        return 1

    endpoint.__annotations__["value"] = annotation
    router = APIRouter(route_class=options.pop("route_class", APIRoute))
    router.add_api_route("/", endpoint, methods=["POST"], **options)
    route = router.routes[0]
    assert isinstance(route, APIRoute)
    return route


@pytest.mark.parametrize("name", NOT_PLANNED)
def test_what_only_fastapi_knows_has_no_plan(name: str) -> None:
    route = _route(NOT_PLANNED[name])
    with pytest.raises(NoPlanError):
        Plan(route)
    assert short_ways_of(route) == ()


@pytest.mark.parametrize(
    "options", [{"response_model": None}, {"response_class": JSONResponse}, {"status_code": 204}, {"route_class": Own}]
)
def test_other_responses_have_no_plan(options: dict[str, Any]) -> None:
    with pytest.raises(NoPlanError):
        Plan(_route(int, **({"response_model": None} | options if options.get("status_code") == 204 else options)))


def test_the_hot_routes_have_plans() -> None:
    app = FastAPI()
    app.include_router(api_router)
    flatten(app.router)
    planned = {
        (method, route.path)
        for route in app.routes
        if isinstance(route, APIRoute) and any(isinstance(way, Plan) for way in short_ways_of(route))
        for method in route.methods or ()
    }
    user = "/api/v1/{username}"
    assert planned >= {
        ("GET", "/api/v1/user/me/"),
        ("GET", "/api/v1/users"),
        ("POST", "/api/v1/tasks/task"),
        ("POST", f"{user}/post"),
        ("PATCH", f"{user}/post/{{id}}"),
    }


async def test_overrides_reach_a_planned_route() -> None:
    router = APIRouter()

    @router.post("/")
    async def endpoint(value: Annotated[int, Depends(_plain)], token: Annotated[str | None, Depends(_login)]) -> int:
        return value

    app = application(router, planned=True)
    call = Call("/", b"", {})
    assert (await call.send_to(app))[0] == (200, [(b"content-length", b"1"), (b"content-type", JSON.encode())], b"1")
    app.dependency_overrides[_plain] = lambda: 2
    response, _ = await call.send_to(app)
    assert response
    assert response[2] == b"2"
    app.dependency_overrides.clear()
    response, _ = await call.send_to(app)
    assert response
    assert response[2] == b"1"
