"""After any fault: what was committed is run, what was rolled back is not."""

import asyncio
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from itertools import count

import pytest

from app.core.config import Settings
from app.core.resources import Resources
from app.core.utils.queue import enqueue
from app.core.worker.runtime.context import TaskContext
from app.core.worker.runtime.retries import Task
from tests.conftest import Services
from tests.helper import Rows
from tests.support import outbox, outbox_process
from tests.support import tasks_worker as tasks
from tests.support.readme import ROOT
from tests.support.stepped_relay import SteppedRelay

SCHEDULES = int(os.environ.get("OUTBOX_SCHEDULES", "6"))
ACTIONS_PER_SCHEDULE = 200
RELAYS = 3
BATCH = 4
KEYS = ("", "a", "b")


@pytest.fixture
async def process(services: Services, rows: Rows) -> AsyncIterator[Resources]:
    async with outbox.process(services.settings()) as resources:
        yield resources


async def runs(process: Resources, number: int) -> int:
    return int(await outbox.queue_of(process).get(f"ended:{number}") or 0)


async def record(ctx: TaskContext, number: int, key: str) -> None:
    position = await ctx.worker_queue.incr(f"positions:{key}")
    await ctx.worker_queue.zadd(f"recorded:{key}", {f"{position}-{number}": position})


async def recorded(process: Resources, key: str) -> list[int]:
    """The numbers of all runs, in their order."""
    found = await outbox.queue_of(process).zrange(f"recorded:{key}", 0, -1)
    return [int(each.partition(b"-")[2]) for each in found]


async def finish(process: Resources, settings: Settings, task: Task) -> None:
    """Every lease ends, workers sweep and run until nothing is left."""
    await outbox.sweep_everything(process)
    await tasks.run_tasks(settings, task)
    while not await outbox.is_empty(process):
        await outbox.sweep_everything(process)
        await tasks.run_tasks(settings, task)


class Schedule:
    """Random steps of writers, relays and workers, and the model: which numbers have to run, and in which order."""

    numbers = count(1)

    def __init__(self, process: Resources, relays: list[SteppedRelay], settings: Settings, seed: int) -> None:
        self.process = process
        self.relays = relays
        self.settings = settings
        self.rng = random.Random(seed)
        self.committed: dict[str, list[int]] = {key: [] for key in KEYS}
        self.rolled_back: list[int] = []
        self.ordered: dict[bytes, str] = {}

    async def write(self) -> None:
        number, key, is_kept = next(self.numbers), self.rng.choice(KEYS), self.rng.random() < 0.7
        (self.committed[key] if is_kept else self.rolled_back).append(number)
        async with outbox.database_of(self.process).sessions() as db:
            job_id = await enqueue(db, record, number, key, _after=key or None)
            await (db.commit() if is_kept else db.rollback())
        if key:
            self.ordered[job_id.encode()] = key

    async def write_alone(self) -> None:
        number = next(self.numbers)
        self.committed[""].append(number)
        await enqueue(outbox.database_of(self.process), record, number, "")

    async def write_and_die(self) -> None:
        async with outbox.paused(self.process):
            await self.rng.choice([self.write, self.write_alone])()

    async def end_leases(self) -> None:
        await outbox.expire_leases(self.process)

    async def lose_replies(self) -> None:
        self.rng.choice(self.relays).loses_replies = True

    async def cut_off(self) -> None:
        self.rng.choice(self.relays).cut_off()

    async def restore(self) -> None:
        for relay in self.relays:
            relay.restore()

    async def work(self) -> None:
        await tasks.run_tasks(self.settings, record)

    def _action(self) -> Callable[[], Awaitable[None]]:
        relay = self.rng.choice(self.relays)
        weights = {relay.step: 50, self.write_and_die: 15, self.write: 3, self.write_alone: 3, self.end_leases: 8}
        weights |= {relay.kill: 6, self.lose_replies: 2, self.cut_off: 4, self.restore: 6, self.work: 2}
        [action] = self.rng.choices([*weights], [*weights.values()])
        return action

    async def run(self) -> None:
        for _ in range(ACTIONS_PER_SCHEDULE):
            await self._action()()
            in_queue = await outbox.queue_of(self.process).zrange("arq:queue", 0, -1)
            keys = [self.ordered[job_id] for job_id in in_queue if job_id in self.ordered]
            assert len(keys) == len(set(keys)), "a task was sent before the earlier one of its key has ended"
        for relay in self.relays:
            await relay.kill()

    async def check(self) -> None:
        """Exactly once here, because no result expires and no worker is killed; in the order of the commits by key."""
        ran = {key: await recorded(self.process, key) for key in KEYS}
        assert sorted(ran[""]) == self.committed[""]
        assert {key: ran[key] for key in KEYS if key} == {key: self.committed[key] for key in KEYS if key}


@pytest.mark.parametrize("seed", range(SCHEDULES))
async def test_random_schedules(
    process: Resources, services: Services, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Relays that are killed or stopped at any step, cut off from Redis and without its replies, and that race."""
    monkeypatch.setattr("app.core.outbox.sweep.BATCH", BATCH)
    monkeypatch.setattr("app.core.outbox.delivery.PROBE_SECONDS", 0.01)
    settings = services.settings(OUTBOX_LEASE_SECONDS=600)
    async with AsyncExitStack() as stack:
        others = [await stack.enter_async_context(outbox.process(settings)) for _ in range(RELAYS)]
        schedule = Schedule(process, [SteppedRelay(each) for each in others], settings, seed)
        await schedule.run()
    await finish(process, settings, record)
    await schedule.check()
    assert schedule.committed[""]
    assert schedule.ordered
    assert schedule.rolled_back


async def test_kill_9_at_each_step_of_a_submission(process: Resources, services: Services) -> None:
    environment = services.environment(PYTHONPATH=f"{ROOT}:{ROOT / 'src'}")
    programs = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.support.outbox_process", step, str(number), cwd=ROOT, env=environment
        )
        for number, step in enumerate(outbox_process.STEPS)
    ]
    statuses = [await program.wait() for program in programs]
    assert statuses == [-signal.SIGKILL] * len(programs)
    assert len(await outbox.stored(process)) == 2
    assert await outbox.queue_of(process).zcard("arq:queue") == 1
    await finish(process, services.settings(), tasks.note)
    assert [await runs(process, number) for number in range(3)] == [0, 1, 1]


async def test_a_second_delivery_after_the_task_has_ended(process: Resources, services: Services) -> None:
    """The relay was killed after Redis had the task; its row is swept when the result is there."""
    async with outbox.paused(process):
        await enqueue(outbox.database_of(process), "note", 1)
    await outbox.expire_leases(process)
    async with outbox.process(services.settings()) as other:
        relay = SteppedRelay(other)
        while not await outbox.queue_of(process).zcard("arq:queue"):
            await relay.step()
        await relay.kill()
    await tasks.run_tasks(services.settings(), tasks.note)
    assert len(await outbox.stored(process)) == 1
    await finish(process, services.settings(), tasks.note)
    assert await runs(process, 1) == 1
