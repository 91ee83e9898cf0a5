"""Failover by Sentinel: real servers, and an application and a worker that go on without a restart."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import httpx
import pytest
from arq.constants import default_queue_name
from redis.asyncio import Redis
from redis.exceptions import RedisError

from app.api import router
from app.core.config import Settings
from app.core.queue.jobs import TIMEOUT_SECONDS
from app.core.queue.view import read_tasks
from app.core.redis import open_connection
from app.core.setup import create_application
from app.core.utils import queue
from app.core.worker.runtime.context import TaskContext
from dev.local.valkey_cli import connect
from dev.services import VALKEY_DURABLE, ValkeyServer
from tests.conftest import Services
from tests.helper import API, Rows, eventually, running
from tests.support import tasks_worker
from tests.support.busy_loop import block_the_loop, busy_loop
from tests.support.sentinels import PASSWORD, Group, sentinels

FAILOVER_SECONDS = 30
CALLERS = 4
_COUNT_ADMISSIONS = """
local count = 0
for _, key in ipairs(redis.call('KEYS', 'rate_limit:*')) do count = count + redis.call('LLEN', key) end
return count
"""


@pytest.fixture
def group() -> Iterator[Group]:
    with sentinels() as group:
        yield group


def settings_of(services: Services, group: Group, **changes: object) -> Settings:
    urls = {f"REDIS_{server}_URL": group.url for server in ["CACHE", "QUEUE", "RATE_LIMIT"]}
    return services.settings(DEFAULT_RATE_LIMIT_LIMIT=1_000_000, **urls | changes)


async def sample_background_task(ctx: TaskContext, name: str) -> str:
    """A quick one with the name of the worker's."""
    return name


async def cut_off(group: Group) -> None:
    """The replica gets nothing more of its primary."""
    primary, replica = group.servers
    await asyncio.to_thread(replica.pause)
    async with Redis(port=primary.port, password=PASSWORD) as client:
        await client.client_kill_filter(_type="slave")


async def fail_over(group: Group) -> None:
    """The primary is killed, and returns as the replica of the one that the Sentinels then have.

    Its options contain what a server with a configuration file finds there: it must not return as an empty primary.
    """
    primary, replica = group.servers
    await asyncio.to_thread(primary.kill)
    await asyncio.to_thread(replica.resume)
    await is_promoted(group, replica)
    primary.options += ("--replicaof", "127.0.0.1", str(replica.port))
    await asyncio.to_thread(primary.start)


async def is_promoted(group: Group, server: ValkeyServer) -> None:
    """Returns when all Sentinels name the server."""

    async def is_named() -> bool:
        return await asyncio.to_thread(group.name, server)

    await eventually(is_named, FAILOVER_SECONDS)


@dataclass
class Load:
    """What callers of all three servers received, and the tasks that were accepted."""

    client: httpx.AsyncClient
    reading: str
    statuses: Counter[int] = field(default_factory=Counter)
    accepted: list[str] = field(default_factory=list)
    counted: int = 0
    slowest: float = 0.0
    enough: asyncio.Event = field(default_factory=asyncio.Event)

    async def call(self) -> None:
        while not self.enough.is_set():
            begin = time.monotonic()
            read = await self.client.get(self.reading)
            task = await self.client.post(f"{API}/tasks/task", params={"message": "x"})
            self.slowest = max(self.slowest, time.monotonic() - begin)
            self.statuses.update([read.status_code, task.status_code])
            self.counted += "RateLimit-Limit" in task.headers
            if task.status_code == 201:
                self.accepted.append(task.json()["id"])
            await asyncio.sleep(0.002)


async def _responds_well(client: httpx.AsyncClient) -> bool:
    return (await client.get(f"{API}/ready")).status_code == 200


@pytest.mark.long
async def test_the_primary_is_killed_under_load(services: Services, rows: Rows, group: Group) -> None:
    settings = settings_of(services, group, REDIS_QUEUE_WAIT_REPLICAS=1)
    author = await rows.user()
    await rows.post(author)
    app = create_application(router=router, settings=settings)
    async with running(app) as client, tasks_worker.working(settings, sample_background_task):
        load = Load(client, f"{API}/{author.username}/posts?page=1&items_per_page=10")
        async with asyncio.TaskGroup() as callers:
            for _ in range(CALLERS):
                callers.create_task(load.call())
            await eventually(lambda: _has(load, 200), FAILOVER_SECONDS)
            await fail_over(group)
            await eventually(lambda: _responds_well(client), FAILOVER_SECONDS)
            before = len(load.accepted)
            await eventually(lambda: _has(load, before + 100), FAILOVER_SECONDS)
            load.enough.set()
        assert set(load.statuses) <= {200, 201, 503}
        lost = await _lost_tasks(settings, load)
        admitted = await _admitted(group)
    assert lost == 0, "a replica had confirmed them"
    assert load.slowest < 5 * TIMEOUT_SECONDS
    assert load.counted - admitted < 100


async def test_what_a_failover_brings_back_is_not_served(services: Services, rows: Rows, group: Group) -> None:
    """The replica has the cached page, but not its invalidation, which the primary had confirmed."""
    replica, author = group.servers[1], await rows.user()
    page, new = f"{API}/{author.username}/posts?page=1&items_per_page=10", {"title": "A new title", "text": "A text"}
    await rows.post(author)
    app = create_application(router=router, settings=settings_of(services, group))
    async with running(app) as client:
        assert [(await client.get(page)).headers["X-Cache"] for _ in range(2)] == ["miss", "hit"]
        async with Redis(port=replica.port, password=PASSWORD) as redis:
            [stored] = await redis.keys(f"{author.username}_posts:*")
            await cut_off(group)
            written = await client.post(f"{API}/{author.username}/post", json=new, headers=author.headers)
            assert written.status_code == 201
            await fail_over(group)
            await eventually(lambda: _responds_well(client), FAILOVER_SECONDS)
            assert await redis.exists(stored)
        after = [await client.get(page) for _ in range(2)]
    assert [response.json()["total_count"] for response in after] == [2, 2]
    assert [response.headers["X-Cache"] for response in after] == ["miss", "hit"]


async def test_a_task_that_replicas_have_confirmed_survives(services: Services, rows: Rows, group: Group) -> None:
    """One that was not confirmed is not accepted, and runs once if the request is repeated with its key."""
    ran: list[str] = []

    async def sample_background_task(ctx: TaskContext, name: str) -> None:
        ran.append(name)

    sample_background_task.__qualname__ = "sample_background_task"
    changes = {"REDIS_QUEUE_WAIT_REPLICAS": 1, "REDIS_QUEUE_WAIT_REPLICAS_SECONDS": 0.2}
    settings = settings_of(services, group, **changes)
    app = create_application(router=router, settings=settings)
    async with running(app) as client:

        async def submit(message: str) -> httpx.Response:
            headers = {"Idempotency-Key": message}
            return await client.post(f"{API}/tasks/task", params={"message": message}, headers=headers)

        confirmed, *_ = await asyncio.gather(*(submit(f"confirmed {number}") for number in range(20)))
        waits = (await app.state.resources.queue.info("commandstats"))["cmdstat_wait"]["calls"]
        await cut_off(group)
        refused = await asyncio.gather(*(submit(f"refused {number}") for number in range(3)))
        async with queue.open_queue(settings_of(services, group)) as impatient:
            lost = await impatient.enqueue_job("sample_background_task", "lost")
        readiness = await client.get(f"{API}/ready")
        await fail_over(group)
        await eventually(lambda: _responds_well(client), FAILOVER_SECONDS)
        repeated = [await submit("refused 1") for _ in range(2)]
        states = await read_tasks(app.state.resources.queue, [confirmed.json()["id"], lost.job_id if lost else ""])
        await tasks_worker.run_tasks(settings, sample_background_task)

    assert waits < 10, "submissions that arrive together share one"
    assert (confirmed.status_code, [response.status_code for response in refused]) == (201, [503] * 3)
    assert all(response.headers["Retry-After"] for response in refused)
    assert readiness.json() == {"detail": "Not ready: queue"}
    assert [state is not None for state in states] == [True, False]
    assert [response.status_code for response in repeated] == [201, 201]
    assert len({response.json()["id"] for response in repeated}) == 1
    assert sorted(ran) == sorted([*(f"confirmed {number}" for number in range(20)), "refused 1"])


async def test_a_loop_that_is_busy_while_it_looks_for_the_primary_is_no_outage(group: Group) -> None:
    async with open_connection(group.url, name="test", timeout_seconds=0.3) as connection:
        asking = asyncio.create_task(connection.ping())
        await asyncio.sleep(0)
        block_the_loop(0.5)
        async with busy_loop(0.06):
            assert await asking
        assert not connection.breaker.is_open


async def restart_before_it_is_missed(group: Group) -> None:
    """No failover: the Sentinels do not notice that the primary was down."""
    primary, _ = group.servers
    await asyncio.to_thread(primary.kill)
    await asyncio.to_thread(primary.start)


async def fail_over_twice(group: Group) -> None:
    """The former primary is promoted again before it has copied anything of the other one."""
    primary, replica = group.servers
    await asyncio.to_thread(primary.kill)
    await is_promoted(group, replica)
    await asyncio.to_thread(replica.pause)
    await asyncio.to_thread(primary.start)
    await is_promoted(group, primary)
    await asyncio.to_thread(replica.resume)


@pytest.mark.long
@pytest.mark.parametrize("options", [(), VALKEY_DURABLE], ids=["without persistence", "with persistence"])
@pytest.mark.parametrize("fail", [restart_before_it_is_missed, fail_over_twice])
async def test_a_primary_that_restarts_without_its_data_loses_that_of_its_replica(
    fail: Callable[[Group], Awaitable[None]], options: Sequence[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Although the replica had confirmed it: it copies the primary. A server that keeps its data loses nothing."""
    with sentinels(options) as group:
        async with (
            open_connection(group.url, name="test", timeout_seconds=1) as connection,
            Redis(port=group.servers[1].port, password=PASSWORD) as replica,
        ):

            async def are_in_step() -> bool:
                with suppress(RedisError):
                    state = await replica.info("replication")
                    follows = state["role"] == "slave" and state["master_link_status"] == "up"
                    return bool(follows and await connection.ping())
                return False

            await connection.execute("SET", "key", "value")
            assert await connection.execute("WAIT", 1, 1000) == 1
            await fail(group)
            await eventually(are_in_step, FAILOVER_SECONDS)
            expected = b"value" if options else None
            assert [await replica.get("key"), await connection.execute("GET", "key")] == [expected] * 2
    assert ("is the primary now, without the data" in caplog.text) is not bool(options)


async def test_a_demoted_primary_counts_as_a_lost_connection(group: Group, caplog: pytest.LogCaptureFixture) -> None:
    first, second = group.servers
    async with (
        open_connection(group.url, name="test", timeout_seconds=1) as connection,
        Redis(port=first.port, password=PASSWORD) as demoted,
        Redis(port=second.port, password=PASSWORD) as promoted,
    ):
        await connection.execute("SET", "key", "first")
        assert await asyncio.to_thread(lambda: connect(group.url).get("key")) == "first"
        history = connection.history
        # As Sentinel does it, but without closing the connections of clients.
        await promoted.slaveof()
        await demoted.slaveof("127.0.0.1", second.port)

        async def writes() -> bool:
            with suppress(RedisError):
                await connection.execute("SET", "key", "second")
                return True
            return False

        assert not await writes()
        assert "is not a primary" in caplog.text
        await eventually(writes, FAILOVER_SECONDS)
        assert await promoted.get("key") == b"second"
        assert connection.history not in (b"", history)


async def _has(load: Load, count: int) -> bool:
    return len(load.accepted) >= count


async def _lost_tasks(settings: Settings, load: Load) -> int:
    """How many accepted tasks nothing is known of; returns when the others have run."""
    async with queue.open_queue(settings) as pool:

        async def is_empty() -> bool:
            with suppress(RedisError):
                return not await pool.zcard(default_queue_name)
            return False

        await eventually(is_empty, FAILOVER_SECONDS)
        states = await read_tasks(pool, load.accepted)
    return states.count(None)


async def _admitted(group: Group) -> int:
    async with Redis(port=group.primary_port(), password=PASSWORD) as client:
        return int(await client.register_script(_COUNT_ADMISSIONS)())
