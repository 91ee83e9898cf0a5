"""Turns for a few workers, shared fairly among lanes."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any

MAX_WAITING_PER_LANE = 40
MAX_WAITING = 400
MAX_WAIT_SECONDS = 5.0


class QueueFullError(Exception):
    """There is no turn within the bounds; trying again later may succeed."""


class ClientLeftError(Exception):
    """The caller's client left while it waited."""


class FairQueue:
    """First come, first served within a lane; lanes that wait take turns."""

    def __init__(self, workers: int) -> None:
        self._free = workers
        self._waiting = 0
        self._lanes: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @asynccontextmanager
    async def turn(self, lane: str, until_left: Awaitable[object] | None = None) -> AsyncIterator[None]:
        """Waits for a worker and holds it. `until_left` ends when the client has left, and is cancelled otherwise.

        Raises `QueueFullError` or `ClientLeftError`.
        """
        leaving = asyncio.ensure_future(until_left) if until_left else None
        try:
            await self._wait(lane, leaving)
        finally:
            if leaving:
                leaving.cancel()
        try:
            yield
        finally:
            self._release()

    async def _wait(self, lane: str, leaving: asyncio.Future[object] | None) -> None:
        turn = self._enter(lane)
        try:
            # One turn of the event loop passes even if a worker is free: a client that has left already is noticed.
            both: set[asyncio.Future[Any]] = {turn, leaving} if leaving else {turn}
            await asyncio.wait(both, timeout=MAX_WAIT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if leaving and leaving.done():
                raise ClientLeftError
            if not turn.done():
                raise QueueFullError
        except BaseException:
            self._give_up(lane, turn)
            raise

    def _enter(self, lane: str) -> asyncio.Future[None]:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._free:
            self._free -= 1
            turn.set_result(None)
            return turn
        if len(self._lanes.get(lane, ())) >= MAX_WAITING_PER_LANE or self._waiting >= MAX_WAITING:
            raise QueueFullError
        self._lanes.setdefault(lane, deque()).append(turn)
        self._waiting += 1
        return turn

    def _give_up(self, lane: str, turn: asyncio.Future[None]) -> None:
        if turn.done():
            self._release()
            return
        self._waiting -= 1
        self._lanes[lane].remove(turn)
        if not self._lanes[lane]:
            del self._lanes[lane]

    def _release(self) -> None:
        """Hands the worker to the next lane, whose further places go behind those of all other lanes."""
        if not self._lanes:
            self._free += 1
            return
        lane, places = self._lanes.popitem(last=False)
        places.popleft().set_result(None)
        self._waiting -= 1
        if places:
            self._lanes[lane] = places
