"""Every example of an error in the OpenAPI document is compared with a real response."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from app.api.docs.examples import INVALID_BODIES, INVALID_TEXTS
from app.core.db.database import Database
from app.core.passwords import PasswordHasher, QueueFullError
from app.core.utils.rate_limit import RateLimiter, RateLimiterUnavailableError
from tests.helper import API, Rows
from tests.support.openapi import OPERATIONS, Call, Operation, World
from tests.support.unique_values import find_constraint, with_other_values

LARGE = b" " * (1024 * 1024 + 1)


@pytest.fixture
async def world(application: FastAPI, client: httpx.AsyncClient, rows: Rows) -> World:
    return World(application, client, rows)


Provoke = Callable[[World, Call], Awaitable[httpx.Response]]


def changed(**changes: Any) -> Provoke:
    """Sends the call with other parts: of a mapping those that are named."""

    async def provoke(world: World, call: Call) -> httpx.Response:
        for part, change in changes.items():
            before = getattr(call, part)
            setattr(call, part, before | change if isinstance(before, dict) else change)
        return await call.send(world.client)

    return provoke


async def send_without_token(world: World, call: Call) -> httpx.Response:
    del call.headers["Authorization"]
    return await call.send(world.client)


async def send_without_cookie(world: World, call: Call) -> httpx.Response:
    del call.headers["Cookie"]
    return await call.send(world.client)


async def send_as_another_user(world: World, call: Call) -> httpx.Response:
    call.headers |= (await world.rows.user()).headers
    return await call.send(world.client)


async def name_a_missing_tier(world: World, call: Call) -> httpx.Response:
    if call.json and "tier_id" in call.json:
        call.json["tier_id"] = 999
    else:
        call.path |= {name: "missing" for name in call.path if name in {"name", "tier_name"}}
    return await call.send(world.client)


def missing(detail: str) -> Provoke:
    """The row that the detail names is missing: one that the body refers to, or the path's last."""

    async def provoke(world: World, call: Call) -> httpx.Response:
        field = f"{detail.removesuffix(' not found').lower().replace(' ', '_')}_id"
        if call.json and field in call.json:
            call.json[field] = 999
        else:
            name = re.findall(r"{(\w+)}", call.template)[-1]
            call.path[name] = 999 if isinstance(call.path[name], int) else "missing"
        return await call.send(world.client)

    return provoke


async def name_a_missing_user(world: World, call: Call) -> httpx.Response:
    """In the path, or else in the body."""
    if "username" not in call.path:
        return await missing("User not found")(world, call)
    call.path["username"] = "nobody"
    return await call.send(world.client)


def _operation_of(call: Call) -> Operation:
    return next(each for each in OPERATIONS.values() if (each.method, each.path) == (call.method, call.template))


def _creation_of(call: Call) -> Call:
    """The request that creates a row of the kind that the call changes."""
    tags = _operation_of(call).content["tags"]
    return Call.of(
        next(each for each in OPERATIONS.values() if each.creates_from_json and each.content["tags"] == tags)
    )


def repeated(detail: str) -> Provoke:
    """Another row has the values of the constraint's columns already, and other values elsewhere."""

    async def provoke(world: World, call: Call) -> httpx.Response:
        table, names = find_constraint(detail)
        is_creation = call.method == "post"
        other = Call.of(_operation_of(call)) if is_creation else _creation_of(call)
        other.headers, other.path = dict(call.headers), {name: call.path[name] for name in other.path}
        other.json = with_other_values(other.json, table, same=names if is_creation else [])
        response = await other.send(world.client)
        assert response.status_code == 201, response.text
        call.json = call.json if is_creation else {name: other.json[name] for name in names}
        return await call.send(world.client)

    return provoke


def taken(field: str) -> Provoke:
    """Another row of the kind has the field's value already."""

    async def provoke(world: World, call: Call) -> httpx.Response:
        create = next(name for name in CREATED_AT if call.template.removeprefix(API).startswith(CREATED_AT[name]))
        other = world.call(OPERATIONS[create])
        other.json |= OTHER_VALUES[create]
        response = await other.send(world.client)
        assert response.status_code == 201, response.text
        call.json |= {field: other.json[field]}
        return await call.send(world.client)

    return provoke


CREATED_AT = {
    "POST /user": "/user",
    "POST /tier/{tier_name}/rate_limit": "/tier/{tier_name}",
    "POST /tier": "/tier",
}
OTHER_VALUES = {
    "POST /user": {"username": "other", "email": "other@example.com"},
    "POST /tier": {"name": "other"},
    "POST /tier/{tier_name}/rate_limit": {"name": "other", "path": "other"},
}


async def guess_passwords(world: World, call: Call) -> httpx.Response:
    if call.form:
        call.form["password"] = "wrong password"
    if call.json:
        call.json["current_password"] = "wrong password"
    responses = [await call.send(world.client) for _ in range(20)]
    return responses[-1]


async def exceed_the_rate_limit(world: World, call: Call) -> httpx.Response:
    settings = world.application.state.resources.settings
    with pytest.MonkeyPatch.context() as patch:
        for kind in ("DEFAULT", "LOGIN", "REGISTRATION"):
            patch.setattr(settings, f"{kind}_RATE_LIMIT_LIMIT", 1)
        await call.send(world.client)
        return await call.send(world.client)


async def reuse_the_key(world: World, call: Call) -> httpx.Response:
    call.headers["Idempotency-Key"] = "a key"
    await call.send(world.client)
    call.query["message"] = "another"
    return await call.send(world.client)


async def send_invalid_values(world: World, call: Call, expected: Any) -> httpx.Response:
    """Sends what the document tried to find the example, until the example comes back."""
    place, *_ = expected["detail"][0]["loc"]
    part = {"path": call.path, "query": call.query}.get(place)
    tries: list[dict[str, Any]] = []
    if part is None:
        tries = [{"form" if call.form else "json": body} for body in INVALID_BODIES]
    else:
        name = expected["detail"][0]["loc"][1]
        tries = [{"path" if place == "path" else "query": part | {name: text}} for text in INVALID_TEXTS]
        tries.append({"query": {}})
    for changes in tries:
        for attribute, value in changes.items():
            setattr(call, attribute, value)
        response = await call.send(world.client)
        if response.json() == expected:
            break
    return response


async def refuse_a_dependency(world: World, call: Call) -> httpx.Response:
    """The first dependency raises what a lost connection raises."""

    def unavailable() -> None:
        raise asyncpg.InternalClientError

    contexts = iter_route_contexts(world.application.routes)
    context = next(c for c in contexts if c.path_format == call.template and call.method.upper() in (c.methods or ()))
    dependency = context.dependant.dependencies[0].call
    world.application.dependency_overrides[dependency] = unavailable
    try:
        return await call.send(world.client)
    finally:
        world.application.dependency_overrides.clear()


def broken(owner: type, method: str, error: type[Exception]) -> Provoke:
    """The services that the endpoint needs are unavailable."""

    async def provoke(world: World, call: Call) -> httpx.Response:
        async def fail(*arguments: object, **options: object) -> None:
            for argument in filter(asyncio.iscoroutine, arguments):
                argument.close()
            raise error

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(owner, method, fail)
            return await call.send(world.client)

    return provoke


MULTIPART = {"Content-Type": "multipart/form-data"}
PROVOKE: dict[str, Provoke] = {
    "Not authenticated": send_without_token,
    "User not authenticated.": changed(headers={"Authorization": "Bearer nonsense"}),
    "You do not have enough privileges.": send_as_another_user,
    "Request forbidden -- authorization will not help": send_as_another_user,
    "Wrong username, email or password.": changed(form={"password": "wrong password"}),
    "Refresh token missing.": send_without_cookie,
    "Refresh token not found": send_without_cookie,
    "Invalid refresh token.": changed(headers={"Cookie": "refresh_token=nonsense"}),
    "Invalid token.": changed(headers={"Cookie": "refresh_token=nonsense"}),
    "User not found": name_a_missing_user,
    "Post not found": changed(path={"id": 999}),
    "Tier not found": name_a_missing_tier,
    "Rate Limit not found": changed(path={"id": 999}),
    "Task not found": changed(path={"task_id": "missing"}),
    "Email is already registered": taken("email"),
    "Username not available": taken("username"),
    "Tier Name not available": taken("name"),
    "Rate Limit Name not available": taken("name"),
    "The tier has a Rate Limit for this path": taken("path"),
    "The current password is wrong.": changed(json={"current_password": "wrong password"}),
    "Invalid cursor": changed(query={"cursor": "forged"}),
    "Use either page and items_per_page, or limit and cursor": changed(query={"page": 1, "limit": 1}),
    "The idempotency key was used for another request": reuse_the_key,
    "Too many failed logins.": guess_passwords,
    "Rate limit exceeded.": exceed_the_rate_limit,
    "Content Too Large": changed(content=LARGE),
    "There was an error parsing the body": changed(content=b'"\xff"', headers={"Content-Type": "application/json"}),
    "Missing boundary in multipart.": changed(content=b"x", headers=MULTIPART),
    "Service unavailable, try again.": refuse_a_dependency,
    "Requests cannot be counted, try again.": broken(RateLimiter, "admit", RateLimiterUnavailableError),
    "Too many passwords wait to be hashed, try again.": broken(PasswordHasher, "_run", QueueFullError),
    "Not ready: database": broken(Database, "fetch_one", OSError),
}


def find_provocation(status: int, detail: str) -> Provoke:
    """What the table above has; for an entity of your own a missing row, or the values of another."""
    if status == 404:
        return PROVOKE.get(detail, missing(detail))
    if status == 422:
        return PROVOKE.get(detail, repeated(detail))
    assert detail in PROVOKE, f"write into PROVOKE what makes the API return {detail!r}"
    return PROVOKE[detail]


CASES = [(name, example) for name, operation in OPERATIONS.items() for _, example, _ in operation.errors]


@pytest.mark.parametrize(("name", "example"), CASES)
async def test_the_example_of_an_error_is_what_the_api_returns(world: World, name: str, example: str) -> None:
    operation = OPERATIONS[name]
    status, value = next((status, value) for status, named, value in operation.errors if named == example)
    await world.build(before=name)
    call = world.call(operation)
    if isinstance(value["detail"], list):
        response = await send_invalid_values(world, call, value)
    else:
        response = await find_provocation(status, value["detail"])(world, call)

    assert (response.status_code, response.json()) == (status, value)
