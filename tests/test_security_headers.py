"""The middleware's part of every response: headers, request ids, origins and hosts; and no secret in the log."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Response

from app.api import router
from app.core.config import EnvironmentOption
from app.core.log_formats import JSONFormatter
from app.core.log_text import TextFormatter
from app.core.setup import create_application
from tests.conftest import Services
from tests.helper import API, PASSWORD, Rows, running


@asynccontextmanager
async def site(services: Services, **changes: Any) -> AsyncIterator[httpx.AsyncClient]:
    app = create_application(router=router, settings=services.settings(**changes), create_tables_on_start=False)

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError("broken")

    async with running(app) as client:
        yield client


REQUESTS = [
    ("GET", f"{API}/health", 200, b""),
    ("GET", "/nowhere", 404, b""),
    ("POST", f"{API}/user", 422, b"{}"),
    ("POST", f"{API}/user", 413, b"x" * 2_000_000),
    ("PUT", f"{API}/users", 405, b""),
    ("GET", "/broken", 500, b""),
]


@pytest.fixture(scope="module", params=[EnvironmentOption.LOCAL, EnvironmentOption.PRODUCTION])
def environment(request: pytest.FixtureRequest) -> EnvironmentOption:
    return EnvironmentOption(request.param)


@pytest.fixture(scope="module")
async def visitor(
    application: FastAPI, services: Services, environment: EnvironmentOption
) -> AsyncIterator[httpx.AsyncClient]:
    """A caller of a site in the environment."""
    async with site(services, ENVIRONMENT=environment, PASSWORD_HASH_ROUNDS=10) as client:
        yield client


@pytest.mark.parametrize(("method", "path", "status", "body"), REQUESTS)
async def test_every_response_has_them(
    visitor: httpx.AsyncClient,
    rows: Rows,
    method: str,
    path: str,
    status: int,
    body: bytes,
    environment: EnvironmentOption,
) -> None:
    response = await visitor.request(method, path, content=body)

    assert response.status_code == status
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["X-Frame-Options"] == "DENY"
    assert response.headers["Referrer-Policy"]
    assert ("Strict-Transport-Security" in response.headers) == (environment is EnvironmentOption.PRODUCTION)
    assert response.headers["X-Request-ID"]
    assert response.json().keys() >= ({"detail"} if status >= 400 else {"status"})


async def test_a_well_formed_request_id_is_kept(services: Services, rows: Rows) -> None:
    async with site(services) as client:
        for given, kept in (("abc-123", True), ("x" * 500, False), ("a b\tc", False), ("<script>", False)):
            response = await client.get(f"{API}/health", headers={"X-Request-ID": given})
            assert (response.headers["X-Request-ID"] == given) == kept
        one, two = await client.get(f"{API}/health"), await client.get(f"{API}/health")
        assert one.headers["X-Request-ID"] != two.headers["X-Request-ID"]


async def test_no_origin_is_allowed_unless_it_is_named(services: Services, rows: Rows) -> None:
    async with site(services) as client:
        response = await client.get(f"{API}/health", headers={"Origin": "https://app.example.com"})
        assert "access-control-allow-origin" not in response.headers
    async with site(services, CORS_ORIGINS=("https://app.example.com",)) as client:
        for origin, allowed in (("https://app.example.com", True), ("https://evil.example.com", False)):
            response = await client.get(f"{API}/health", headers={"Origin": origin})
            assert (response.headers.get("Access-Control-Allow-Origin") == origin) == allowed
            preflight = await client.options(
                f"{API}/users",
                headers={"Origin": origin, "Access-Control-Request-Method": "GET"},
            )
            assert (preflight.headers.get("Access-Control-Allow-Origin") == origin) == allowed


ORIGIN = "https://app.example.com"


async def test_preflight_allows_what_the_api_understands(services: Services, rows: Rows) -> None:
    async with site(services, CORS_ORIGINS=(ORIGIN,)) as client:
        asked = {
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "idempotency-key,authorization",
        }
        preflight = await client.options(f"{API}/login", headers={"Origin": ORIGIN, **asked})
        assert preflight.status_code == 200
        assert "Idempotency-Key" in preflight.headers["Access-Control-Allow-Headers"]

        response = await client.post(
            f"{API}/login", headers={"Origin": ORIGIN}, data={"username": "a", "password": "b"}
        )
        exposed = response.headers["Access-Control-Expose-Headers"].split(", ")
        assert {"RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset", "Retry-After"} <= set(exposed)
        assert response.headers["RateLimit-Limit"]


async def test_pages_of_allowed_origins_may_read_304_and_500(services: Services, rows: Rows) -> None:
    async with site(services, CORS_ORIGINS=(ORIGIN,)) as client:
        etag = (await client.get(f"{API}/users")).headers["ETag"]
        for path, status in ((f"{API}/users", 304), ("/broken", 500), ("/nowhere", 404)):
            response = await client.get(path, headers={"Origin": ORIGIN, "If-None-Match": etag})
            assert response.status_code == status
            assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
            assert {"Origin", "Authorization"} == set(response.headers["Vary"].split(", "))
            assert response.headers["X-Request-ID"]
            assert response.headers["X-Content-Type-Options"] == "nosniff"


async def test_refusals_of_hosts_and_origins_have_the_headers_too(services: Services, rows: Rows) -> None:
    async with site(services, CORS_ORIGINS=(ORIGIN,), ALLOWED_HOSTS=("testserver",)) as client:
        asked = {"Origin": "https://evil.example.com", "Access-Control-Request-Method": "GET"}
        refused_origin = await client.options(f"{API}/users", headers=asked)
        refused_host = await client.get(f"{API}/users", headers={"Host": "evil.example.com"})
        for response in (refused_origin, refused_host):
            assert response.status_code == 400
            assert response.headers["Cache-Control"] == "no-store"
            assert response.headers["X-Request-ID"]
            assert response.headers["X-Frame-Options"] == "DENY"


@pytest.mark.parametrize("path", [f"{API}/users/", f"{API}/user/userson/", f"{API}//evil.example.com/users/"])
async def test_redirects_ignore_the_clients_host_and_are_not_stored(services: Services, rows: Rows, path: str) -> None:
    async with site(services) as client:
        response = await client.get(path, headers={"Host": "evil.example.com"})
    if response.status_code == 307:
        assert response.headers["Location"] == path.rstrip("/")
        assert response.headers["Cache-Control"] == "no-store"
    else:
        assert response.status_code == 404


def test_log_lines_cannot_be_forged() -> None:
    record = logging.LogRecord(
        "app", logging.ERROR, "", 0, "GET /a\n2026 forged\r\x1b[2J\x9b\u2028%s", ("x" * 100_000,), None
    )
    line = TextFormatter("%(levelname)s %(message)s").format(record)
    assert line.isprintable()
    assert "/a\\n2026 forged\\r\\x1b[2J\\x9b\\u2028xx" in line
    assert len(line) < 10_000
    assert len(JSONFormatter().format(record)) < 10_000
    try:
        raise ValueError("one\x1b[2J" + "y" * 100_000)
    except ValueError as error:
        record.exc_info = (type(error), error, error.__traceback__)
    assert "\x1b" not in (text := TextFormatter("%(message)s").format(record))
    assert len(text) < 20_000


async def test_a_routes_headers_take_precedence(services: Services, rows: Rows) -> None:
    app = create_application(router=router, settings=services.settings(), create_tables_on_start=False)

    @app.get("/own")
    async def own(response: Response) -> str:
        response.headers["X-Frame-Options"] = "SAMEORIGIN"
        response.headers["X-Request-ID"] = "its own"
        response.headers["Vary"] = "Accept"
        return "own"

    async with running(app) as client:
        response = await client.get("/own", headers={"X-Request-ID": "abc"})
    assert response.headers.get_list("X-Frame-Options") == ["SAMEORIGIN"]
    assert response.headers.get_list("X-Request-ID") == ["abc"]
    assert response.headers["Vary"] == "Accept, Authorization"
    assert response.headers["X-Content-Type-Options"] == "nosniff"


async def test_other_hosts_are_refused_where_hosts_are_named(services: Services, rows: Rows) -> None:
    async with site(services, ALLOWED_HOSTS=("testserver", "*.example.com")) as client:
        for host, status in (("testserver", 200), ("api.example.com", 200), ("evil.org", 400)):
            response = await client.get(f"{API}/health", headers={"Host": host})
            assert response.status_code == status
        assert "detail" in response.json()


async def test_nothing_secret_is_logged(services: Services, rows: Rows, caplog: pytest.LogCaptureFixture) -> None:
    account = await rows.user("userson")
    token = account.headers["Authorization"].removeprefix("Bearer ")
    logger = logging.getLogger("app")
    logger.addHandler(caplog.handler)
    try:
        with caplog.at_level(logging.DEBUG):
            async with site(services, REDIS_RATE_LIMIT_PORT=1, LOG_LEVEL="DEBUG") as client:
                await client.post(f"{API}/login", data={"username": "userson", "password": PASSWORD + "x"})
                await client.post(f"{API}/login", data={"username": "userson", "password": PASSWORD})
                await client.post(f"{API}/user", json={"password": PASSWORD, "email": "x"})
                await client.get("/broken", headers=account.headers)
                await client.get(f"{API}/user/me", headers=account.headers)
                await client.get(f"{API}/ready")
    finally:
        logger.removeHandler(caplog.handler)
    assert "failed" in caplog.text
    for secret in (PASSWORD, token, account.refresh_token, services.postgres.password, services.valkey.password):
        assert secret not in caplog.text
