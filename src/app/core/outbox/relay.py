"""The relay of a process: it sends what the process has just committed, outside of the request that did it."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from app.core.outbox import writes
from app.core.outbox.delivery import Delivery, Entry

logger = logging.getLogger(__name__)

BATCH = 200
MAX_WAITING = 10_000
"""Tasks kept in memory; more are left for the sweep."""
STOP_SECONDS = 2.0


class Relay:
    """Tasks go in by `add` and `add_uncertain`, without waiting; they are sent in batches, one after another.

    What it cannot send, because Redis or the database is unavailable, is left for the sweep: nothing is lost with it.
    """

    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery
        self._committed: deque[Entry] = deque(maxlen=MAX_WAITING)
        self._uncertain: deque[int] = deque(maxlen=MAX_WAITING)
        self._wake = asyncio.Event()
        self._is_closing = False

    def add(self, entry: Entry) -> None:
        """A row that is committed."""
        self._committed.append(entry)
        self._wake.set()

    def add_uncertain(self, ids: Sequence[int]) -> None:
        """Rows of a transaction that has ended, by a commit or not."""
        self._uncertain.extend(ids)
        self._wake.set()

    async def run(self) -> None:
        """Returns when it is closed and nothing waits."""
        while not self._is_closing or self._committed or self._uncertain:
            await self._wake.wait()
            try:
                await self._deliver()
            except Exception as error:  # noqa: BLE001 - the sweep sends what is left
                logger.warning("tasks stay in the outbox until the next sweep: %r", error)
            if not self._is_closing and not self._committed and not self._uncertain:
                self._wake.clear()

    def close(self) -> None:
        self._is_closing = True
        self._wake.set()

    async def _deliver(self) -> None:
        ids = [self._uncertain.popleft() for _ in range(min(BATCH, len(self._uncertain)))]
        entries = [self._committed.popleft() for _ in range(min(BATCH, len(self._committed)))]
        if ids:
            entries += map(Entry.of, await self._delivery.database.fetch_all(writes.COMMITTED, {"ids": ids}))
        if entries:
            await self._delivery.deliver(entries)


@asynccontextmanager
async def open_relay(delivery: Delivery) -> AsyncIterator[Relay]:
    """A relay that gets `STOP_SECONDS` at the end to send what waits."""
    relay = Relay(delivery)
    task = asyncio.create_task(relay.run())
    try:
        yield relay
    finally:
        relay.close()
        await asyncio.wait({task}, timeout=STOP_SECONDS)
        task.cancel()
        await asyncio.wait({task})
