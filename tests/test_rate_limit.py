"""Limited routes: which requests count together, by which rule, and the response headers."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Annotated

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, Response
from redis.asyncio import Redis

from app.api.dependencies import CurrentUser, get_optional_user, rate_limiter
from app.core.config import AppSettings, CryptSettings, DefaultRateLimitSettings, PostgresSettings
from app.core.exceptions.http_exceptions import NotFoundException
from app.core.setup import create_application
from app.crud.crud_rate_limit import crud_rate_limits
from app.crud.crud_users import StoredUser
from app.schemas.tier import TierRead
from tests.conftest import Services
from tests.helper import API, Account, Rows
from tests.support.own_route import OWN_PATH, own_router
from tests.support.statements import recorded_statements

DEFAULT = 3
LIMITED = [Depends(rate_limiter)]
HEADERS = ("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset", "Retry-After")


def extended_router() -> APIRouter:
    """The project's routes and some limited ones, as an extension would add them."""
    things = APIRouter(prefix="/api/v1/things")

    @things.get("/{name}", dependencies=LIMITED)
    async def read_thing(name: str) -> str:
        return name

    @things.get("/{name}/raw", dependencies=LIMITED)
    async def read_raw(name: str) -> Response:
        return Response(name)

    @things.get("/{name}/{number}", dependencies=LIMITED)
    async def read_number(name: str, number: int) -> int:
        raise NotFoundException(name)

    @things.post("/late")
    async def write_late(user: CurrentUser, limit: Annotated[None, Depends(rate_limiter)]) -> str:
        return user.username

    everything = APIRouter()
    everything.include_router(own_router())
    everything.include_router(things)
    return everything


@pytest.fixture(scope="module")
async def limited_application(anyio_backend: str, services: Services) -> AsyncIterator[FastAPI]:
    settings = services.settings(DEFAULT_RATE_LIMIT_LIMIT=DEFAULT, DEFAULT_RATE_LIMIT_PERIOD=60)
    app = create_application(router=extended_router(), settings=settings)
    async with app.router.lifespan_context(app):
        yield app


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Without the lines of requests, which are written a little later."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def caller(app: FastAPI, host: str = "192.0.2.1") -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, client=(host, 4711))
    return httpx.AsyncClient(transport=transport, base_url="https://testserver")


@pytest.fixture
async def client(limited_application: FastAPI, rows: Rows) -> AsyncIterator[httpx.AsyncClient]:
    async with caller(limited_application) as client:
        yield client


async def post(client: httpx.AsyncClient, account: Account | None = None, path: str = OWN_PATH) -> httpx.Response:
    return await client.post(path, params={"message": "x"}, headers=account.headers if account else {})


def limit_headers(response: httpx.Response) -> tuple[str | None, ...]:
    return tuple(response.headers.get(name) for name in HEADERS)


async def member(rows: Rows) -> tuple[Account, TierRead]:
    """A user in a new tier without rules."""
    account, tier = await rows.user(), await rows.tier()
    await rows.join_tier(account, tier)
    return account, tier


async def set_period(rows: Rows, tier: TierRead, period: int) -> None:
    async with rows.database.sessions() as db:
        await crud_rate_limits.update(db, {"period": period}, tier_id=tier.id)


async def test_every_response_has_the_rate_limit_headers(client: httpx.AsyncClient) -> None:
    responses = [await post(client) for _ in range(DEFAULT + 1)]

    assert [response.status_code for response in responses] == [201, 201, 201, 429]
    assert responses[-1].json() == {"detail": "Rate limit exceeded."}
    assert [limit_headers(response)[:3] for response in responses[:DEFAULT]] == [
        ("3", left, "60") for left in ("2", "1", "0")
    ]
    limit, remaining, reset, retry = limit_headers(responses[-1])
    assert (limit, remaining) == ("3", "0")
    assert 0 < int(retry or 0) <= int(reset or 0) <= 60
    assert limit_headers(responses[0])[3] is None


async def test_a_client_that_waits_for_retry_after_is_admitted(client: httpx.AsyncClient, rows: Rows) -> None:
    account, tier = await member(rows)
    await rows.rate_limit(tier, "api_v1_own_thing", 1)
    await set_period(rows, tier, 1)
    for _ in range(2):
        assert (await post(client, account)).status_code == 201
        refused = await post(client, account)
        assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
        await asyncio.sleep(1)


@pytest.mark.parametrize(
    ("path", "status"),
    [("a", 200), ("a/raw", 200), ("a/5", 404), ("a/none", 422), ("a%00b", 200), (f"{'a' * 999}", 200)],
)
async def test_the_headers_are_on_errors_and_custom_responses(
    client: httpx.AsyncClient, path: str, status: int
) -> None:
    response = await client.get(f"{API}/things/{path}")

    assert response.status_code == status
    assert limit_headers(response)[:2] == ("3", "2")


async def test_each_address_and_each_user_has_its_own_window(limited_application: FastAPI, rows: Rows) -> None:
    accounts = [await rows.user(), await rows.user(), None]
    hosts = ["192.0.2.1", "192.0.2.2", "2001:db8:0:1::1", "2001:db8:0:2::1"]
    for host in hosts:
        async with caller(limited_application, host) as client:
            assert limit_headers(await post(client))[1] == "2"
    async with caller(limited_application, hosts[0]) as client:
        assert [limit_headers(await post(client, account))[1] for account in accounts] == ["2", "2", "1"]


async def test_addresses_of_one_ipv6_network_count_together(limited_application: FastAPI, rows: Rows) -> None:
    """A customer has at least a /64 and may change the address within it at will."""
    left = []
    for host in ("2001:db8::1", "2001:db8::ffff:2", "2001:db8:0:0:abcd::"):
        async with caller(limited_application, host) as client:
            left.append(limit_headers(await post(client))[1])
    assert left == ["2", "1", "0"]


async def test_a_template_counts_all_its_paths_together_and_a_literal_rule_counts_alone(
    client: httpx.AsyncClient, rows: Rows
) -> None:
    account, tier = await member(rows)

    async def ask(name: str) -> tuple[str | None, ...]:
        return limit_headers(await client.get(f"{API}/things/{name}", headers=account.headers))[:2]

    assert [await ask("a"), await ask("b")] == [("3", "2"), ("3", "1")]
    await rows.rate_limit(tier, "api_v1_things_{name}", 10)
    assert [await ask("a"), await ask("b")] == [("10", "7"), ("10", "6")]
    await rows.rate_limit(tier, "api_v1_things_b", 5)
    assert [await ask("a"), await ask("b"), await ask("b")] == [("10", "5"), ("5", "4"), ("5", "3")]


async def test_a_user_without_a_rule_has_the_default_and_one_log_line(
    client: httpx.AsyncClient, rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    account = await rows.user()
    with caplog.at_level(logging.WARNING, "app.api.rate_limiting"):
        assert [limit_headers(await post(client, account))[0] for _ in range(5)] == ["3"] * 5
        await post(client)
    assert warnings_in(caplog) == [
        f"user {account.user.id} has no rate limit for api_v1_own_thing: the default is used"
    ]


async def test_changes_through_the_api_count_from_the_next_request_on(client: httpx.AsyncClient, rows: Rows) -> None:
    """And the admissions before the change still count."""
    account, root = await rows.user(), await rows.superuser()
    free, pro = await rows.tier("free"), await rows.tier("pro")

    async def change(method: str, path: str, json: object = None) -> None:
        (await client.request(method, f"{API}{path}", headers=root.headers, json=json)).raise_for_status()

    async def limit_and_remaining() -> tuple[str | None, ...]:
        return limit_headers(await post(client, account))[:2]

    assert await limit_and_remaining() == ("3", "2")
    await change("POST", "/tier/free/rate_limit", {"path": "api/v1/own/thing", "limit": 10, "period": 60})
    assert await limit_and_remaining() == ("3", "1")
    await change("PATCH", f"/user/{account.username}/tier", {"tier_id": free.id})
    assert await limit_and_remaining() == ("10", "7")
    await change("PATCH", "/tier/free/rate_limit/1", {"limit": 4})
    assert await limit_and_remaining() == ("4", "0")
    await change("PATCH", "/tier/free/rate_limit/1", {"limit": 6})
    assert await limit_and_remaining() == ("6", "1")
    await change("POST", "/tier/pro/rate_limit", {"path": "api_v1_own_thing", "limit": 100, "period": 3600})
    await change("PATCH", f"/user/{account.username}/tier", {"tier_id": pro.id})
    assert await limit_and_remaining() == ("100", "94")
    await change("DELETE", "/tier/pro/rate_limit/2")
    assert (await post(client, account)).status_code == 429, "six admissions, and the default is three"
    await change("PATCH", f"/user/{account.username}/tier", {"tier_id": free.id})
    await change("PATCH", "/tier/free/rate_limit/1", {"limit": 50})
    assert await limit_and_remaining() == ("50", "43")
    await change("DELETE", "/tier/free")
    assert limit_headers(await post(client, account))[:2] == ("3", "0")


async def test_a_longer_period_counts_admissions_that_a_shorter_one_no_longer_counted(
    client: httpx.AsyncClient, rows: Rows
) -> None:
    account, tier = await member(rows)
    await rows.rate_limit(tier, "api_v1_own_thing", 1)
    await set_period(rows, tier, 1)
    assert (await post(client, account)).status_code == 201
    await asyncio.sleep(1.1)
    await set_period(rows, tier, 600)
    refused = await post(client, account)
    assert refused.status_code == 429
    assert 590 < int(refused.headers["Retry-After"]) < 600


@pytest.mark.parametrize(
    ("path", "nearest"),
    [
        ("api/v1/own/things", "api_v1_own_thing"),
        ("v1/own/thing", "api_v1_own_thing"),
        ("api/v1/user/{name}", None),
        ("api/v1/user/anna", None),
        ("api/v1/own/thing", None),
    ],
)
async def test_a_rule_for_no_route_is_accepted_and_the_log_names_the_nearest(
    client: httpx.AsyncClient, rows: Rows, caplog: pytest.LogCaptureFixture, path: str, nearest: str | None
) -> None:
    root = await rows.superuser()
    await rows.tier("free")
    rule = {"path": path, "limit": 1, "period": 1}
    with caplog.at_level(logging.WARNING, "app.api.rate_limiting"):
        response = await client.post(f"{API}/tier/free/rate_limit", headers=root.headers, json=rule)
    assert response.status_code == 201
    stored = response.json()["path"]
    line = f"no route has the rate limit's path {stored}; the nearest is {nearest}"
    assert warnings_in(caplog) == ([line] if nearest else [])


async def test_a_limited_request_costs_no_statement_of_its_own_and_one_script_call(
    limited_application: FastAPI, client: httpx.AsyncClient, rows: Rows, redis: Redis
) -> None:
    account, tier = await member(rows)
    await rows.rate_limit(tier, "api_v1_things_{name}", 100)

    async def ask(headers: Mapping[str, str]) -> httpx.Response:
        return await client.get(f"{API}/things/a", headers=headers)

    await ask(account.headers)
    with recorded_statements(limited_application.state.resources.database) as statements:
        await redis.config_resetstat()
        for _ in range(5):
            await ask({})
        assert statements == []
        for _ in range(5):
            assert limit_headers(await ask(account.headers))[0] == "100"
    assert len(statements) == 5, "the token's check, which brings the rule"
    scripts = await redis.info("commandstats")
    assert scripts["cmdstat_evalsha"]["calls"] == 10
    assert "cmdstat_script|load" not in scripts


async def test_where_the_user_is_looked_up_first_its_rule_counts_all_the_same(
    client: httpx.AsyncClient, rows: Rows
) -> None:
    account, tier = await member(rows)
    await rows.rate_limit(tier, "api_v1_things_late", 7)
    assert limit_headers(await post(client, account, f"{API}/things/late"))[:2] == ("7", "6")


async def test_the_limit_applies_to_an_overridden_user(
    limited_application: FastAPI, client: httpx.AsyncClient, rows: Rows
) -> None:
    """As tests of extensions replace `get_optional_user`."""
    account, tier = await member(rows)
    await rows.rate_limit(tier, "api_v1_own_thing", 9)

    async def somebody() -> StoredUser:
        return replace(account.user, tier_id=tier.id)

    limited_application.dependency_overrides[get_optional_user] = somebody
    try:
        assert limit_headers(await post(client))[:2] == ("9", "8")
    finally:
        limited_application.dependency_overrides.clear()


async def test_a_script_that_redis_has_lost_is_sent_again(client: httpx.AsyncClient, redis: Redis) -> None:
    """As after a restart of Redis."""
    await post(client)
    await redis.script_flush()
    assert limit_headers(await post(client))[:2] == ("3", "1")


async def test_settings_without_the_class_switch_the_limit_off(services: Services, rows: Rows) -> None:
    class Unlimited(AppSettings, CryptSettings, PostgresSettings, DefaultRateLimitSettings):
        pass

    values = services.settings(DEFAULT_RATE_LIMIT_LIMIT=1).model_dump(exclude_unset=True)
    app = create_application(router=extended_router(), settings=Unlimited.model_validate(values))
    async with app.router.lifespan_context(app), caller(app) as client:
        responses = [await client.get(f"{API}/things/a") for _ in range(3)]
    assert [response.status_code for response in responses] == [200] * 3
    assert limit_headers(responses[0]) == (None,) * 4
