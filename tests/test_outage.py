"""The database or Redis is unavailable: a quick, clear response, and recovery without a restart."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import httpx
import pytest

from app.api import router
from app.core.setup import create_application
from dev.services import POSTGRES_FAST, PostgresServer, ValkeyServer, temporary_folder
from tests.conftest import Services
from tests.helper import API, Account, Rows, unique
from tests.support import outbox

RECOVERY_SECONDS = 2


@pytest.fixture(scope="module")
def own_services() -> Iterator[Services]:
    """Servers that these tests may kill."""
    with (
        temporary_folder() as folder,
        PostgresServer(folder / "postgres", password="x", options=POSTGRES_FAST) as postgres,
        ValkeyServer(folder / "valkey") as valkey,
    ):
        yield Services(postgres, valkey)


@dataclass(frozen=True, slots=True)
class Stage:
    services: Services
    client: httpx.AsyncClient
    account: Account


@pytest.fixture
async def stage(own_services: Services) -> AsyncIterator[Stage]:
    settings = own_services.settings()
    app = create_application(router=router, settings=settings)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="https://testserver") as client,
    ):
        yield Stage(own_services, client, await Rows(app.state.resources.database, settings).user())


async def ask_everything(stage: Stage) -> dict[str, httpx.Response]:
    """A read, a write, a check of a token and the readiness, at once."""
    headers = stage.account.headers
    requests = {
        "read": stage.client.get(f"{API}/tiers"),
        "write": stage.client.patch(f"{API}/user/{stage.account.username}", headers=headers, json={"name": "A name"}),
        "token": stage.client.get(f"{API}/user/me", headers=headers),
        "login": stage.client.post(f"{API}/login", data={"username": unique("nobody"), "password": "y"}),
        "optional token": stage.client.get(f"{API}/tasks/task/none", headers=headers),
        "ready": stage.client.get(f"{API}/ready"),
    }
    return dict(zip(requests, await asyncio.gather(*requests.values()), strict=True))


def statuses(responses: dict[str, httpx.Response]) -> dict[str, int]:
    return {name: response.status_code for name, response in responses.items()}


WELL = {"read": 200, "write": 200, "token": 200, "login": 401, "optional token": 404, "ready": 200}


@pytest.mark.parametrize("violent", [True, False])
async def test_the_database_becomes_unavailable_and_returns(stage: Stage, violent: bool) -> None:
    assert statuses(await ask_everything(stage)) == WELL
    postgres = stage.services.postgres
    await asyncio.to_thread(postgres.kill if violent else postgres.stop)
    try:
        during = [await ask_everything(stage) for _ in range(2)]
    finally:
        await asyncio.to_thread(postgres.start)
    for responses in during:
        assert set(statuses(responses).values()) == {503}
        assert {response.headers["Retry-After"] for response in responses.values()} == {"1"}
        assert all(response.json().keys() == {"detail"} for response in responses.values())
        assert responses["ready"].json() == {"detail": "Not ready: database"}
    assert (await stage.client.get(f"{API}/health")).status_code == 200
    await asyncio.sleep(RECOVERY_SECONDS)
    assert statuses(await ask_everything(stage)) == WELL


async def test_a_restart_between_two_requests_is_not_noticed(stage: Stage) -> None:
    """Every pooled connection is stale then; neither reads nor writes fail on it."""
    await asyncio.gather(*(ask_everything(stage) for _ in range(5)))
    await asyncio.to_thread(stage.services.postgres.kill)
    await asyncio.to_thread(stage.services.postgres.start)
    await asyncio.sleep(0.2)

    for responses in await asyncio.gather(*(ask_everything(stage) for _ in range(3))):
        assert statuses(responses) == WELL


async def test_no_task_of_a_registration_is_lost_by_a_restart_of_the_database(stage: Stage) -> None:
    """Every connection of the relay is stale then, and what it has not deleted is swept."""
    registered = []
    for violent in (True, False):
        for _ in range(5):
            name = unique("registered")
            body = {"name": "Name", "username": name, "email": f"{name}@example.com", "password": "a password"}
            response = await stage.client.post(f"{API}/user", json=body)
            assert response.status_code == 201, response.text
            registered.append(name)
        await asyncio.to_thread(stage.services.postgres.kill if violent else stage.services.postgres.stop)
        await asyncio.to_thread(stage.services.postgres.start)
        await asyncio.sleep(0.2)
    settings = stage.services.settings()
    async with outbox.process(settings) as process:
        await outbox.sweep_everything(process)
        assert await outbox.is_empty(process)
        assert await outbox.queue_of(process).zcard("arq:queue") == len(registered)


async def test_redis_becomes_unavailable_and_returns(stage: Stage) -> None:
    valkey = stage.services.valkey
    await asyncio.to_thread(valkey.kill)
    try:
        responses = await ask_everything(stage)
        task = await stage.client.post(f"{API}/tasks/task", params={"message": "x"})
    finally:
        await asyncio.to_thread(valkey.start)
    expected = WELL | {"optional token": 503, "ready": 503}
    assert statuses(responses) == expected
    assert responses["ready"].json() == {"detail": "Not ready: cache, queue, rate_limiter"}
    assert (task.status_code, task.headers["Retry-After"]) == (503, "1")
    await asyncio.sleep(RECOVERY_SECONDS)
    assert statuses(await ask_everything(stage)) == WELL


async def test_a_frozen_redis_costs_bounded_time(stage: Stage) -> None:
    valkey = stage.services.valkey
    await ask_everything(stage)
    await asyncio.to_thread(valkey.pause)
    try:
        start = time.monotonic()
        responses = await ask_everything(stage)
        waited = time.monotonic() - start
    finally:
        await asyncio.to_thread(valkey.resume)
    assert statuses(responses) == WELL | {"optional token": 503, "ready": 503}
    assert waited < 10, "a bound, not a speed: without timeouts this would wait without end"
