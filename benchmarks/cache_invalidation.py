"""A write's invalidation beside 0 and 1,000,000 unrelated entries.

Run it from the root: `PYTHONPATH=src python -m benchmarks.cache_invalidation`.
Every unrelated entry is one of the cache's own, in its index too.
"""

import asyncio
import statistics
import sys
import time

from redis.asyncio import Redis

from app.core.utils.cache_keys import KeyPattern
from app.core.utils.cache_lease import EpochLease
from app.core.utils.cache_store import Entry, Fill, Targets, open_answer_cache
from app.core.utils.redis import create_redis
from src.scripts.services import ValkeyServer, temporary_folder

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


async def measure(redis: Redis) -> float:
    """The median of one whole write, which invalidates twice, in microseconds."""
    seconds = []
    async with open_answer_cache(redis, EpochLease(None)) as cache:
        for _ in range(ROUNDS):
            for page in range(MATCHING):
                fill = await cache.find(f"author_posts:page_{page}:items_per_page_10")
                assert isinstance(fill, Fill)
                await cache.store(fill, Entry.of(b"an answer", "text/plain"), 3600)
            began = time.perf_counter()
            async with cache.write(TARGETS):
                pass
            seconds.append(time.perf_counter() - began)
    return statistics.median(seconds) * 1e6


async def main(unrelated: int) -> None:
    with temporary_folder() as folder, ValkeyServer(folder / "valkey") as valkey:
        url = f"redis://{valkey.host}:{valkey.port}"
        async with create_redis(url) as redis, Redis.from_url(url) as loader:
            await measure(redis)  # warm
            few = await measure(redis)
            await add_unrelated(loader, unrelated)
            many = await measure(redis)
    print(f"0 unrelated: {few:.0f} us, {unrelated} unrelated: {many:.0f} us, ratio {many / few:.2f}")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000))
