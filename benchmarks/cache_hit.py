"""What a hit costs beside the same endpoint without the cache, in one process.

Run it from the root: `python -m benchmarks.cache_hit`.
A list of ten posts, asked of the application in-process, so that no server or network hides the difference.
"""

import asyncio
import statistics
import time

import httpx
from fastapi import FastAPI

from app.api import router
from app.core.config import RedisCacheSettings, Settings
from app.core.settings.base import SettingsBase
from app.core.setup import create_application
from dev.services import POSTGRES_FAST, PostgresServer, ValkeyServer, temporary_folder
from tests.conftest import SECRET_KEY
from tests.helper import API, Rows

ROUNDS = 1_000
WITHOUT_CACHE: type[SettingsBase] = type(
    "WithoutCache", tuple(base for base in Settings.__bases__ if base is not RedisCacheSettings), {}
)


async def measure(app: FastAPI, path: str) -> tuple[float, float]:
    """Median wall and mean CPU time of a request, in microseconds."""
    seconds = []
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="https://benchmark") as client:
        for _ in range(50):
            (await client.get(path)).raise_for_status()
        cpu = time.process_time()
        for _ in range(ROUNDS):
            began = time.perf_counter()
            await client.get(path)
            seconds.append(time.perf_counter() - began)
        cpu = time.process_time() - cpu
    return statistics.median(seconds) * 1e6, cpu / ROUNDS * 1e6


async def main() -> None:
    with (
        temporary_folder() as folder,
        PostgresServer(folder / "postgres", password="x", options=POSTGRES_FAST) as postgres,
        ValkeyServer(folder / "valkey") as valkey,
    ):
        values = {
            "SECRET_KEY": SECRET_KEY,
            "POSTGRES_PASSWORD": "x",
            "POSTGRES_USER": postgres.user,
            "POSTGRES_SERVER": postgres.host,
            "POSTGRES_PORT": postgres.port,
            "POSTGRES_DB": "postgres",
        }
        values |= {f"REDIS_{part}_PORT": valkey.port for part in ("CACHE", "QUEUE", "RATE_LIMIT")}
        cached = create_application(router=router, settings=Settings.model_validate(values))
        plain = create_application(router=router, settings=WITHOUT_CACHE.model_validate(values))
        async with cached.router.lifespan_context(cached), plain.router.lifespan_context(plain):
            rows = Rows(cached.state.resources.database, cached.state.settings)
            author = await rows.user()
            for _ in range(10):
                await rows.post(author)
            path = f"{API}/{author.username}/posts"
            for name, app in (("hit", cached), ("database", plain)):
                wall, cpu = await measure(app, path)
                print(f"{name}: {wall:.0f} us a request (median), {cpu:.0f} us of CPU (mean, the client's included)")


if __name__ == "__main__":
    asyncio.run(main())
