"""The seeded schedule of faults, and how long the cluster needs after each to work again."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

import asyncpg
import httpx

from dev.chaos.api import Api
from dev.chaos.cluster import Cluster, is_ready
from dev.chaos.proxy import Mode
from dev.chaos.report import Report
from dev.chaos.tasks import LimitedClient

CALM_SECONDS = (1.0, 3.0)
FAULT_SECONDS = (0.2, 3.0)
SUPERVISOR_SECONDS = 0.5
RECOVERY_SECONDS = 60.0
BURST_CALLS = 200
POOL_READERS = 80
LOCK_SECONDS = 2.0

Fault = Callable[[], Awaitable[None]]


class Schedule:
    """Breaks one thing after another and repairs it."""

    def __init__(self, cluster: Cluster, api: Api, limited: LimitedClient, report: Report, rng: random.Random) -> None:
        self._cluster = cluster
        self._api = api
        self._limited = limited
        self._report = report
        self._rng = rng

    def _faults(self) -> dict[str, Fault]:
        faults: dict[str, Fault] = {
            "kill a web server": self._kill_web,
            "freeze a web server": self._freeze_web,
            "kill a worker": self._kill_worker,
            "kill all workers": self._kill_workers,
            "lock a table, fill the pools": self._fill_pools,
            "burst at a limited route": self._burst,
        }
        for name in self._cluster.servers:
            faults |= {
                f"freeze {name}": lambda name=name: self._freeze(name),  # type: ignore[misc] # mypy infers no default
                f"kill {name}": lambda name=name: self._restart(name, kill=True),  # type: ignore[misc]
                f"restart {name}": lambda name=name: self._restart(name, kill=False),  # type: ignore[misc]
                f"stall connections to {name}": lambda name=name: self._partition(name, Mode.STALLED),  # type: ignore[misc]
                f"refuse connections to {name}": lambda name=name: self._partition(name, Mode.REFUSED),  # type: ignore[misc]
            }
        return faults

    async def run(self, seconds: float) -> None:
        """Returns when everything is repaired."""
        end = time.monotonic() + seconds
        supervisor = asyncio.create_task(self._supervise())
        faults = self._faults()
        try:
            while time.monotonic() < end:
                await asyncio.sleep(self._rng.uniform(*CALM_SECONDS))
                name = self._rng.choice(list(faults))
                self._report.faults[name] += 1
                await faults[name]()
                self._report.recovery_seconds[name].append(await self._recover(name))
        finally:
            supervisor.cancel()
            with suppress(asyncio.CancelledError):
                await supervisor

    async def _supervise(self) -> None:
        while True:
            for program in (*self._cluster.webs, *self._cluster.workers):
                program.restart_if_ended()
            await asyncio.sleep(SUPERVISOR_SECONDS)

    async def _recover(self, fault: str) -> float:
        begin = time.monotonic()
        async with httpx.AsyncClient(timeout=5) as client:
            for url in self._cluster.urls:
                while not await is_ready(client, url):
                    if time.monotonic() - begin > RECOVERY_SECONDS:
                        self._report.violate("unexpected response", f"{url} is not ready a minute after: {fault}")
                        return time.monotonic() - begin
                    await asyncio.sleep(0.05)
        return time.monotonic() - begin

    async def _pause(self) -> None:
        await asyncio.sleep(self._rng.uniform(*FAULT_SECONDS))

    async def _kill_web(self) -> None:
        self._rng.choice(self._cluster.webs).kill()
        await asyncio.sleep(SUPERVISOR_SECONDS)

    async def _freeze_web(self) -> None:
        web = self._rng.choice(self._cluster.webs)
        web.freeze()
        await self._pause()
        web.thaw()

    async def _kill_worker(self) -> None:
        self._rng.choice(self._cluster.workers).kill()

    async def _kill_workers(self) -> None:
        for worker in self._cluster.workers:
            worker.kill()

    async def _freeze(self, name: str) -> None:
        self._cluster.servers[name].pause()
        await self._pause()
        self._cluster.servers[name].resume()

    async def _restart(self, name: str, *, kill: bool) -> None:
        server = self._cluster.servers[name]
        await asyncio.to_thread(server.kill if kill else server.stop)
        await self._pause()
        await asyncio.to_thread(server.start)

    async def _partition(self, name: str, mode: Mode) -> None:
        proxy = self._cluster.proxies[name]
        proxy.set_mode(mode)
        await self._pause()
        proxy.set_mode(Mode.OPEN)

    async def _fill_pools(self) -> None:
        postgres = self._cluster.servers["postgres"]
        connection = await asyncpg.connect(
            host=postgres.host, port=postgres.port, user=postgres.user, password=postgres.password, database="postgres"
        )
        try:
            async with connection.transaction():
                await connection.execute('LOCK TABLE "post" IN ACCESS EXCLUSIVE MODE')
                readers = [asyncio.create_task(self._read_posts(number)) for number in range(POOL_READERS)]
                await asyncio.sleep(LOCK_SECONDS)
        finally:
            await connection.close()
        await asyncio.gather(*readers)

    async def _read_posts(self, number: int) -> None:
        await self._api.call("read behind the lock", "GET", f"/admin/posts?items_per_page={number % 100 + 1}")

    async def _burst(self) -> None:
        await asyncio.gather(*(self._limited.submit() for _ in range(BURST_CALLS)))
