"""Nothing that a client sends gives a 500, and errors do not repeat large or broken input."""

import asyncio
import contextlib
import json
import time
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app.api import router
from app.core.config import Settings
from app.core.setup import create_application
from tests.helper import API, Account, Rows

DEEP = b'{"title":' * 20_000
BODIES = {
    "nothing": b"",
    "no json": b"no json",
    "half an object": b'{"name": ',
    "a list": b"[]",
    "null": b"null",
    "a number": b"17",
    "NaN": b"NaN",
    "infinity": b'{"name": Infinity}',
    "a huge number": b'{"tier_id": ' + b"9" * 6000 + b"}",
    "a huge float": b'{"tier_id": 1e999}',
    "no UTF-8": b'{"name": "\xff\xfe"}',
    "UTF-16": '{"name": "x"}'.encode("utf-16"),
    "a lone surrogate": b'{"name": "\\ud800 x", "username": "\\udfff", "title": "\\ud800 x", "text": "\\ud800"}',
    "a surrogate as key": b'{"\\ud800": 1}',
    "NUL": b'{"name": "a\\u0000b", "title": "a\\u0000b", "text": "\\u0000"}',
    "deep": DEEP,
    "deep but whole": b'{"name":' * 900 + b"1" + b"}" * 900,
    "duplicate keys": b'{"name": "first", "name": "second", "name": null}',
    "many unknown keys": json.dumps({f"key{number}": "x" * 10 for number in range(5000)}).encode(),
    "a long unknown key": json.dumps({"k" * 100_000: 1}).encode(),
    "a long value": json.dumps({"name": "x" * 300_000, "title": "x" * 300_000, "email": "@" * 300_000}).encode(),
    "wrong types": b'{"name": {}, "username": [], "email": true, "title": 1, "text": [[]], "path": {}, "limit": "x"}',
}
WRITES = [
    ("POST", "/user"),
    ("PATCH", "/user/{username}"),
    ("PATCH", "/user/{username}/tier"),
    ("POST", "/{username}/post"),
    ("PATCH", "/{username}/post/1"),
    ("POST", "/tier"),
    ("PATCH", "/tier/free"),
    ("POST", "/tier/free/rate_limit"),
    ("PATCH", "/tier/free/rate_limit/1"),
]


@pytest.fixture
async def root(rows: Rows) -> Account:
    account = await rows.superuser()
    await rows.post(account)
    await rows.rate_limit(await rows.tier("free"))
    return account


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
async def test_every_body_gets_a_clear_response(client: httpx.AsyncClient, root: Account, body: bytes) -> None:
    headers = {**root.headers, "Content-Type": "application/json"}
    for method, path in WRITES:
        response = await client.request(
            method, API + path.format(username=root.username), headers=headers, content=body
        )
        assert response.status_code in {200, 201, 400, 422}, (path, response.text)
        if response.status_code >= 400:
            assert "detail" in response.json()
            assert len(response.content) < 10_000


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/xml", "", "multipart/form-data", "application/json; charset=idna", "é"]
)
async def test_every_content_type_gets_a_clear_response(
    client: httpx.AsyncClient, root: Account, content_type: str
) -> None:
    headers: dict[str, Any] = {**root.headers, "Content-Type": content_type.encode()}
    for path in ("/login", "/user", "/tier"):
        response = await client.post(API + path, headers=headers, content=b'{"name": "x"}')
        assert response.status_code in {201, 400, 422}, response.text


@pytest.mark.parametrize(
    "form",
    [
        b"username=a%00b&password=x",
        b"username=%ff%fe&password=%ff",
        b"username=x&password=" + b"y" * 100_000,
        b"username=x&username=y&password=z",
        b"username=",
        b"&&&===",
        b"%",
        b"username=" + b"x" * 500_000 + b"&password=y",
        b"password=x" + b"&a=b" * 2000,
    ],
    ids=range(9),
)
async def test_every_login_form_gets_a_clear_response(client: httpx.AsyncClient, rows: Rows, form: bytes) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    response = await client.post(f"{API}/login", headers=headers, content=form)

    assert response.status_code in {400, 401, 422}
    assert "detail" in response.json()


@pytest.mark.parametrize("charset", ["utf-16", "idna", "undefined", "hex", "nonsense", "é"])
async def test_every_multipart_charset_gets_a_clear_response(client: httpx.AsyncClient, charset: str) -> None:
    headers: dict[str, Any] = {"Content-Type": f"multipart/form-data; boundary=x; charset={charset}".encode()}
    body = b'--x\r\nContent-Disposition: form-data; name="username"\r\n\r\n\xff\xfe.\xe9\r\n--x--\r\n'
    response = await client.post(f"{API}/login", headers=headers, content=body)

    assert response.status_code in {400, 422}


@pytest.mark.parametrize("part", ["%00", "a%00b", "%ff", "%ed%a0%80", "%2e%2e", "%0a", "a" * 5000, "%25", "é", "'\"--"])
async def test_every_path_gets_a_clear_response(client: httpx.AsyncClient, root: Account, part: str) -> None:
    paths = [
        "/user/{}",
        "/{}/posts",
        "/{}/post/1",
        "/tier/{}",
        "/tier/{}/rate_limits",
        "/tasks/task/{}",
        "/user/{}/tier",
    ]
    for path in paths:
        response = await client.get(API + path.format(part), headers=root.headers)
        assert response.status_code in {404, 422}, (path, response.text)
        assert len(response.content) < 1000
    for path in ("/db_user/{}", "/tier/{}", "/{}/db_post/1"):
        response = await client.delete(API + path.format(part), headers=root.headers)
        assert response.status_code in {404, 422}


@pytest.mark.parametrize(
    "token",
    [b"", b"x", b"a.b.c", b"." * 1000, b"\xff\xfe", b"eyJhbGciOiJub25lIn0.e30.", b"x" * 60_000, b"null", b"Bearer x"],
)
async def test_every_bearer_token_gets_a_clear_response(client: httpx.AsyncClient, rows: Rows, token: bytes) -> None:
    headers: dict[str, Any] = {"Authorization": b"Bearer " + token}

    assert (await client.get(f"{API}/user/me", headers=headers)).status_code == 401
    assert (await client.get(f"{API}/tasks/task/none", headers=headers)).status_code == 404
    cookies: dict[str, Any] = {"Cookie": b"refresh_token=" + token}
    assert (await client.post(f"{API}/refresh", headers=cookies)).status_code == 401


async def test_a_body_above_the_limit_is_refused(client: httpx.AsyncClient, rows: Rows, settings: Settings) -> None:
    body = b"x" * (settings.MAX_REQUEST_BODY_BYTES + 1)

    async def chunks() -> Any:
        for start in range(0, len(body), 65536):
            yield body[start : start + 65536]

    for content in (body, chunks()):
        response = await client.post(f"{API}/user", content=content, headers={"Content-Type": "application/json"})
        assert response.status_code == 413
        assert response.json().keys() == {"detail"}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nowhere", 404), ("PUT", "/users", 405), ("BREW", "/users", 405), ("GET", "/user/", 307)],
)
async def test_the_frameworks_own_errors_have_the_shape(
    client: httpx.AsyncClient, rows: Rows, method: str, path: str, status: int
) -> None:
    response = await client.request(method, API + path)

    assert response.status_code == status
    if status >= 400:
        assert response.json().keys() == {"detail"}


async def test_an_unexpected_error_has_the_shape_and_no_details(settings: Settings) -> None:
    app: FastAPI = create_application(router=router, settings=settings, create_tables_on_start=False)

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError("a secret of the server")

    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="https://testserver") as client,
    ):
        response = await client.get("/broken")

    assert (response.status_code, response.json()) == (500, {"detail": "Internal Server Error"})


async def test_clients_that_leave_do_no_harm(client: httpx.AsyncClient, root: Account) -> None:
    """Requests cancelled at any moment neither break the pool nor leave half a change."""
    body = {"name": "Cancelled"}
    for delay in (0.0, 0.001, 0.002, 0.004, 0.008):
        requests = [client.patch(f"{API}/user/{root.username}", headers=root.headers, json=body) for _ in range(10)]
        tasks = [asyncio.ensure_future(request) for request in requests]
        await asyncio.sleep(delay)
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task

    responses = await asyncio.gather(*(client.get(f"{API}/users") for _ in range(30)))
    assert {response.status_code for response in responses} == {200}


async def test_sixty_thousand_unknown_fields_are_one_error(client: httpx.AsyncClient, rows: Rows) -> None:
    """Bounded before the errors are built, so that such a body costs the event loop its parsing only."""
    body = b"{" + b",".join(b'"%d":0' % number for number in range(60_000)) + b"}"
    begin = time.process_time()
    response = await client.post(f"{API}/user", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 422
    assert [problem["type"] for problem in response.json()["detail"]] == ["too_many_fields"]
    assert time.process_time() - begin < 0.2


async def test_large_headers_are_refused(server: str, rows: Rows) -> None:
    """By plain uvicorn, without NGINX in front of it."""
    async with httpx.AsyncClient(base_url=server) as client:
        small = await client.get(f"{API}/health", headers={"X-Large": "a" * 30_000})
        large = await client.get(f"{API}/health", headers={"X-Large": "a" * 300_000})
        many = await client.get(f"{API}/health", headers=[("X-Same", "a" * 100)] * 1_000)
    assert small.status_code == 200
    for response in (large, many):
        assert response.status_code == 431
        assert response.json() == {"detail": "Request Header Fields Too Large"}
        assert response.headers["X-Request-ID"]
