"""The limits in a Cluster: real nodes, a failover, and slots that move under load."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator

import pytest
from redis.exceptions import RedisError

from app.api import router
from app.core.config import Settings
from app.core.limits.limiter import Admission, Limit, RateLimiter, open_rate_limiter
from app.core.redis import open_any_connection
from app.core.setup import create_application
from dev.local.valkey_cli import connect
from tests.conftest import Services
from tests.helper import API, Rows, eventually, running
from tests.support.busy_loop import block_the_loop, busy_loop
from tests.support.cluster import PRIMARIES, Cluster, cluster

FAILOVER_SECONDS = 30
FIVE = Limit(5, 3600)
TIMEOUT = 0.3


@pytest.fixture(scope="module")
def nodes() -> Iterator[Cluster]:
    with cluster() as nodes:
        yield nodes


@pytest.fixture
def settings_of_cluster(services: Services, nodes: Cluster) -> Settings:
    return services.settings(REDIS_RATE_LIMIT_URL=nodes.url, LOGIN_MAX_FAILURES=2, DEFAULT_RATE_LIMIT_LIMIT=3)


@pytest.fixture
async def limiter(settings_of_cluster: Settings) -> AsyncIterator[RateLimiter]:
    async with open_rate_limiter(settings_of_cluster) as limiter:
        yield limiter


async def test_each_bucket_is_exact_wherever_its_slot_is(limiter: RateLimiter) -> None:
    """Also with braces in the rule's path, which have a meaning in the keys of a Cluster."""
    keys = [f"user:{number}:api_v1_user_{{username}}" for number in range(20)]

    async def admit(key: str) -> list[Admission | None]:
        return await asyncio.gather(*(limiter.admit(key, FIVE, with_notice=True) for _ in range(15)))

    for admissions in await asyncio.gather(*map(admit, keys)):
        assert [bool(each and each.admitted) for each in admissions].count(True) == FIVE.requests
        assert [bool(each and each.notice_is_due) for each in admissions].count(True) == 1
    assert limiter.failures == 0


async def test_an_application_limits_requests_and_logins(
    settings_of_cluster: Settings, nodes: Cluster, rows: Rows
) -> None:
    async with running(create_application(router=router, settings=settings_of_cluster)) as client:
        tasks = [await client.post(f"{API}/tasks/task", params={"message": "x"}) for _ in range(4)]
        logins = [await client.post(f"{API}/login", data={"username": "x", "password": "y"}) for _ in range(3)]
        assert (await client.get(f"{API}/ready")).json()["parts"]["rate_limiter"] == "ok"
    assert [response.status_code for response in tasks] == [201, 201, 201, 429]
    assert [response.status_code for response in logins] == [401, 401, 429]
    assert await asyncio.to_thread(lambda: connect(nodes.url).exists("rate_limit_probe")) == 1


async def test_a_slot_that_moves_loses_no_admission(limiter: RateLimiter, nodes: Cluster) -> None:
    limit, moved = Limit(400, 3600), False
    slot = int(nodes.send(0, "CLUSTER", "KEYSLOT", "{moving}"))
    owner = slot // (16384 // PRIMARIES + 1)
    admitted: Counter[object] = Counter()

    async def call() -> None:
        while not moved or admitted[False] < 100:
            admission = await limiter.admit("moving", limit, with_notice=True)
            admitted[admission and admission.admitted] += 1

    async with asyncio.TaskGroup() as callers:
        for _ in range(4):
            callers.create_task(call())
        for source, target in ((owner, (owner + 1) % 3), ((owner + 1) % 3, owner)):
            await asyncio.to_thread(nodes.move, slot, source, target)
        moved = True
    assert admitted[True] + admitted[None] == limit.requests
    assert admitted[None] == limiter.failures == 0


async def test_frozen_nodes_cost_the_timeout_once(nodes: Cluster) -> None:
    """Also those calls that wait for a connection."""
    async with open_any_connection(nodes.url, name="test", timeout_seconds=TIMEOUT) as connection:

        async def outcome(number: int) -> object:
            try:
                return await connection.execute("GET", f"key{number}")
            except RedisError as error:
                return error

        async def responds() -> bool:
            return await asyncio.gather(*map(outcome, range(100))) == [None] * 100

        await eventually(responds, FAILOVER_SECONDS)
        for node in nodes.nodes[:PRIMARIES]:
            node.pause()
        begin = time.monotonic()
        try:
            outcomes = await asyncio.gather(*map(outcome, range(500)))
            seconds = time.monotonic() - begin
        finally:
            for node in nodes.nodes[:PRIMARIES]:
                node.resume()
        assert all(isinstance(each, RedisError) for each in outcomes)
        assert seconds < 3 * TIMEOUT
        await eventually(responds, FAILOVER_SECONDS)


async def test_a_loop_that_is_busy_for_long_is_no_outage(nodes: Cluster) -> None:
    """It takes many turns of the loop to find the nodes and to connect, each as long as a fifth of the timeout."""
    async with open_any_connection(nodes.url, name="test", timeout_seconds=TIMEOUT) as connection:
        async with busy_loop(TIMEOUT / 5):
            commands = (connection.execute("SET", f"busy{number}", str(number)) for number in range(20))
            assert await asyncio.gather(*commands) == [True] * 20
        assert not connection.breaker.is_open


@pytest.mark.parametrize("is_connected", [True, False])
async def test_a_blocked_loop_is_no_outage(nodes: Cluster, is_connected: bool) -> None:
    async with open_any_connection(nodes.url, name="test", timeout_seconds=TIMEOUT) as connection:
        if is_connected:
            await connection.ping()
        waiting = [asyncio.create_task(connection.execute("GET", f"none{number}")) for number in range(50)]
        for _ in range(3):
            await asyncio.sleep(0.001)
            block_the_loop(1.5 * TIMEOUT)
        assert await asyncio.gather(*waiting) == [None] * 50
        assert not connection.breaker.is_open


@pytest.mark.long
@pytest.mark.parametrize("is_killed", [False, True], ids=["frozen", "killed"])
async def test_a_primary_is_lost_under_load(
    settings_of_cluster: Settings, nodes: Cluster, rows: Rows, is_killed: bool
) -> None:
    """Last: each time it leaves the Cluster without one of its nodes."""
    lost = nodes.nodes[is_killed]
    statuses: Counter[int] = Counter()
    app = create_application(router=router, settings=settings_of_cluster)
    async with running(app) as client, asyncio.TaskGroup() as callers:
        limiter: RateLimiter = app.state.resources.rate_limiter
        is_over = False

        async def call() -> None:
            while not is_over:
                response = await client.post(f"{API}/tasks/task", params={"message": "x"})
                statuses[response.status_code] += 1
                await asyncio.sleep(0.002)

        async def counts_everywhere() -> bool:
            try:
                await limiter.connection.ping()
            except RedisError:
                return False
            admissions = [await limiter.admit(f"after {number}", FIVE) for number in range(20)]
            return all(admissions)

        for _ in range(4):
            callers.create_task(call())
        await asyncio.to_thread(lost.kill if is_killed else lost.pause)
        await eventually(counts_everywhere, FAILOVER_SECONDS)
        is_over = True
    await asyncio.to_thread(lost.kill)
    assert set(statuses) <= {201, 429, 503}
