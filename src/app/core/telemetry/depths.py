"""Figures of what waits: the tasks in the queue, and those in the outbox."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial
from typing import Generic, TypeVar

from arq import ArqRedis
from opentelemetry.metrics import CallbackOptions, Meter, Observation

from app.core.outbox import Outbox, OutboxDepth, read_outbox_depth
from app.core.queue.depth import QueueDepth, read_depth

logger = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
Depth = TypeVar("Depth", QueueDepth, OutboxDepth)


class _Latest(Generic[Depth]):
    """What the latest look found; None while the server cannot be asked."""

    depth: Depth | None = None

    async def look(self, read: Callable[[], Awaitable[Depth]]) -> None:
        while True:
            try:
                self.depth = await read()
            except Exception as error:  # noqa: BLE001 - it looks again when the server is available
                logger.debug("what waits cannot be measured: %r", error)
                self.depth = None
            await asyncio.sleep(LOOK_SECONDS)


@asynccontextmanager
async def _looking(latest: _Latest[Depth], read: Callable[[], Awaitable[Depth]]) -> AsyncIterator[None]:
    """Meanwhile there is a look every `LOOK_SECONDS`."""
    looking = asyncio.create_task(latest.look(read))
    try:
        yield
    finally:
        looking.cancel()
        await asyncio.wait({looking})


@asynccontextmanager
async def observed_queue(queue: ArqRedis, meter: Meter) -> AsyncIterator[None]:
    latest: _Latest[QueueDepth] = _Latest()

    def tasks(_: CallbackOptions) -> Iterable[Observation]:
        if latest.depth:
            for state in ("queued", "deferred", "in_progress"):
                yield Observation(getattr(latest.depth, state), {"state": state})

    def age(_: CallbackOptions) -> Iterable[Observation]:
        if latest.depth:
            yield Observation(latest.depth.oldest_age)

    meter.create_observable_gauge("app.queue.tasks", [tasks], "{task}", "Tasks in the queue.")
    meter.create_observable_gauge("app.queue.oldest.age", [age], "s", "How long the oldest waiting task has been due.")
    async with _looking(latest, partial(read_depth, queue)):
        yield


@asynccontextmanager
async def observed_outbox(outbox: Outbox, meter: Meter) -> AsyncIterator[None]:
    latest: _Latest[OutboxDepth] = _Latest()

    def tasks(_: CallbackOptions) -> Iterable[Observation]:
        if latest.depth:
            for state in ("waiting", "refused"):
                yield Observation(getattr(latest.depth, state), {"state": state})

    meter.create_observable_gauge("app.outbox.tasks", [tasks], "{task}", "Tasks that the queue does not have yet.")
    async with _looking(latest, partial(read_outbox_depth, outbox)):
        yield
