"""The cache in a Cluster: drops in all buckets, and no old state while slots move and primaries are lost."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

import httpx
import pytest
from redis.exceptions import RedisError

from app.api import router
from app.core.cache.buckets import CLUSTER_BUCKETS
from app.core.cache.entries import Entry
from app.core.cache.epoch import EpochLease
from app.core.cache.keys import KeyPattern
from app.core.cache.store import Fill, ResponseCache, open_response_cache
from app.core.cache.targets import Targets
from app.core.redis import open_any_connection
from app.core.setup import create_application
from tests.conftest import Services
from tests.helper import API, Account, Rows, eventually, running
from tests.support.cluster import PRIMARIES, Cluster, cluster

FAILOVER_SECONDS = 30
ENTRY = Entry.of(b"a response", "text/plain")
PAGE = "?page=1&items_per_page=10"


@pytest.fixture(scope="module")
def nodes() -> Iterator[Cluster]:
    with cluster() as nodes:
        yield nodes


@pytest.fixture
async def stage(nodes: Cluster) -> AsyncIterator[ResponseCache]:
    """A cache without an application, and without the epoch of a database."""
    async with (
        open_any_connection(nodes.url, name="test", timeout_seconds=1) as connection,
        open_response_cache(connection, EpochLease(None), 20) as responses,
    ):
        yield responses


async def fill(stage: ResponseCache, *names: str) -> None:
    for name in names:
        found = await stage.find(stage.key(name))
        assert isinstance(found, Fill), (name, found)
        assert await stage.store(found, ENTRY, 60)


async def found_in(stage: ResponseCache, *names: str) -> list[str]:
    return [name for name in names if await stage.peek(stage.key(name))]


async def test_drops_reach_every_bucket_that_they_mean(stage: ResponseCache) -> None:
    names = [f"family{number}:1" for number in range(40)]
    await fill(stage, *names, "family1:22")
    assert await found_in(stage, *names) == names
    keys, patterns = ["family0:1"], [KeyPattern("family1:*"), KeyPattern("family2:?"), KeyPattern("family3:2*")]
    async with stage.write(Targets.of(keys, patterns)):
        assert await stage.find(stage.key("family0:1")) is None, "nothing is filled during a write"
        assert isinstance(await stage.find(stage.key("family4:1")), Entry)
    assert await found_in(stage, *names, "family1:22") == names[3:]
    async with stage.write(Targets.of([], [KeyPattern("family3*:1")])):
        assert await stage.find(stage.key("family8:9")) is None, "the pattern may mean any family"
    assert await found_in(stage, *names) == [name for name in names[3:] if not name.startswith("family3")]


async def test_an_application_caches_and_invalidates(services: Services, nodes: Cluster, rows: Rows) -> None:
    author = await rows.user()
    settings = services.settings(REDIS_CACHE_URL=nodes.url)
    async with running(create_application(router=router, settings=settings)) as client:
        await read_own_writes(client, author, 3)
        user = f"{API}/user/{author.username}"
        assert [(await client.get(user)).headers["X-Cache"] for _ in range(2)] == ["miss", "hit"]
        renamed = await client.patch(user, json={"username": "renamed"}, headers=author.headers)
        assert [renamed.status_code, (await client.get(user)).status_code] == [200, 404]
        assert (await client.get(f"{API}/renamed/posts{PAGE}")).json()["total_count"] == 3
        assert (await client.get(f"{API}/ready")).json()["parts"]["cache"] == "ok"


async def read_own_writes(client: httpx.AsyncClient, author: Account, count: int, pause: float = 0.0) -> None:
    """Creates posts, and reads the list after each."""
    for number in range(1, count + 1):
        post = {"title": "A title", "text": "A text"}
        written = await client.post(f"{API}/{author.username}/post", json=post, headers=author.headers)
        reads = [await client.get(f"{API}/{author.username}/posts{PAGE}") for _ in range(2)]
        assert [written.status_code, *(read.status_code for read in reads)] == [201, 200, 200]
        assert [read.json()["total_count"] for read in reads] == [number, number]
        await asyncio.sleep(pause)


@pytest.mark.long
async def test_slots_move_and_a_primary_is_killed_while_writes_are_read(
    services: Services, nodes: Cluster, rows: Rows
) -> None:
    authors = [await rows.user() for _ in range(4)]
    settings = services.settings(REDIS_CACHE_URL=nodes.url)
    async with running(create_application(router=router, settings=settings)) as client:
        async with asyncio.TaskGroup() as callers:
            for author in authors:
                callers.create_task(read_own_writes(client, author, 60, 0.05))
            for number in range(CLUSTER_BUCKETS):
                slot = int(await asyncio.to_thread(nodes.send, 0, "CLUSTER", "KEYSLOT", f"{{cache-{number}}}"))
                owner = slot // (16384 // PRIMARIES + 1)
                for source, target in ((owner, (owner + 1) % 3), ((owner + 1) % 3, owner)):
                    await asyncio.to_thread(nodes.move, slot, source, target)
            await asyncio.to_thread(nodes.nodes[1].kill)
        page = f"{API}/{authors[0].username}/posts{PAGE}"

        async def is_hit() -> bool:
            return (await client.get(page)).headers["X-Cache"] == "hit"

        await eventually(is_hit, FAILOVER_SECONDS)
    await asyncio.to_thread(nodes.nodes[1].start)


@pytest.mark.long
async def test_what_a_failover_brings_back_is_not_served(stage: ResponseCache, nodes: Cluster) -> None:
    """A replica has the entry, but not its invalidation, which the primary had confirmed."""
    names = [f"lost{number}:1" for number in range(40)]
    await fill(stage, *names)
    primary, replica = nodes.nodes[2], nodes.nodes[5]
    await asyncio.to_thread(replica.pause)
    await asyncio.to_thread(nodes.send, 2, "CLIENT", "KILL", "TYPE", "replica")
    async with stage.write(Targets.of([], [KeyPattern("lost*:1")])):
        pass
    await asyncio.to_thread(primary.kill)
    await asyncio.to_thread(replica.resume)

    async def responds() -> bool:
        with suppress(RedisError):
            return await stage.redis.ping()
        return False

    await eventually(responds, FAILOVER_SECONDS)
    assert any("lost" in key for key in await asyncio.to_thread(nodes.send, 5, "KEYS", "*lost*"))
    assert await found_in(stage, *names) == []
    await fill(stage, *names)
