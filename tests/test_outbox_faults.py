"""After any fault: what was committed is run, what was rolled back is not."""

import asyncio
import random
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count

import pytest

from app.core.config import Settings
from app.core.outbox import writes
from app.core.outbox.delivery import Delivery, Entry
from app.core.resources import Resources
from app.core.utils.queue import enqueue
from tests.conftest import Services
from tests.helper import Rows
from tests.support import outbox, outbox_process
from tests.support import tasks_worker as tasks
from tests.support.readme import ROOT

ACTIONS_PER_SCHEDULE = 60
RELAYS = 3
BATCH = 4


@pytest.fixture
async def process(services: Services, rows: Rows) -> AsyncIterator[Resources]:
    async with outbox.process(services.settings()) as resources:
        yield resources


async def runs(process: Resources, number: int) -> int:
    return int(await outbox.queue_of(process).get(f"ended:{number}") or 0)


async def finish(process: Resources, settings: Settings) -> None:
    """Every lease ends, workers sweep and run until nothing is left."""
    await outbox.sweep_everything(process)
    await tasks.run_tasks(settings, tasks.note)
    while not await outbox.is_empty(process):
        await outbox.sweep_everything(process)
        await tasks.run_tasks(settings, tasks.note)


@dataclass
class KillableRelay:
    """A relay whose steps are taken one at a time; between any two it may be killed, or be very slow."""

    delivery: Delivery
    claimed: list[Entry] = field(default_factory=list)
    sent: list[Entry] = field(default_factory=list)

    async def claim(self) -> None:
        if not self.claimed:
            parameters = {"beyond": 0, "lease": timedelta(seconds=60), "limit": BATCH}
            self.claimed = [Entry.of(row) for row in await self.delivery.database.execute(writes.CLAIM, parameters)]

    async def send(self) -> None:
        for entry in self.claimed:
            await self.delivery.queue.submit(entry.task)
        self.sent = self.claimed

    async def settle(self) -> None:
        await self.delivery._settle(self.sent)
        self.claimed = self.sent = []

    async def die(self) -> None:
        self.claimed = self.sent = []

    async def fail(self) -> None:
        """Redis is unavailable."""
        if self.claimed:
            await self.delivery.database.execute(writes.RELEASE, {"ids": [entry.id for entry in self.claimed]})
        self.claimed = self.sent = []


class Schedule:
    """Random steps of writers, relays and workers, and the model: which numbers have to run, and which must not."""

    numbers = count(1)

    def __init__(self, process: Resources, settings: Settings, seed: int) -> None:
        self.process = process
        self.settings = settings
        self.rng = random.Random(seed)
        self.relays = [KillableRelay(outbox.outbox_of(process).delivery) for _ in range(RELAYS)]
        self.committed: list[int] = []
        self.rolled_back: list[int] = []

    async def write(self) -> None:
        number, is_kept = next(self.numbers), self.rng.random() < 0.7
        key = self.rng.choice([None, None, "a", "b"])
        (self.committed if is_kept else self.rolled_back).append(number)
        async with outbox.database_of(self.process).sessions() as db:
            await enqueue(db, "note", number, _after=key)
            await (db.commit() if is_kept else db.rollback())

    async def write_alone(self) -> None:
        number = next(self.numbers)
        self.committed.append(number)
        await enqueue(outbox.database_of(self.process), "note", number)

    async def end_leases(self) -> None:
        await outbox.expire_leases(self.process)

    async def work(self) -> None:
        await tasks.run_tasks(self.settings, tasks.note)

    def _actions(self) -> list[Callable[[], Awaitable[None]]]:
        relay = self.rng.choice(self.relays)
        of_relay = [relay.claim] * 3 + [relay.send] * 3 + [relay.settle] * 2 + [relay.die, relay.fail]
        rarely = [self.work] if self.rng.random() < 0.2 else []
        return [self.write, self.write, self.write_alone, self.end_leases, *of_relay, *rarely]

    async def run(self) -> None:
        async with outbox.paused(self.process):
            for _ in range(ACTIONS_PER_SCHEDULE):
                await self.rng.choice(self._actions())()

    async def check(self) -> None:
        """Exactly once here, because no result expires and no worker is killed."""
        assert {number: await runs(self.process, number) for number in self.committed} == dict.fromkeys(
            self.committed, 1
        )
        assert not [number for number in self.rolled_back if await runs(self.process, number)]


@pytest.mark.parametrize("seed", range(6))
async def test_random_schedules(process: Resources, services: Services, seed: int) -> None:
    schedule = Schedule(process, services.settings(), seed)
    await schedule.run()
    await finish(process, services.settings())
    await schedule.check()
    assert schedule.committed
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
    await finish(process, services.settings())
    assert [await runs(process, number) for number in range(3)] == [0, 1, 1]


async def test_a_second_delivery_after_the_task_has_ended(process: Resources, services: Services) -> None:
    """The relay was killed after Redis had the task; its row is swept when the result is there."""
    async with outbox.paused(process):
        await enqueue(outbox.database_of(process), "note", 1)
    relay = KillableRelay(outbox.outbox_of(process).delivery)
    await outbox.expire_leases(process)
    await relay.claim()
    await relay.send()
    await tasks.run_tasks(services.settings(), tasks.note)
    assert len(await outbox.stored(process)) == 1
    await finish(process, services.settings())
    assert await runs(process, 1) == 1
