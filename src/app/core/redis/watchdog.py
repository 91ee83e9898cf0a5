"""Timeouts that run only while the event loop does."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

TICKS_PER_TIMEOUT = 5
MANY_TICKS = 50
"""Where one wait takes several turns of the loop: to connect, to log in, and to follow a redirection takes up to 30."""


class Watchdog:
    """Calls `expired` after `timeout` seconds without a `reset`, counted in ticks: by default of one fifth of it.

    A tick counts at most its nominal length, however late it comes, and the loop reads the sockets between two ticks.
    So a blocked loop adds one tick, not the time that it was blocked for, and a reply that has arrived is read before
    five ticks are over. One timer serves all that is waited for.
    """

    def __init__(self, timeout: float, expired: Callable[[], object], ticks: int = TICKS_PER_TIMEOUT) -> None:
        self._timeout = timeout
        self._interval = timeout / ticks
        self._expired = expired
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._ticked_at = 0.0
        self._silence = 0.0
        self._is_waiting = False
        self.has_expired = False

    def start(self) -> None:
        """Starts to wait; uses the timer of an earlier wait if it still runs."""
        self._is_waiting = True
        self._silence = 0.0
        self._ticked_at = self._loop.time()
        if self._timer is None:
            self._timer = self._loop.call_later(self._interval, self._tick)

    def reset(self) -> None:
        self._silence = 0.0

    def pause(self) -> None:
        """Stops waiting. The timer ends at its next tick, which is cheaper than cancelling it."""
        self._is_waiting = False

    def cancel(self) -> None:
        self._is_waiting = False
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        self._timer = None
        if not self._is_waiting:
            return
        now = self._loop.time()
        self._silence += min(now - self._ticked_at, self._interval)
        self._ticked_at = now
        if self._silence >= self._timeout * (1 - 1e-6):
            self._is_waiting = False
            self.has_expired = True
            self._expired()
        else:
            self._timer = self._loop.call_later(self._interval, self._tick)


class LoopTimeout:
    """`asyncio.timeout` for many waits, each of which ends after the same time, counted as `Watchdog` counts it."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._interval = seconds / MANY_TICKS
        self._begun: dict[asyncio.Timeout, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._counted = 0.0
        self._ticked_at = 0.0

    @asynccontextmanager
    async def limit(self) -> AsyncIterator[None]:
        """Raises `TimeoutError` if what is in the block has not ended by then."""
        loop = asyncio.get_running_loop()
        if self._timer is None:
            self._ticked_at = loop.time()
            self._timer = loop.call_later(self._interval, self._tick, loop)
        async with asyncio.timeout(None) as timeout:
            self._begun[timeout] = self._counted + min(loop.time() - self._ticked_at, self._interval)
            try:
                yield
            finally:
                self._begun.pop(timeout, None)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        self._counted += min(now - self._ticked_at, self._interval)
        self._ticked_at = now
        over = self._counted - self.seconds * (1 - 1e-6)
        for timeout in [each for each, begun in self._begun.items() if begun <= over]:
            del self._begun[timeout]
            timeout.reschedule(now)
        # Without waits the timer ends at its next tick, which is cheaper than cancelling it.
        self._timer = loop.call_later(self._interval, self._tick, loop) if self._begun else None
