"""The relay of a process of its own, which takes one step at a time: what a test does in between is a race."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from app.core.outbox import Sweep
from app.core.redis import RedisUnavailableError
from app.core.resources import Resources
from tests.support import outbox


def _replace_method(owner: object, name: str, make: Callable[[Any], Any]) -> None:
    setattr(owner, name, make(getattr(owner, name)))


class SteppedRelay:
    """The application's own sweep. Each of its statements, and each task that it sends, waits for a `step`."""

    def __init__(self, process: Resources) -> None:
        self.sweep: Sweep = outbox.sweep_of(process)
        self.loses_replies = False
        self._is_cut_off = False
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._under_way = 0
        self._running: asyncio.Task[bool] | None = None
        database, queue = outbox.database_of(process), outbox.queue_of(process)
        _replace_method(database, "execute", self._stepped)
        _replace_method(queue, "submit", lambda submit: self._stepped(self._lossy(submit)))
        _replace_method(queue, "ping", self._lossy)

    async def step(self) -> None:
        """Returns when the relay waits again, or has settled its batch."""
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self.sweep.sweep())
        elif self._waiting:
            self._waiting.popleft().set_result(None)
        await asyncio.sleep(0)
        while self._under_way or not (self._waiting or self._running.done()):  # noqa: ASYNC110 - the sweep's own steps
            await asyncio.sleep(0.001)

    async def kill(self) -> None:
        """It does nothing more, wherever it is; the next step is that of a new process."""
        if self._running:
            self._running.cancel()
            await asyncio.wait({self._running})
        self._waiting.clear()
        self.restore()

    def cut_off(self) -> None:
        """Redis does not respond to it."""
        self._is_cut_off = True

    def restore(self) -> None:
        self._is_cut_off = self.loses_replies = False

    def _stepped(self, run: Any) -> Any:
        async def stepped(*arguments: Any) -> Any:
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            await turn
            self._under_way += 1
            try:
                return await run(*arguments)
            finally:
                self._under_way -= 1

        return stepped

    def _lossy(self, run: Any) -> Any:
        async def sent(*arguments: Any) -> Any:
            if self._is_cut_off:
                raise RedisUnavailableError("cut off")
            reply = await run(*arguments)
            if self.loses_replies and arguments:
                raise RedisUnavailableError("the reply is lost")
            return reply

        return sent
