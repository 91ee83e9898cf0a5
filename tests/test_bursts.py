"""Attacks by many requests at once, on real processes: limits, logins and registrations."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest
from sqlalchemy import func, select

from app.core.limits.lockout import RESERVATION_SECONDS
from app.models.user import User
from dev.local.ports import free_port
from tests.conftest import Services
from tests.helper import API, PASSWORD, Rows
from tests.support.burst import allow_connections, request, send_all
from tests.support.own_route import OWN_PATH, SERVER
from tests.support.processes import Program, python, wait_until_ready

PROCESSES = 2
LIMIT = 10
CALLS = 2000
LIMITED = request("POST", f"{OWN_PATH}?message=x")


class Servers(list[str]):
    """The addresses of several processes of the application, with bcrypt at its real cost."""

    def __init__(self, programs: list[Program], ports: list[int]) -> None:
        super().__init__(f"http://127.0.0.1:{port}" for port in ports)
        self._programs = programs

    @property
    def output(self) -> str:
        return "\n".join(program.output for program in self._programs)


@pytest.fixture(scope="module")
def servers(services: Services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    allow_connections(CALLS + 1000)
    folder = tmp_path_factory.mktemp("servers")
    ports = [free_port() for _ in range(PROCESSES)]
    environment = services.environment(DEFAULT_RATE_LIMIT_LIMIT=str(LIMIT), PASSWORD_HASH_ROUNDS="12")
    with ExitStack() as stack:
        programs = [
            stack.enter_context(
                python(
                    *(part.format(port=port) for part in (*SERVER, "--backlog", "4096")),
                    log=folder / f"{port}.log",
                    environment=environment,
                )
            )
            for port in ports
        ]
        servers = Servers(programs, ports)
        for address in servers:
            wait_until_ready(f"{address}{API}/health", *programs)
        yield servers


def registration(number: int, password: str = PASSWORD) -> bytes:
    body = {"name": "A name", "username": f"flood{number}", "email": f"flood{number}@example.com", "password": password}
    return request("POST", f"{API}/user", body=body)


def login(username: str, password: str = PASSWORD) -> bytes:
    return request("POST", f"{API}/login", form={"username": username, "password": password})


@pytest.mark.parametrize("processes", [1, PROCESSES])
async def test_a_burst_of_one_address_is_limited_exactly(servers: Servers, rows: Rows, processes: int) -> None:
    """Congestion in the processes admits nothing uncounted, and opens no circuit breaker."""
    responses = await send_all((servers[number % processes], LIMITED) for number in range(CALLS))
    statuses = Counter(response.status_code for response in responses)
    assert len(responses) == CALLS
    assert statuses.keys() <= {201, 429, 503}
    assert statuses[201] == LIMIT
    assert "unavailable" not in servers.output
    assert "cannot be counted" not in servers.output


async def count_users(rows: Rows) -> int:
    async with rows.database.sessions() as session:
        return await session.scalar(select(func.count()).select_from(User)) or 0


@pytest.mark.alone
async def test_a_valid_login_during_a_flood_of_cancelled_registrations(servers: Servers, rows: Rows) -> None:
    """600 registrations of the same address, whose clients leave at once: few accounts, and no wait for the login."""
    await rows.user("userson")
    await send_all([(servers[0], registration(number)) for number in range(600)], hang_up=True)
    begin = time.monotonic()
    [response] = await send_all([(servers[0], login("userson"))])
    waited = time.monotonic() - begin
    await asyncio.sleep(1)
    assert response.status_code == 200
    assert waited < 2
    assert await count_users(rows) < 60


@pytest.mark.alone
async def test_a_valid_login_during_a_flood_of_waiting_registrations(servers: Servers, rows: Rows) -> None:
    await rows.user("userson")
    flood = asyncio.create_task(send_all([(servers[0], registration(number)) for number in range(600)]))
    await asyncio.sleep(1)
    begin = time.monotonic()
    [response] = await send_all([(servers[0], login("userson"))])
    waited = time.monotonic() - begin
    responses = await flood
    assert response.status_code == 200
    assert waited < 2
    statuses = Counter(response.status_code for response in responses)
    assert statuses.keys() <= {201, 429, 503}
    assert statuses[429] >= 300, "the limit per address"
    assert all(int(response.headers["Retry-After"]) >= 1 for response in responses if response.status_code != 201)


async def test_logins_of_unknown_names_from_one_address_are_bounded(servers: Servers, rows: Rows) -> None:
    names = [f"nobody{number}" for number in range(1000)]
    random.Random(4).shuffle(names)
    begin = time.monotonic()
    responses = await send_all((servers[number % PROCESSES], login(name)) for number, name in enumerate(names))
    assert time.monotonic() - begin < 60
    statuses = Counter(response.status_code for response in responses)
    assert statuses.keys() <= {401, 429, 503}
    assert 0 < statuses[401] < 300
    assert all(int(response.headers["Retry-After"]) >= 1 for response in responses if response.status_code != 401)


async def test_simultaneous_logins_with_the_right_password_all_succeed(servers: Servers, rows: Rows) -> None:
    """More than LOGIN_MAX_FAILURES of them: a reservation is not a failure, those beyond the number wait."""
    await rows.user("userson")
    responses = await send_all((servers[number % PROCESSES], login("userson")) for number in range(12))
    assert [response.status_code for response in responses] == [200] * 12


async def test_a_burst_of_guesses_at_two_processes_is_judged_as_often_as_allowed(servers: Servers, rows: Rows) -> None:
    await rows.user("userson")
    guesses = enumerate(f"wrong {number}" for number in range(60))
    responses = await send_all((servers[number % PROCESSES], login("userson", guess)) for number, guess in guesses)
    statuses = Counter(response.status_code for response in responses)
    assert statuses.keys() <= {401, 429, 503}
    assert statuses[401] == rows.settings.LOGIN_MAX_FAILURES


async def test_a_client_that_leaves_during_its_login_gives_the_reservation_back(servers: Servers, rows: Rows) -> None:
    await rows.user("userson")
    await send_all([(servers[0], login("userson")) for _ in range(10)], hang_up=True)
    await asyncio.sleep(2)
    assert RESERVATION_SECONDS > 2
    async with httpx.AsyncClient() as client:
        data = {"username": "userson", "password": PASSWORD}
        assert (await client.post(f"{servers[1]}{API}/login", data=data)).status_code == 200
