"""Real worker processes that are killed, stopped and disconnected from Redis while they work."""

import asyncio
import random
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from app.core.config import Settings
from app.core.queue.jobs import JobQueue
from app.core.queue.view import TaskState, TaskStatus, read_task
from app.core.utils import queue
from app.core.utils.queue import enqueue
from dev.services import VALKEY_DURABLE, ValkeyServer
from tests.conftest import Services
from tests.helper import Rows, eventually
from tests.support import outbox
from tests.support.forks import Fork, run_python, start_python
from tests.support.readme import ROOT

TASK_TIMEOUT_SECONDS = 1
RESTART_SECONDS = TASK_TIMEOUT_SECONDS + 15
WORKER = "tests.support.tasks_worker.WorkerSettings"

Worker = subprocess.Popen[bytes] | Fork
StartWorker = Callable[..., Worker]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "worker.log"


@pytest.fixture
def start_worker(services: Services, log: Path) -> Iterator[StartWorker]:
    """Starts `arq` as the README shows, from the root; what still runs at the end of the test is killed."""
    workers: list[Worker] = []

    def start(worker_settings: str = WORKER, **environment: str) -> Worker:
        variables = {"TASK_TIMEOUT_SECONDS": str(TASK_TIMEOUT_SECONDS), "TASK_RETRY_DELAY_SECONDS": "0.05"}
        variables |= {"PYTHONPATH": str(ROOT / "src")}
        workers.append(
            start_python(("-m", "arq", worker_settings), log, services.environment(**variables | environment))
        )
        return workers[-1]

    yield start
    for worker in workers:
        worker.kill()
        worker.wait()


@pytest.fixture
async def pool(services: Services, rows: Rows) -> AsyncIterator[JobQueue]:
    async with queue.open_queue(services.settings()) as pool:
        yield pool


def text(log: Path) -> str:
    return log.read_text() if log.exists() else ""


async def logged(log: Path, line: str) -> bool:
    return line in text(log)


async def submit(pool: JobQueue, name: str, *args: Any) -> str:
    job = await pool.enqueue_job(name, *args)
    assert job
    return job.job_id


async def finished(pool: JobQueue, task_id: str, seconds: float = 10) -> TaskState:
    await eventually(lambda: pool.exists(f"arq:result:{task_id}"), seconds)
    state = await read_task(pool, task_id)
    assert state
    return state


async def test_kill_9_at_random_moments_loses_nothing(
    services: Services, pool: JobQueue, start_worker: StartWorker, redis: Redis, log: Path
) -> None:
    """Each of 500 tasks succeeds and has its result, at the latest `TASK_TIMEOUT_SECONDS` + 15 after the last kill.

    The sweeps of these workers find 200 of them in the outbox, where a killed process left them.
    """
    ids = [await submit(pool, "note", number, 0.15) for number in range(300)]
    async with outbox.process(services.settings()) as process, outbox.paused(process):
        database = outbox.database_of(process)
        ids += [await enqueue(database, "note", number, 0.15) for number in range(300, 500)]
        await outbox.expire_leases(process)
    workers = [start_worker(OUTBOX_LEASE_SECONDS="1"), start_worker(OUTBOX_LEASE_SECONDS="1")]
    for round_ in range(4):

        async def all_work(count: int = len(workers) + round_) -> bool:
            return text(log).count("Starting worker") == count

        await eventually(all_work)
        await asyncio.sleep(random.uniform(0.1, 0.6))
        workers[round_ % 2].kill()
        last_kill = time.monotonic()
        workers[round_ % 2] = start_worker(OUTBOX_LEASE_SECONDS="1")

    async def all_done() -> bool:
        async with outbox.process(services.settings()) as process:
            return await outbox.is_empty(process) and not await pool.exists("arq:queue")

    await eventually(all_done, RESTART_SECONDS + 10)
    assert time.monotonic() - last_kill < RESTART_SECONDS + 2, text(log)
    states = [await read_task(pool, task_id) for task_id in ids]
    assert [state.result if state else None for state in states] == list(range(500))
    assert {state.status for state in states if state} == {TaskStatus.COMPLETE}
    assert {state.job_try for state in states if state} <= {1, 2}
    runs = [int(await redis.get(f"ended:{number}") or 0) for number in range(500)]
    assert min(runs) == 1
    starts = [int(await redis.get(f"started:{number}") or 0) for number in range(500)]
    assert sum(starts) > sum(runs), "no kill met a running task"


async def test_sigterm_finishes_what_is_short_and_hands_back_what_is_not(
    pool: JobQueue, start_worker: StartWorker, redis: Redis
) -> None:
    """The task that is handed back runs at once in the next worker, and no try is spent."""
    first = start_worker(TASK_TIMEOUT_SECONDS="30")
    short, long = await submit(pool, "note", 1, 0.5), await submit(pool, "note", 2, 2.0)
    await eventually(lambda: redis.exists("started:1"))
    await eventually(lambda: redis.exists("started:2"))
    first.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(first.wait, 10) == 0
    state = await read_task(pool, short)
    assert state
    assert (state.status, state.job_try) == (TaskStatus.COMPLETE, 1)
    state = await read_task(pool, long)
    assert state
    assert state.status is TaskStatus.QUEUED
    start_worker(TASK_TIMEOUT_SECONDS="30")
    state = await finished(pool, long)
    assert (state.status, state.job_try) == (TaskStatus.COMPLETE, 1)
    assert await redis.get("started:1") == b"1"


async def test_a_worker_survives_redis_outages(
    services: Services, settings: Settings, start_worker: StartWorker, log: Path, tmp_path: Path
) -> None:
    """Killed, restarted and frozen: the same process continues, every task ends, and each change is logged once."""
    with ValkeyServer(tmp_path / "valkey", options=VALKEY_DURABLE) as valkey:
        where = {"HOST": valkey.host, "PORT": str(valkey.port), "PASSWORD": ""}
        environment = {f"REDIS_{part}_{name}": value for part in ("QUEUE", "CACHE") for name, value in where.items()}
        away = services.settings(**environment)
        worker = start_worker(TASK_TIMEOUT_SECONDS="3", **environment)
        async with queue.open_queue(away) as pool:
            ids = [await submit(pool, "note", number, 0.4) for number in range(40)]
            await eventually(lambda: pool.exists("ended:0"))
            for fail, mend, seconds in (
                (valkey.kill, valkey.start, 0.7),
                (valkey.stop, valkey.start, 0.7),
                (valkey.pause, valkey.resume, 2.0),
            ):
                await asyncio.to_thread(fail)
                await asyncio.sleep(seconds)
                await asyncio.to_thread(mend)
                begin = time.monotonic()
                fresh = await submit(pool, "note", 1000)
                ids.append(fresh)
                await eventually(lambda: pool.exists("started:1000"), 4)
                assert time.monotonic() - begin < 4
                await pool.delete("started:1000")
            for task_id in ids:
                state = await finished(pool, task_id, 20)
                assert state.status is TaskStatus.COMPLETE, text(log)
        lines = text(log).splitlines()
        assert worker.poll() is None, text(log)
    assert sum("the queue is unavailable" in line for line in lines) == 3
    assert sum("the queue is available again" in line for line in lines) == 3


async def test_a_worker_starts_and_stops_while_redis_is_unavailable(
    services: Services, start_worker: StartWorker, log: Path, tmp_path: Path
) -> None:
    """It does not wait for Redis to stop, and what it ran is not lost."""
    with ValkeyServer(tmp_path / "valkey", options=VALKEY_DURABLE) as valkey:
        environment = {"REDIS_QUEUE_PORT": str(valkey.port), "REDIS_QUEUE_PASSWORD": "", "TASK_TIMEOUT_SECONDS": "30"}
        valkey.stop()
        idle = start_worker(**environment)
        await eventually(lambda: logged(log, "the queue is unavailable"))
        idle.send_signal(signal.SIGTERM)
        await asyncio.to_thread(idle.wait, 8)
        valkey.start()
        async with queue.open_queue(services.settings(**environment)) as pool:
            task_id = await submit(pool, "note", 1, 20.0)
            busy = start_worker(**environment)
            await eventually(lambda: pool.exists(f"arq:in-progress:{task_id}"))
            await asyncio.to_thread(valkey.kill)
            busy.send_signal(signal.SIGTERM)
            await asyncio.to_thread(busy.wait, 8)
            await asyncio.to_thread(valkey.start)
            state = await read_task(pool, task_id)
            assert state
            assert state.status in {TaskStatus.IN_PROGRESS, TaskStatus.QUEUED}


async def test_the_readmes_worker_runs_and_can_be_checked(
    services: Services, pool: JobQueue, start_worker: StartWorker, redis: Redis
) -> None:
    worker_settings = "src.app.core.worker.settings.WorkerSettings"

    def status() -> int:
        return run_python("-m", "arq", "--check", worker_settings, environment=services.environment())[0]

    assert await asyncio.to_thread(status) == 1
    worker = start_worker(worker_settings)

    async def gives_a_sign() -> bool:
        return bool([key async for key in redis.scan_iter("arq:health-check:*")])

    await eventually(gives_a_sign)
    [key] = [key async for key in redis.scan_iter("arq:health-check:*")]
    assert 25 < await redis.ttl(key) <= 31
    assert await asyncio.to_thread(status) == 0
    worker.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(worker.wait, 8) == 0
    assert await asyncio.to_thread(status) == 1
