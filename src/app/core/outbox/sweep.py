"""The sweep of a worker: it sends the rows that no relay owns."""

import asyncio
import logging
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

from arq.constants import job_key_prefix

from app.core.config import OutboxSettings
from app.core.outbox import writes
from app.core.outbox.delivery import Delivery, Entry

logger = logging.getLogger(__name__)

BATCH = 200
STOP_SECONDS = 2.0


class Sweep:
    """Looks every OUTBOX_SWEEP_SECONDS, and again at once while there is more; one statement at a time.

    Any number of them may run: a row that one has claimed is skipped by the others.
    """

    def __init__(self, delivery: Delivery, settings: OutboxSettings) -> None:
        self._delivery = delivery
        self._database = delivery.database
        self._pause = settings.OUTBOX_SWEEP_SECONDS
        self._lease = timedelta(seconds=settings.OUTBOX_LEASE_SECONDS)
        self._wake = asyncio.Event()
        self._has_ordered = False
        self._is_closing = False
        self._is_failing = False
        # Further on in the table: deleted rows, which stay in its index until the next vacuum, are read once.
        self._beyond = 0

    async def run(self) -> None:
        """Returns when it is closed."""
        while not self._is_closing:
            self._wake.clear()
            has_more = await self._pass_safely()
            if not has_more:
                await self._wait()

    def task_ended(self) -> None:
        """A task of this worker has ended; another one may have to follow it."""
        if self._has_ordered:
            self._wake.set()

    def close(self) -> None:
        self._is_closing = True
        self._wake.set()

    async def _wait(self) -> None:
        seconds = self._pause * random.uniform(0.5, 1)  # noqa: S311 - jitter
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()

    async def _pass_safely(self) -> bool:
        try:
            has_more = await self.sweep()
        except Exception as error:  # noqa: BLE001 - it goes on when the database is available again
            if not self._is_failing:
                logger.warning("the outbox cannot be read, its tasks wait: %r", error)
            self._is_failing = True
            return False
        self._is_failing = False
        return has_more

    async def sweep(self) -> bool:
        """One batch; whether there may be more at once."""
        # Without Redis nothing is claimed: each claim writes the row anew.
        if not await self._delivery.responds():
            return False
        await self._end_ordered()
        parameters = {"beyond": self._beyond, "lease": self._lease, "limit": BATCH}
        entries = [Entry.of(row) for row in await self._database.execute(writes.CLAIM, parameters)]
        self._has_ordered = self._has_ordered or any(entry.is_ordered for entry in entries)
        has_more = await self._delivery.deliver(entries) and len(entries) == BATCH
        self._beyond = max(entry.id for entry in entries) if has_more else 0
        return has_more

    async def _end_ordered(self) -> None:
        """Deletes the sent rows whose tasks have ended, so that the next ones of their keys can be claimed."""
        beyond = 0
        self._has_ordered = False
        while rows := await self._database.execute(writes.SENT, {"beyond": beyond, "limit": BATCH}):
            self._has_ordered = True
            waiting = await self._delivery.queue.mget([job_key_prefix + row.job_id for row in rows])
            ended = [row.id for row, packed in zip(rows, waiting, strict=True) if packed is None]
            if ended:
                await self._database.execute(writes.FORGET, {"ids": ended})
            beyond = rows[-1].id


@asynccontextmanager
async def open_sweep(delivery: Delivery, settings: OutboxSettings) -> AsyncIterator[Sweep]:
    """A sweep that runs until the end; a batch under way gets `STOP_SECONDS` then."""
    sweep = Sweep(delivery, settings)
    task = asyncio.create_task(sweep.run())
    try:
        yield sweep
    finally:
        sweep.close()
        await asyncio.wait({task}, timeout=STOP_SECONDS)
        task.cancel()
        await asyncio.wait({task})
