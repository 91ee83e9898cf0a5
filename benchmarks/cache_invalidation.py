"""A write's invalidation beside 1,000,000 unrelated entries, and beside 1,000,000 entries that it drops.

Run it from the root: `python -m benchmarks.cache_invalidation`.
The entries of the second case are valid ones: each is stored with the stamp that a fill would give it.
"""

import asyncio
import statistics
import sys
import time
from contextlib import AsyncExitStack

from app.core.cache.entries import Entry, EntryKey
from app.core.cache.epoch import EpochLease
from app.core.cache.keys import KeyPattern
from app.core.cache.store import Fill, ResponseCache, open_response_cache
from app.core.cache.targets import Targets
from app.core.redis import RedisConnection, open_connection
from dev.services import ValkeyServer, temporary_folder

FEW = 10
ROUNDS = 300
CHUNK = 10_000
TARGETS = Targets.of({"author_post_cache:7"}, {KeyPattern("author_posts:*")})
ENTRY = Entry.of(b"a response", "text/plain")


async def add(redis: RedisConnection, keys: list[str], value: bytes) -> None:
    for start in range(0, len(keys), CHUNK):
        pairs = (part for key in keys[start : start + CHUNK] for part in (key, value))
        await redis.execute("MSET", *pairs)


async def fill(cache: ResponseCache, name: str) -> Fill:
    found = await cache.find(EntryKey(name))
    assert isinstance(found, Fill), found
    await cache.store(found, ENTRY, 3600)
    assert await cache.find(EntryKey(name)) == ENTRY
    return found


async def _seconds(cache: ResponseCache) -> float:
    began = time.perf_counter()
    async with cache.write(TARGETS):
        pass
    return time.perf_counter() - began


async def measure(cache: ResponseCache) -> float:
    """Seconds of one whole write, which invalidates twice."""
    for page in range(FEW):
        await fill(cache, f"author_posts:page_{page}:items_per_page_10")
    return await _seconds(cache)


async def measure_matching(cache: ResponseCache, redis: RedisConnection, count: int) -> tuple[float, float]:
    """Seconds of a write that drops `count` entries, and the longest that another client waited meanwhile."""
    first = await fill(cache, "author_posts:page_0:items_per_page_10")
    keys = [f"author_posts:page_{number}:items_per_page_10" for number in range(1, count)]
    await add(redis, keys, ENTRY.pack(first.stamp))
    generation = await redis.execute("GET", first.key.family_generation)
    seconds, waits = [], []
    for _ in range(ROUNDS):
        # The same name again makes all entries valid again.
        await redis.execute("SET", first.key.family_generation, generation, "EX", 3600)
        assert await cache.peek(EntryKey(keys[-1])) == ENTRY
        began = time.perf_counter()
        writing = asyncio.create_task(_seconds(cache))
        await redis.ping()
        waits.append(time.perf_counter() - began)
        seconds.append(await writing)
        assert await cache.peek(EntryKey(keys[-1])) is None, "an entry outlived its drop"
    return statistics.median(seconds), max(waits)


async def main(count: int) -> None:
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(temporary_folder())
        servers = []
        # Two servers, asked in turn, so that the machine's other work falls on both.
        for name in ("empty", "full"):
            valkey = stack.enter_context(ValkeyServer(folder / f"valkey-{name}"))
            url = f"redis://{valkey.host}:{valkey.port}"
            redis = await stack.enter_async_context(open_connection(url, name=name, timeout_seconds=10))
            servers.append((redis, await stack.enter_async_context(open_response_cache(redis, EpochLease(None), 20))))
        (_, empty), (redis, full) = servers
        await add(redis, [f"user{number}_posts:page_1:items_per_page_10" for number in range(count)], b"a response")
        seconds = [[await measure(cache) for cache in (empty, full)] for _ in range(ROUNDS)]
        few, many = (statistics.median(column) * 1e6 for column in zip(*seconds, strict=True))
        print(f"a write that drops {FEW} entries: {few:.0f} us beside 0 others, {many:.0f} us beside {count}")
        matching, longest = await measure_matching(full, redis, count)
        print(f"a write that drops {count} entries: {matching * 1e6:.0f} us; longest PING: {longest * 1e6:.0f} us")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000))
