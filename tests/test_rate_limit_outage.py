"""The limiter without its Redis: admitted with a warning, or refused, by the settings, and within a short time."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import httpx
import pytest

from app.core.limits.limiter import TIMEOUT_SECONDS, RateLimiter
from app.core.redis import PROBE_SECONDS, stream
from app.core.setup import create_application
from dev.services import ValkeyServer, temporary_folder
from tests.conftest import Services
from tests.support.own_route import OWN_PATH, own_router


@pytest.fixture(scope="module")
def own_valkey() -> Iterator[ValkeyServer]:
    """A server of the limiter alone; the tests may kill it."""
    with temporary_folder() as folder, ValkeyServer(folder / "valkey") as valkey:
        yield valkey


@asynccontextmanager
async def running(
    services: Services, valkey: ValkeyServer, *, fail_open: bool
) -> AsyncIterator[tuple[httpx.AsyncClient, RateLimiter]]:
    settings = services.settings(
        REDIS_RATE_LIMIT_HOST=valkey.host,
        REDIS_RATE_LIMIT_PORT=valkey.port,
        REDIS_RATE_LIMIT_PASSWORD="",
        RATE_LIMIT_FAIL_OPEN=fail_open,
        DEFAULT_RATE_LIMIT_LIMIT=100,
    )
    app = create_application(router=own_router(), settings=settings)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="https://testserver") as client,
    ):
        yield client, app.state.resources.rate_limiter


async def post(client: httpx.AsyncClient) -> httpx.Response:
    return await client.post(OWN_PATH, params={"message": "x"})


@pytest.mark.parametrize("fail_open", [True, False])
async def test_without_redis_requests_are_admitted_uncounted_or_refused(
    services: Services, own_valkey: ValkeyServer, caplog: pytest.LogCaptureFixture, fail_open: bool
) -> None:
    """And once it is back they are counted again, as soon as the breaker has closed and without a restart."""
    async with running(services, own_valkey, fail_open=fail_open) as (client, limiter):
        assert (await post(client)).headers["RateLimit-Limit"] == "100"
        await asyncio.to_thread(own_valkey.kill)
        try:
            with caplog.at_level(logging.WARNING, "app.core.limits.limiter"):
                responses = [await post(client) for _ in range(20)]
        finally:
            await asyncio.to_thread(own_valkey.start)
        assert {response.status_code for response in responses} == {201 if fail_open else 503}
        if not fail_open:
            assert responses[0].json() == {"detail": "Requests cannot be counted, try again."}
            assert responses[0].headers["Retry-After"] == "1"
        assert limiter.failures == 20
        assert len([line for line in caplog.messages if "requests cannot be counted" in line]) == 1
        await asyncio.sleep(2 * PROBE_SECONDS)
        assert (await post(client)).headers["RateLimit-Limit"] == "100"


async def test_what_this_process_cannot_send_is_refused_and_no_outage(
    services: Services, own_valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where requests are admitted while Redis is unavailable: it is this process that has too many under way."""
    async with running(services, own_valkey, fail_open=True) as (client, limiter):
        await post(client)
        monkeypatch.setattr(stream, "MAX_PENDING", 3)
        responses = await asyncio.gather(*(post(client) for _ in range(30)))
        assert {response.status_code for response in responses} == {201, 503}
        assert all("RateLimit-Limit" in response.headers for response in responses if response.status_code == 201)
        assert all("Retry-After" in response.headers for response in responses if response.status_code == 503)
        assert (limiter.failures, limiter.connection.breaker.is_open) == (0, False)


@pytest.mark.alone
async def test_a_frozen_redis_delays_a_few_requests_by_its_timeout(
    services: Services, own_valkey: ValkeyServer
) -> None:
    async with running(services, own_valkey, fail_open=False) as (client, _):
        await post(client)
        await asyncio.to_thread(own_valkey.pause)
        try:
            start = time.monotonic()
            responses = [await post(client) for _ in range(100)]
            waited = time.monotonic() - start
        finally:
            await asyncio.to_thread(own_valkey.resume)
    assert {response.status_code for response in responses} == {503}
    assert waited < 10 * TIMEOUT_SECONDS, "a bound, not a speed: every request for itself would wait 100 times"
