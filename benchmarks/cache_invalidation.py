"""A write's invalidation beside 0 and 1,000,000 unrelated entries.

Run it from the root: `python -m benchmarks.cache_invalidation`.
Every unrelated entry is one of the cache's own, in its index too.
"""

import asyncio
import statistics
import sys
import time
from contextlib import AsyncExitStack

from redis.asyncio import Redis

from app.core.cache.epoch import EpochLease
from app.core.cache.keys import KeyPattern
from app.core.cache.store import AnswerCache, Entry, Fill, Targets, open_answer_cache
from dev.services import ValkeyServer, temporary_folder

MATCHING = 10
ROUNDS = 300
TARGETS = Targets(frozenset({"author_post_cache:7"}), frozenset({KeyPattern("author_posts:", "^author%_posts%:.*$")}))


async def add_unrelated(redis: Redis, count: int) -> None:
    for start in range(0, count, 10_000):
        keys = [f"user{number}_posts:page_1:items_per_page_10" for number in range(start, start + 10_000)]
        await redis.mset(dict.fromkeys(keys, b"an answer"))
        await redis.zadd("_cache:families", dict.fromkeys((key.partition(":")[0] for key in keys), 0))
        await redis.zadd("_cache:expiry", dict.fromkeys(keys, 4e12))
        async with redis.pipeline(transaction=False) as pipeline:
            for key in keys:
                pipeline.zadd(f"_cache:index:{key.partition(':')[0]}", {key: 0})
            await pipeline.execute()


async def measure(cache: AnswerCache) -> float:
    """Seconds of one whole write, which invalidates twice."""
    for page in range(MATCHING):
        fill = await cache.find(f"author_posts:page_{page}:items_per_page_10")
        assert isinstance(fill, Fill)
        await cache.store(fill, Entry.of(b"an answer", "text/plain"), 3600)
    began = time.perf_counter()
    async with cache.write(TARGETS):
        pass
    return time.perf_counter() - began


async def main(unrelated: int) -> None:
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(temporary_folder())
        caches = []
        # Two servers, asked in turn, so that the machine's other work falls on both.
        for count in (0, unrelated):
            valkey = stack.enter_context(ValkeyServer(folder / f"valkey-{count}"))
            redis = await stack.enter_async_context(Redis.from_url(f"redis://{valkey.host}:{valkey.port}"))
            await add_unrelated(redis, count)
            caches.append(await stack.enter_async_context(open_answer_cache(redis, EpochLease(None))))
        seconds = [[await measure(cache) for cache in caches] for _ in range(ROUNDS)]
    few, many = (statistics.median(column) * 1e6 for column in zip(*seconds, strict=True))
    print(f"0 unrelated: {few:.0f} us, {unrelated} unrelated: {many:.0f} us, ratio {many / few:.2f}")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000))
