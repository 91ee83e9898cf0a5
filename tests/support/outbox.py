"""A process that uses the outbox, in this process: its parts, and the moments between its steps."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from sqlalchemy import text

from app.core.config import OutboxSettings, Settings
from app.core.db.database import Database
from app.core.outbox import Outbox, Sweep
from app.core.queue.jobs import JobQueue
from app.core.resources import Resources, open_resources
from tests.helper import eventually

FUNCTIONS = ("note", "fail", "record", "send_welcome")
"""Names that the processes of the tests accept."""


def process(settings: Settings) -> AbstractAsyncContextManager[Resources]:
    return open_resources(settings, FUNCTIONS)


def database_of(process: Resources) -> Database:
    assert process.database
    return process.database


def queue_of(process: Resources) -> JobQueue:
    assert isinstance(process.queue, JobQueue)
    return process.queue


def outbox_of(process: Resources) -> Outbox:
    assert process.outbox
    return process.outbox


def sweep_of(process: Resources) -> Sweep:
    assert isinstance(process.settings, OutboxSettings)
    return Sweep(outbox_of(process).delivery, process.settings)


async def stored(process: Resources) -> Sequence[Any]:
    return await database_of(process).fetch_all(text("SELECT * FROM outbox ORDER BY id"))


async def is_empty(process: Resources) -> bool:
    return not await stored(process)


async def emptied(process: Resources) -> None:
    """Returns when the relay has sent everything."""
    await eventually(lambda: is_empty(process))


@asynccontextmanager
async def paused(process: Resources) -> AsyncIterator[None]:
    """Without the relay, as if the process was killed right after each commit."""
    relay = outbox_of(process)._relay
    waiting = relay.add, relay.add_uncertain
    relay.add = relay.add_uncertain = lambda _: None  # type: ignore[method-assign,assignment]
    try:
        yield
    finally:
        relay.add, relay.add_uncertain = waiting  # type: ignore[method-assign]


async def expire_leases(process: Resources) -> None:
    await database_of(process).execute(text("UPDATE outbox SET claimed_until = now()"))


async def sweep_everything(process: Resources) -> None:
    """What the sweeps of all workers do in the end, when every lease has expired."""
    await expire_leases(process)
    while await sweep_of(process).sweep():
        pass


async def swept(process: Resources) -> bool:
    """Whether a sweep now leaves nothing; rows that were released are swept at once."""
    await sweep_of(process).sweep()
    return await is_empty(process)


async def store_directly(process: Resources, count: int) -> None:
    """Rows of tasks, as a process that was killed left them."""
    packed = queue_of(process).pack("note", (1,), {}).packed
    statement = text(
        "INSERT INTO outbox (job_id, function, packed, due_at, claimed_until) "
        "SELECT gen_random_uuid()::text, 'note', :packed, now(), now() FROM generate_series(1, :count)"
    )
    await database_of(process).execute(statement, {"packed": packed, "count": count})
