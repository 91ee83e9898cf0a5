"""The costs of one process, on servers that are started here."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import httpx
from redis import Redis

from app.core.config import Settings
from app.core.limits.limiter import Limit, open_rate_limiter
from app.core.utils.queue import open_queue
from benchmarks.compare.cores import cpu_seconds, pin, split_cores
from benchmarks.compare.load import run_load
from benchmarks.compare.report import machine
from benchmarks.compare.rounds import warmed_up
from benchmarks.compare.scenarios import API, FIRST_PAGE, SCENARIOS, Scenario
from benchmarks.compare.stage import ROOT, USERNAME, Application, Servers, log_in, open_servers, run_ours
from benchmarks.scaling.model import SECOND, Cost, Measured, Rest, Tasks, lowest
from dev.local.processes import descendants, wait_until
from tests.support.proxy import CountingProxy, counting_proxy
from tests.support.tasks_worker import run_tasks

SAMPLES = 2000
TASKS = 2000
SUBMITTING = "limited task"
"""The scenario whose requests submit a task each."""
WORKER = "src.app.core.worker.settings.WorkerSettings"


def _cpu(pid: int) -> float:
    """Microseconds, with those of its children."""
    return sum(cpu_seconds(each) or 0.0 for each in (pid, *descendants(pid))) * SECOND


def _round_trips() -> Mapping[str, Mapping[str, float]]:
    """Per request, by the title of its scenario; the tests hold these numbers."""
    found: Mapping[str, Mapping[str, float]] = json.loads((ROOT / "tests" / "costs.json").read_text(encoding="utf-8"))
    return found


def _cost(servers: Servers, ours: Application, scenario: Scenario, token: str, seconds: float) -> Cost:
    plan = warmed_up(servers, ours, scenario, token)
    pids = (ours.pid, servers.postgres.pid, servers.valkey.pid)
    before = [_cpu(pid) for pid in pids]
    requests = run_load(replace(plan, seconds=seconds)).requests
    web, postgres, redis = ((_cpu(pid) - start) / requests for pid, start in zip(pids, before, strict=True))
    counts = _round_trips()[scenario.title]
    queries, commands = counts["postgres"], counts["redis"]
    # Without a query of its own, what PostgreSQL does meanwhile is work in the background.
    return Cost(
        web, postgres if queries else 0.0, redis if commands else 0.0, queries, commands, scenario.title == SUBMITTING
    )


@contextmanager
def _worker(servers: Servers, **variables: str) -> Iterator[None]:
    environment = {**servers.variables, **variables}
    with servers.log.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "arq", WORKER], cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        pin(process.pid, servers.cores.server)
        with _redis(servers) as redis:
            if not wait_until(lambda: bool(redis.keys("arq:health-check:*")), 30):
                raise RuntimeError(servers.log.read_text())
        yield
    finally:
        process.terminate()
        process.wait(20)


def _redis(servers: Servers) -> Redis:
    return Redis(servers.valkey.host, servers.valkey.port)


def _connections(redis: Any) -> int:
    return int(redis.info("clients")["connected_clients"])


def _rates(proxies: tuple[CountingProxy, CountingProxy], seconds: float) -> tuple[float, float]:
    before = [proxy.round_trips for proxy in proxies]
    time.sleep(seconds)
    postgres, redis = (proxy.round_trips - start for proxy, start in zip(proxies, before, strict=True))
    return postgres / seconds, redis / seconds


def _rests(servers: Servers, seconds: float) -> tuple[Rest, Rest]:
    """A web process that has served every scenario's server once, and a worker."""
    with (
        counting_proxy(servers.postgres.host, servers.postgres.port) as postgres,
        counting_proxy(servers.valkey.host, servers.valkey.port) as valkey,
        _redis(servers) as redis,
    ):
        ports = {f"REDIS_{part}_PORT": str(valkey.port) for part in ("CACHE", "QUEUE", "RATE_LIMIT")}
        where = {"POSTGRES_PORT": str(postgres.port), **ports}
        own = _connections(redis)
        with run_ours(servers, **where) as ours:
            base = f"http://127.0.0.1:{ours.port}{API}"
            headers = {"Authorization": f"Bearer {log_in(ours)}"}
            httpx.get(f"{base}/user/{USERNAME}")
            httpx.post(f"{base}/tasks/task", params={"message": "a"}, headers=headers).raise_for_status()
            time.sleep(1)
            web = Rest(*_rates((postgres, valkey), seconds), _connections(redis) - own)
        redis.flushall()
        own = _connections(redis)
        with _worker(servers, **where):
            time.sleep(1)
            worker = Rest(*_rates((postgres, valkey), seconds), _connections(redis) - own)
    return web, worker


def _size(redis: Any, pattern: str) -> int:
    """Of all keys that match."""
    sizes: list[int] = [redis.memory_usage(key, samples=0) for key in redis.scan_iter(pattern, count=1000)]
    if not sizes:
        raise RuntimeError(f"there is no key {pattern}")
    return sum(sizes)


async def _admit(settings: Settings, requests: int) -> None:
    async with open_rate_limiter(settings) as limiter:
        for number in range(SAMPLES):
            for _ in range(requests):
                await limiter.admit(f"user:{1_000_000 + number}:api_v1_tasks_task", Limit(requests, 3600))


def _memory(servers: Servers, settings: Settings) -> dict[str, float]:
    """Bytes of keys, values and their entries in Redis's table, as MEMORY USAGE counts them."""
    found: dict[str, float] = {}
    with _redis(servers) as redis, run_ours(servers) as ours, httpx.Client(timeout=15) as client:
        base = f"http://127.0.0.1:{ours.port}{API}"
        for requests in (10, 1000):
            redis.flushall()
            asyncio.run(_admit(settings, requests))
            name = f"a bucket of the limiter with {requests:,} admissions"
            found[name] = _size(redis, "rate_limit:*") / SAMPLES
        for name, path in (
            ("a cached user", f"/user/{USERNAME}"),
            ("a cached page of ten posts", f"/{USERNAME}/posts{FIRST_PAGE}"),
        ):
            redis.flushall()
            client.get(base + path).raise_for_status()
            found[name] = _size(redis, f"*{USERNAME}*")
    return found


async def nothing(ctx: object) -> None:
    """A task that costs what any task costs."""


async def _submit(settings: Settings) -> None:
    async with open_queue(settings) as queue:
        for _ in range(TASKS):
            await queue.enqueue_job(nothing.__name__)


def _tasks(servers: Servers, settings: Settings) -> Tasks:
    with _redis(servers) as redis:
        redis.flushall()
        empty = redis.info("memory")["used_memory"]
        asyncio.run(_submit(settings))
        waiting = (redis.info("memory")["used_memory"] - empty) / TASKS
        began, redis_began = time.process_time(), _cpu(servers.valkey.pid)
        asyncio.run(run_tasks(settings, nothing))
        worker, valkey = (time.process_time() - began) * SECOND, _cpu(servers.valkey.pid) - redis_began
    return Tasks(worker / TASKS, valkey / TASKS, waiting)


def measure(rounds: int, seconds: float, rest_seconds: float) -> Measured:
    """Takes some minutes: in each round `seconds` of load for each scenario, and as long again around it."""
    with open_servers(split_cores()) as servers:
        os.environ.update({name: value for name, value in servers.variables.items() if name not in os.environ})
        settings = Settings.model_validate(dict(servers.variables))
        with run_ours(servers) as ours:
            token = log_in(ours)
            found = [
                {each.name: _cost(servers, ours, each, token, seconds) for each in SCENARIOS} for _ in range(rounds)
            ]
            costs = {each.name: lowest([costs[each.name] for costs in found]) for each in SCENARIOS}
        web, worker = _rests(servers, rest_seconds)
        memory, tasks = _memory(servers, settings), _tasks(servers, settings)
    return Measured(machine(), costs, web, worker, tasks, memory)
