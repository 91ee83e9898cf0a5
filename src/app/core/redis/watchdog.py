"""A timeout that runs only while the event loop does."""

import asyncio
from collections.abc import Callable

TICKS_PER_TIMEOUT = 5


class Watchdog:
    """Calls `expired` after `timeout` seconds without a `reset`, counted in ticks of one fifth of it.

    A tick counts at most its nominal length, however late it comes, and the loop reads the sockets between two ticks.
    So a blocked loop adds one tick, not the time that it was blocked for, and a reply that has arrived is read before
    five ticks are over. One timer serves all that is waited for.
    """

    def __init__(self, timeout: float, expired: Callable[[], object]) -> None:
        self._timeout = timeout
        self._interval = timeout / TICKS_PER_TIMEOUT
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
