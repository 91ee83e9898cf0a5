"""Failover by Sentinel: real servers, and an application and a worker that go on without a restart."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import httpx
import pytest
from arq.constants import default_queue_name
from redis.asyncio import Redis
from redis.exceptions import RedisError

from app.api import router
from app.core.config import Settings
from app.core.queue.view import read_tasks
from app.core.redis import open_connection
from app.core.setup import create_application
from app.core.utils import queue
from app.core.worker.runtime.context import TaskContext
from dev.local.valkey_cli import connect
from tests.conftest import Services
from tests.helper import API, Rows, running
from tests.support import tasks_worker
from tests.support.sentinels import PASSWORD, Group, sentinels

FAILOVER_SECONDS = 15
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


def settings_of(services: Services, group: Group) -> Settings:
    urls = {f"REDIS_{server}_URL": group.url for server in ("CACHE", "QUEUE", "RATE_LIMIT")}
    return services.settings(DEFAULT_RATE_LIMIT_LIMIT=1_000_000, **urls)


async def sample_background_task(ctx: TaskContext, name: str) -> str:
    """A quick one with the name of the worker's."""
    return name


@dataclass
class Load:
    """What callers of all three servers received, and when tasks were accepted."""

    client: httpx.AsyncClient
    reading: str
    statuses: Counter[int] = field(default_factory=Counter)
    accepted: dict[str, float] = field(default_factory=dict)
    counted: int = 0
    slowest: float = 0.0
    enough: asyncio.Event = field(default_factory=asyncio.Event)

    async def call(self) -> None:
        while not self.enough.is_set():
            begin = time.monotonic()
            read = await self.client.get(self.reading)
            task = await self.client.post(f"{API}/tasks/task", params={"message": "x"})
            now = time.monotonic()
            self.slowest = max(self.slowest, now - begin)
            self.statuses.update([read.status_code, task.status_code])
            self.counted += "RateLimit-Limit" in task.headers
            if task.status_code == 201:
                self.accepted[task.json()["id"]] = now
            await asyncio.sleep(0.002)


async def _responds_well(client: httpx.AsyncClient) -> bool:
    return (await client.get(f"{API}/ready")).status_code == 200


async def test_the_primary_is_killed_under_load(services: Services, rows: Rows, group: Group) -> None:
    settings = settings_of(services, group)
    author = await rows.user()
    await rows.post(author)
    app = create_application(router=router, settings=settings)
    async with running(app) as client, tasks_worker.working(settings, sample_background_task):
        load = Load(client, f"{API}/{author.username}/posts?page=1&items_per_page=10")
        async with asyncio.TaskGroup() as callers:
            for _ in range(CALLERS):
                callers.create_task(load.call())
            await tasks_worker.eventually(lambda: _has(load, 200))
            await asyncio.to_thread(group.servers[0].kill)
            killed = time.monotonic()
            await tasks_worker.eventually(lambda: _responds_well(client), FAILOVER_SECONDS)
            seconds, before = time.monotonic() - killed, len(load.accepted)
            await tasks_worker.eventually(lambda: _has(load, before + 100))
            load.enough.set()
        assert set(load.statuses) <= {200, 201, 503}
        lost = await _lost_tasks(settings, load)
        admitted = await _admitted(group)
        print(
            f"failover {seconds:.1f} s, {load.statuses}, slowest {load.slowest:.2f} s, lost {len(lost)} tasks", end=" "
        )
        print(f"in {max((killed - at for at in lost), default=0) * 1000:.0f} ms, {load.counted - admitted} admissions")
    assert all(killed - 1 < at < killed + 0.5 for at in lost), "only the last changes before the end may be lost"
    assert load.counted - admitted < 100


async def test_what_a_failover_brings_back_is_not_served(services: Services, rows: Rows, group: Group) -> None:
    """The replica has the cached page, but not its invalidation, which the primary had confirmed."""
    primary, replica = group.servers
    author = await rows.user()
    page, new = f"{API}/{author.username}/posts?page=1&items_per_page=10", {"title": "A new title", "text": "A text"}
    await rows.post(author)
    app = create_application(router=router, settings=settings_of(services, group))
    async with running(app) as client:
        assert [(await client.get(page)).headers["X-Cache"] for _ in range(2)] == ["miss", "hit"]
        async with Redis(port=replica.port, password=PASSWORD) as redis:
            [stored] = await redis.keys(f"{author.username}_posts:*")
            await asyncio.to_thread(replica.pause)
            async with Redis(port=primary.port, password=PASSWORD) as other:
                await other.client_kill_filter(_type="slave")
            written = await client.post(f"{API}/{author.username}/post", json=new, headers=author.headers)
            assert written.status_code == 201
            await asyncio.to_thread(primary.kill)
            await asyncio.to_thread(replica.resume)
            await tasks_worker.eventually(lambda: _responds_well(client), FAILOVER_SECONDS)
            assert await redis.exists(stored)
        after = [await client.get(page) for _ in range(2)]
    assert [response.json()["total_count"] for response in after] == [2, 2]
    assert [response.headers["X-Cache"] for response in after] == ["miss", "hit"]


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
        await tasks_worker.eventually(writes, FAILOVER_SECONDS)
        assert await promoted.get("key") == b"second"
        assert connection.history not in (b"", history)


async def _has(load: Load, count: int) -> bool:
    return len(load.accepted) >= count


async def _lost_tasks(settings: Settings, load: Load) -> list[float]:
    """When tasks were accepted of which nothing is known; returns after the others have run."""
    async with queue.open_queue(settings) as pool:

        async def is_empty() -> bool:
            with suppress(RedisError):
                return not await pool.zcard(default_queue_name)
            return False

        await tasks_worker.eventually(is_empty, 20)
        states = await read_tasks(pool, list(load.accepted))
    return [at for at, state in zip(load.accepted.values(), states, strict=True) if state is None]


async def _admitted(group: Group) -> int:
    async with Redis(port=group.primary_port(), password=PASSWORD) as client:
        return int(await client.register_script(_COUNT_ADMISSIONS)())
