"""Hashing in turns: fair among lanes, bounded, and nothing for callers that have left."""

import asyncio
import random
import runpy
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from app.core import cores
from app.core.limits import lockout
from app.core.passwords import ClientLeftError, FairQueue, QueueFullError, fair_queue, hasher, open_password_hasher
from tests.conftest import Services
from tests.support.readme import ROOT


class Work:
    """Jobs of the queue whose order of execution is written down; each takes three turns of the event loop."""

    def __init__(self, workers: int) -> None:
        self.queue = FairQueue(workers)
        self.done: list[str] = []
        self.running = self.most_running = 0

    async def run(self, lane: str, until_left: "asyncio.Future[None] | None" = None) -> None:
        async with self.queue.turn(lane, until_left):
            self.running += 1
            self.most_running = max(self.most_running, self.running)
            try:
                for _ in range(3):
                    await asyncio.sleep(0)
                self.done.append(lane)
            finally:
                self.running -= 1

    def start(self, lane: str, until_left: "asyncio.Future[None] | None" = None) -> "asyncio.Task[None]":
        return asyncio.create_task(self.run(lane, until_left))


async def outcome(task: "asyncio.Task[None]") -> str:
    try:
        await task
    except (ClientLeftError, QueueFullError, asyncio.CancelledError) as error:
        return type(error).__name__
    return "done"


async def test_a_full_lane_does_not_delay_the_others() -> None:
    work = Work(1)
    flood = [work.start("flood") for _ in range(30)]
    await asyncio.sleep(0)
    honest = [work.start("honest"), work.start("other")]
    await asyncio.gather(*flood, *honest)
    assert work.done.index("honest") <= 3
    assert work.done.index("other") <= 4
    assert work.most_running == 1


async def test_within_a_lane_the_first_to_come_is_the_first_to_be_served() -> None:
    queue, order = FairQueue(1), list[int]()

    async def run(number: int) -> None:
        async with queue.turn("lane"):
            await asyncio.sleep(0)
            order.append(number)

    await asyncio.gather(*(run(number) for number in range(20)))
    assert order == list(range(20))


async def test_waiting_is_bounded_per_lane_in_all_and_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fair_queue, "MAX_WAITING_PER_LANE", 3)
    monkeypatch.setattr(fair_queue, "MAX_WAITING", 5)
    monkeypatch.setattr(fair_queue, "MAX_WAIT_SECONDS", 0.05)
    queue = FairQueue(1)

    async def wait(lane: str) -> str:
        try:
            async with queue.turn(lane):
                return "done"
        except QueueFullError:
            return "full"

    async with queue.turn("first"):
        waiting = [asyncio.create_task(wait("a")) for _ in range(4)]
        await asyncio.sleep(0)
        assert await waiting[3] == "full", "the lane has three places"
        waiting += [asyncio.create_task(wait(f"b{number}")) for number in range(3)]
        await asyncio.sleep(0)
        assert await waiting[6] == "full", "there are five places in all"
        assert await asyncio.gather(*waiting) == ["full"] * 7, "nobody waits for longer than the bound"
    assert await wait("a") == "done"


async def test_a_client_that_has_left_already_gets_no_turn() -> None:
    work = Work(2)
    left = asyncio.get_running_loop().create_future()
    left.set_result(None)
    assert await outcome(work.start("a", left)) == "ClientLeftError"
    assert await outcome(work.start("a")) == "done"


@pytest.mark.parametrize("seed", range(20))
async def test_every_turn_is_given_back(seed: int) -> None:
    """Callers come, leave and are cancelled at random; at the end all workers are free and no place is taken."""
    chance = random.Random(seed)
    workers = chance.randint(1, 3)
    work = Work(workers)
    tasks: list[asyncio.Task[None]] = []
    leaving: list[asyncio.Future[None]] = []
    for _ in range(200):
        left = asyncio.get_running_loop().create_future()
        tasks.append(work.start(f"lane {chance.randrange(8)}", left))
        leaving.append(left)
        event = chance.random()
        if event < 0.2:
            chance.choice(tasks).cancel()
        elif event < 0.4:
            chance.choice(leaving).cancel()
        if event > 0.5:
            await asyncio.sleep(0)
    results = Counter([await outcome(task) for task in tasks])
    assert results["done"] == len(work.done) > 0
    assert results.total() == 200
    assert work.most_running == workers
    work.most_running = 0
    await asyncio.gather(*(work.run("again") for _ in range(20)))
    assert work.most_running == workers, "none is lost and none is there twice"
    assert work.queue._waiting == 0
    assert not work.queue._lanes


async def test_a_cancelled_caller_keeps_its_thread_until_the_hash_is_ready(services: Services) -> None:
    """So that no more threads hash than there are cores."""
    settings = services.settings(PASSWORD_HASH_ROUNDS=8)
    async with open_password_hasher(settings) as passwords:
        tasks = [asyncio.create_task(passwords.hash("a password")) for _ in range(12)]
        await asyncio.sleep(0.02)
        for task in tasks[:6]:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, str) for result in results[6:])


def test_a_reservation_outlasts_the_wait_for_a_turn() -> None:
    """Otherwise a guess that waits would no longer count among the attempts under way."""
    longest_hash = 10.0
    assert fair_queue.MAX_WAIT_SECONDS + longest_hash < lockout.RESERVATION_SECONDS


@pytest.mark.parametrize(
    ("files", "share"),
    [
        ({"cpu.max": "max 100000"}, None),
        ({"cpu.max": "150000 100000"}, 2),
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "100000"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ({"cpu.max": "nonsense"}, None),
        ({}, None),
    ],
)
def test_threads_and_workers_count_the_cores_of_the_control_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], share: int | None
) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    monkeypatch.setattr(cores, "_CGROUP", tmp_path)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(64)))
    assert cores.available_cores() == (share or 64)


async def test_no_more_threads_hash_than_the_process_has_cores(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = most = 0
    lock = threading.Lock()

    def hash_slowly(*_: object) -> str:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.02)
        with lock:
            running -= 1
        return "a hash"

    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr(cores, "_quota", lambda: None)
    monkeypatch.setattr(hasher, "get_password_hash", hash_slowly)
    async with open_password_hasher(services.settings()) as passwords:
        await asyncio.gather(*(passwords.hash("a password") for _ in range(20)))
    assert most == 2


def test_gunicorn_starts_as_many_workers_as_the_process_has_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WEB_CONCURRENCY", raising=False)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0})
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    assert runpy.run_path(str(ROOT / "gunicorn.conf.py"))["workers"] == 1
