"""The login lockout with an unavailable Redis, with several processes, and over time."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import httpx
import pytest

from app.api import router
from app.core.limits.limiter import TIMEOUT_SECONDS
from app.core.limits.lockout import LockoutBusyError, LoginLockout
from app.core.redis import PROBE_SECONDS, open_connection, stream
from app.core.setup import create_application
from dev.services import ValkeyServer, temporary_folder
from tests.conftest import Services
from tests.helper import API, PASSWORD, Rows, running
from tests.support.processes import web_servers

PROCESSES = 2
GUESSES = 40


@pytest.fixture(scope="module")
def own_valkey() -> Iterator[ValkeyServer]:
    """A server of the lockout alone; the tests may kill it."""
    with temporary_folder() as folder, ValkeyServer(folder / "valkey") as valkey:
        yield valkey


@pytest.fixture(scope="module")
def servers(services: Services) -> Iterator[list[str]]:
    """The addresses of several processes of the application."""
    with web_servers(*[services.environment()] * PROCESSES) as addresses:
        yield addresses


@asynccontextmanager
async def depending_on(services: Services, valkey: ValkeyServer) -> AsyncIterator[httpx.AsyncClient]:
    where = {"HOST": valkey.host, "PORT": valkey.port, "PASSWORD": ""}
    settings = services.settings(**{f"REDIS_RATE_LIMIT_{name}": value for name, value in where.items()})
    async with running(create_application(router=router, settings=settings)) as client:
        yield client


async def login(client: httpx.AsyncClient, password: str = PASSWORD) -> httpx.Response:
    return await client.post(f"{API}/login", data={"username": "userson", "password": password})


async def test_an_attempt_that_this_process_cannot_reserve_is_not_judged(
    services: Services, own_valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unlike one during an outage: otherwise a burst would open the lock."""
    url = f"redis://{own_valkey.host}:{own_valkey.port}"
    async with open_connection(url, name="test", timeout_seconds=TIMEOUT_SECONDS) as connection:
        lockout = LoginLockout(connection, services.settings(), "192.0.2.1")
        await lockout.settle("account", await lockout.reserve("account"), True)
        monkeypatch.setattr(stream, "MAX_PENDING", 0)
        with pytest.raises(LockoutBusyError):
            await lockout.reserve("account")
        assert not connection.breaker.is_open


async def test_without_redis_logins_work_and_afterwards_failures_count_again(
    services: Services, own_valkey: ValkeyServer, rows: Rows
) -> None:
    await rows.user("userson")
    async with depending_on(services, own_valkey) as client:
        await asyncio.to_thread(own_valkey.kill)
        try:
            assert [(await login(client, "wrong")).status_code for _ in range(6)] == [401] * 6
            assert (await login(client)).status_code == 200
        finally:
            await asyncio.to_thread(own_valkey.start)
        await asyncio.sleep(2 * PROBE_SECONDS)
        assert [(await login(client, "wrong")).status_code for _ in range(6)] == [401] * 5 + [429]


@pytest.mark.alone
async def test_a_frozen_redis_does_not_delay_every_login(
    services: Services, own_valkey: ValkeyServer, rows: Rows
) -> None:
    await rows.user("userson")
    async with depending_on(services, own_valkey) as client:
        await login(client)
        await asyncio.to_thread(own_valkey.pause)
        try:
            start = time.monotonic()
            responses = await asyncio.gather(*(login(client) for _ in range(20)))
            waited = time.monotonic() - start
        finally:
            await asyncio.to_thread(own_valkey.resume)
    assert {response.status_code for response in responses} == {200}
    assert waited < 5 * TIMEOUT_SECONDS, "a bound, not a speed: every login for itself would wait 3 times"


async def test_a_locked_pair_may_try_again_after_the_announced_time(services: Services, rows: Rows) -> None:
    await rows.user("userson")
    settings = services.settings(LOGIN_MAX_FAILURES=2, LOGIN_LOCKOUT_SECONDS=1)
    async with running(create_application(router=router, settings=settings)) as client:
        await asyncio.gather(*(login(client, "wrong") for _ in range(2)))
        locked = await login(client)
        assert locked.status_code == 429
        await asyncio.sleep(int(locked.headers["Retry-After"]))
        assert (await login(client)).status_code == 200


async def test_a_refused_login_neither_counts_nor_extends_the_lock(services: Services, rows: Rows) -> None:
    await rows.user("userson")
    async with running(create_application(router=router, settings=services.settings(LOGIN_MAX_FAILURES=2))) as client:
        await asyncio.gather(*(login(client, "wrong") for _ in range(2)))
        waits = [int((await login(client, "wrong")).headers["Retry-After"]) for _ in range(4)]
    assert waits == sorted(waits, reverse=True)


async def test_username_and_email_are_one_account(client: httpx.AsyncClient, rows: Rows) -> None:
    account = await rows.user("userson")
    for number in range(6):
        name = (account.username, account.user.email, account.user.email.upper())[number % 3]
        last = await client.post(f"{API}/login", data={"username": name, "password": "wrong"})
    assert last.status_code == 429


async def test_a_burst_at_several_processes_gets_as_many_guesses_as_allowed(servers: list[str], rows: Rows) -> None:
    """As many as the lock allows, whatever the number of processes and cores: each guess is reserved."""
    await rows.user("userson")
    async with httpx.AsyncClient(timeout=30) as client:
        responses = await asyncio.gather(
            *(
                client.post(
                    f"{servers[number % PROCESSES]}{API}/login",
                    data={"username": "userson", "password": f"guess {number}"},
                )
                for number in range(GUESSES)
            )
        )
    statuses = [response.status_code for response in responses]
    assert set(statuses) == {401, 429}
    assert statuses.count(401) == rows.settings.LOGIN_MAX_FAILURES


async def test_a_refresh_at_one_process_does_not_survive_a_logout_at_the_other(servers: list[str], rows: Rows) -> None:
    """Every token issued during the logout is revoked afterwards, including the new cookie's."""
    issued = 0
    async with httpx.AsyncClient(timeout=30) as client:
        for _ in range(15):
            account = await rows.user()
            cookie = {"Cookie": f"refresh_token={account.refresh_token}"}
            here, there = servers
            logout, *renewed = await asyncio.gather(
                client.post(f"{here}{API}/logout", headers={**account.headers, **cookie}),
                *(client.post(f"{there}{API}/refresh", headers=cookie) for _ in range(3)),
            )
            assert logout.status_code == 200
            client.cookies.clear()
            for response in renewed:
                if response.status_code == 200:
                    issued += 1
                    newest = {"Authorization": f"Bearer {response.json()['access_token']}"}
                    token = response.headers["Set-Cookie"].partition(";")[0]
                    assert (await client.get(f"{there}{API}/user/me", headers=newest)).status_code == 401
                    assert (await client.post(f"{here}{API}/refresh", headers={"Cookie": token})).status_code == 401
    assert issued, "no refresh was as fast as a logout: the race did not happen"
