"""What a request costs, in figures that are the same on every machine: Python function calls and round trips.

`costs.json` holds what each costs; a change may add 15 % to the calls and nothing to the round trips. Where the price
is right, or has fallen, renew the figures and commit them: `RENEW_COSTS=1 make test ARGS=tests/test_costs.py`.
"""

import asyncio
import inspect
import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, iter_route_contexts

from app.api import router
from app.core.setup import create_application
from tests.conftest import Services
from tests.helper import API, Rows, running
from tests.support.asgi import AsgiRequest
from tests.support.calls import counted_calls
from tests.support.proxy import CountingProxy, counting_proxy

COSTS = Path(__file__).with_name("costs.json")
RENEW = "RENEW_COSTS" in os.environ
SPARE = 1.15
REPETITIONS = 20
QUIET_SECONDS = 0.01
"""After each response, for work that continues after it."""

Costs = dict[str, int]


@dataclass(frozen=True, slots=True)
class Proxies:
    postgres: CountingProxy
    redis: CountingProxy


@pytest.fixture(scope="module")
def proxies(services: Services) -> Iterator[Proxies]:
    with ExitStack() as stack:
        servers = (services.postgres, services.valkey)
        yield Proxies(*(stack.enter_context(counting_proxy(server.host, server.port)) for server in servers))


@pytest.fixture
async def app(services: Services, proxies: Proxies, rows: Rows) -> AsyncIterator[FastAPI]:
    ports: dict[str, object] = {"POSTGRES_PORT": proxies.postgres.port}
    ports |= {f"REDIS_{part}_PORT": proxies.redis.port for part in ["CACHE", "QUEUE", "RATE_LIMIT"]}
    app = create_application(router=router, settings=services.settings(**ports))
    async with running(app):
        yield app


async def scenarios(rows: Rows) -> dict[str, AsgiRequest]:
    """The requests of `make bench`, and the cheapest one."""
    author, tier = await rows.user(), await rows.tier()
    await rows.join_tier(author, tier)
    await rows.rate_limit(tier, limit=1_000_000)
    post = await rows.post(author)
    user, headers = f"{API}/{author.username}", author.headers
    body = {"title": "A new title", "text": "A text"}
    return {
        "health": AsgiRequest("GET", f"{API}/health"),
        "cached post": AsgiRequest("GET", f"{user}/post/{post.id}"),
        "cached user": AsgiRequest("GET", f"{API}/user/{author.username}"),
        "cached users page": AsgiRequest("GET", f"{API}/users", "page=1&items_per_page=10"),
        "cached posts page": AsgiRequest("GET", f"{user}/posts", "page=1&items_per_page=10"),
        "user/me": AsgiRequest("GET", f"{API}/user/me/", headers=headers),
        "limited task": AsgiRequest("POST", f"{API}/tasks/task", "message=hello", headers),
        "create post": AsgiRequest("POST", f"{user}/post", headers=headers, body=body),
        "patch post": AsgiRequest("PATCH", f"{user}/post/{post.id}", headers=headers, body={"title": "A title"}),
    }


async def measure_once(app: FastAPI, request: AsgiRequest, proxies: Proxies) -> tuple[Costs, bytes | None]:
    before = proxies.postgres.round_trips, proxies.redis.round_trips
    with counted_calls() as calls:
        status, headers = await request.send_to(app)
        await asyncio.sleep(QUIET_SECONDS)
    assert status < 300
    postgres, redis = proxies.postgres.round_trips - before[0], proxies.redis.round_trips - before[1]
    return {"calls": calls.total(), "postgres": postgres, "redis": redis}, headers.get(b"x-cache")


async def measure(app: FastAPI, name: str, request: AsgiRequest, proxies: Proxies) -> Costs:
    """The minimum of many, because other work of the process is part of some."""
    for _ in range(5):
        await request.send_to(app)
    measured = [await measure_once(app, request, proxies) for _ in range(REPETITIONS)]
    wanted = b"hit" if name.startswith("cached") else None
    costs = [costs for costs, x_cache in measured if x_cache == wanted]
    assert costs, f"no {name} was a hit"
    return {unit: min(each[unit] for each in costs) for unit in costs[0]}


async def test_requests_cost_what_they_did(app: FastAPI, rows: Rows, proxies: Proxies) -> None:
    measured = {name: await measure(app, name, request, proxies) for name, request in (await scenarios(rows)).items()}
    if RENEW:
        COSTS.write_text(json.dumps(measured, indent=2) + "\n", encoding="utf-8")
    stored = json.loads(COSTS.read_text(encoding="utf-8"))
    dearer = {
        f"{name}: {unit}": f"{cost}, was {stored[name][unit]}"
        for name, costs in measured.items()
        for unit, cost in costs.items()
        if cost > stored[name][unit] * SPARE
    }
    assert not dearer


def synchronous(dependant: Dependant) -> Iterator[str]:
    """Functions for which FastAPI goes to a thread and back, which costs about 100 microseconds."""
    for dependency in dependant.dependencies:
        # An instance, such as OAuth2PasswordBearer's, is called by its own method.
        call = dependency.call
        function = call if inspect.isroutine(call) or inspect.isclass(call) else type(call).__call__
        if not (inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)):
            yield repr(call)
        yield from synchronous(dependency)


def test_no_dependency_outside_of_passwords_needs_a_thread() -> None:
    routes = [context.route for context in iter_route_contexts(router.routes) if isinstance(context.route, APIRoute)]
    found = {route.path: list(synchronous(route.dependant)) for route in routes}
    # Hashing a password takes thousands of times as long.
    paths = {path for path, functions in found.items() if functions}
    assert len(found) > 10
    assert paths <= {"/login", "/user", "/user/{username}/password"}
