"""One limit for all processes, under any load, and rules that change in all of them at once."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator

import httpx
import pytest
from redis.asyncio import Redis

from tests.conftest import Services
from tests.helper import API, PLAIN_HTTP, Rows
from tests.support.own_route import OWN_PATH, SERVER
from tests.support.processes import web_servers

PROCESSES = 2
CLIENTS = 12
LIMIT, PERIOD, WINDOWS = 20, 1, 4
PATIENCE_SECONDS = 30
MICROSECONDS = 1_000_000


@pytest.fixture(scope="module")
def servers(services: Services) -> Iterator[list[str]]:
    """The addresses of several processes of the application, whose default limit is `LIMIT` in `PERIOD`."""
    environment = services.environment(DEFAULT_RATE_LIMIT_LIMIT=str(LIMIT), DEFAULT_RATE_LIMIT_PERIOD=str(PERIOD))
    with web_servers(*[environment] * PROCESSES, command=SERVER) as addresses:
        yield addresses


async def hammer(server: str, seconds: float, headers: dict[str, str], statuses: Counter[int]) -> None:
    """Requests without a pause between them for some seconds, and on a busy machine until one is refused."""
    start = time.monotonic()
    async with httpx.AsyncClient(base_url=server, headers=headers, timeout=30, verify=PLAIN_HTTP) as client:
        while (elapsed := time.monotonic() - start) < seconds or (not statuses[429] and elapsed < PATIENCE_SECONDS):
            statuses[(await client.post(OWN_PATH, params={"message": "x"})).status_code] += 1


async def test_no_window_of_any_begin_admits_more_than_the_limit(servers: list[str], rows: Rows, redis: Redis) -> None:
    account = await rows.user()
    statuses: Counter[int] = Counter()
    clients = [
        hammer(servers[number % PROCESSES], WINDOWS * PERIOD, dict(account.headers), statuses)
        for number in range(CLIENTS)
    ]
    await asyncio.gather(*clients)
    bucket = f"rate_limit:user:{account.user.id}:api_v1_own_thing"
    read = redis.register_script("return redis.call('LRANGE', KEYS[1], 0, -1)")
    admissions = [int(entry) for entry in await read(keys=[bucket])]

    assert statuses.keys() == {201, 429}
    assert statuses[201] == len(admissions), "every admission is one that a client saw"
    assert statuses[201] > LIMIT, "more than one window"
    spans = [later - earlier for earlier, later in zip(admissions, admissions[LIMIT:], strict=False)]
    assert min(spans) >= PERIOD * MICROSECONDS


async def test_a_caller_under_the_limit_is_never_refused(servers: list[str], rows: Rows) -> None:
    """While another caller is refused all the time."""
    account, noisy = await rows.user(), await rows.user()
    noise = [asyncio.create_task(hammer(server, PERIOD, dict(noisy.headers), Counter())) for server in servers]
    async with httpx.AsyncClient(headers=account.headers, params={"message": "x"}, timeout=30) as client:
        addresses = [f"{servers[number % PROCESSES]}{OWN_PATH}" for number in range(LIMIT)]
        statuses = [(await client.post(address)).status_code for address in addresses]
    await asyncio.gather(*noise)
    assert statuses == [201] * LIMIT


async def test_a_change_in_one_process_counts_in_the_other_at_once(servers: list[str], rows: Rows) -> None:
    account, root, tier = await rows.user(), await rows.superuser(), await rows.tier("free")
    here, there = servers
    async with httpx.AsyncClient() as client:

        async def change(method: str, path: str, json: object) -> None:
            response = await client.request(method, f"{here}{API}{path}", headers=root.headers, json=json)
            response.raise_for_status()

        async def limit() -> str:
            response = await client.post(f"{there}{OWN_PATH}", params={"message": "x"}, headers=account.headers)
            return str(response.headers["RateLimit-Limit"])

        assert await limit() == str(LIMIT)
        await change("PATCH", f"/user/{account.username}/tier", {"tier_id": tier.id})
        assert await limit() == str(LIMIT)
        await change("POST", "/tier/free/rate_limit", {"path": OWN_PATH, "limit": 1000, "period": 60})
        assert await limit() == "1000"
        for number in range(10):
            await change("PATCH", "/tier/free/rate_limit/1", {"limit": 500 + number})
            assert await limit() == str(500 + number)
        await change("DELETE", "/tier/free", None)
        assert await limit() == str(LIMIT)
