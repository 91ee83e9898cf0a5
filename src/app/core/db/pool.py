"""The connections of a process: one bound for sessions and for single statements, which share them."""

import asyncio
import time
from collections import deque
from typing import Any

from sqlalchemy.pool import ConnectionPoolEntry, Pool
from sqlalchemy.util import await_only, greenlet_spawn

from app.core.db.errors import PoolTimeoutError

SURPLUS_SECONDS = 10
"""How long a connection beyond `pool_size` may be idle before it is closed."""

Turn = asyncio.Future[ConnectionPoolEntry | None]


def _is_closed(entry: ConnectionPoolEntry) -> bool:
    # asyncpg notices a closed socket without a round trip.
    connection = entry.driver_connection
    return connection is None or bool(connection.is_closed())


class SharedPool(Pool):
    """At most `pool_size + max_overflow` connections, made when they are needed; the one used last is used first.

    SQLAlchemy's sessions take their connections through the engine, single statements by `acquire`. A caller that
    finds none waits its turn for `timeout` seconds, then gets `PoolTimeoutError`.
    """

    def __init__(
        self, creator: Any, pool_size: int = 5, max_overflow: int = 10, timeout: float = 5, **options: Any
    ) -> None:
        super().__init__(creator, **options)
        self._kept = pool_size
        self._size = pool_size + max_overflow
        self._timeout = timeout
        self._open = 0
        self._is_disposed = False
        self._idle: deque[tuple[ConnectionPoolEntry, float]] = deque()
        self._waiting: deque[Turn] = deque()
        self._closing: set[asyncio.Task[None]] = set()

    def take(self) -> ConnectionPoolEntry | None:
        """A connection that is open and not too old, if one is idle."""
        while self._idle:
            entry, _ = self._idle.pop()
            if self._is_usable(entry):
                return entry
            self.discard(entry)
        return None

    async def acquire(self) -> ConnectionPoolEntry:
        """A connection, idle or new; waits for one where all are in use."""
        entry = self.take()
        if entry is not None:
            return entry
        if self._open >= self._size:
            entry = await self._wait()
            if entry is not None:
                return entry
        else:
            self._open += 1
        try:
            return await greenlet_spawn(self._create_connection)
        except BaseException:
            self._free()
            raise

    def give(self, entry: ConnectionPoolEntry) -> None:
        """Takes back a connection that is in no transaction; the caller that has waited longest gets it."""
        if self._is_disposed or _is_closed(entry):
            self.discard(entry)
            return
        now = time.monotonic()
        entry.info.setdefault("since", now)
        if self._hand_over(entry):
            return
        self._idle.append((entry, now))
        if len(self._idle) > self._kept and now - self._idle[0][1] > SURPLUS_SECONDS:
            self.discard(self._idle.popleft()[0])

    def discard(self, entry: ConnectionPoolEntry) -> None:
        """Closes a connection; its place is free when it is closed, so that the bound holds on the server too."""
        if _is_closed(entry):
            self._free()
            return
        task = asyncio.get_running_loop().create_task(self._close(entry))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def wait_closed(self) -> None:
        """Returns when the connections that are being closed are closed."""
        await asyncio.gather(*self._closing, return_exceptions=True)

    async def _close(self, entry: ConnectionPoolEntry) -> None:
        try:
            await greenlet_spawn(entry.invalidate)
        finally:
            self._free()

    def _is_usable(self, entry: ConnectionPoolEntry) -> bool:
        if _is_closed(entry):
            return False
        return self._recycle < 0 or time.monotonic() - entry.info.get("since", 0) < self._recycle

    async def _wait(self) -> ConnectionPoolEntry | None:
        """What is handed over: a connection, or with None the place of one."""
        loop = asyncio.get_running_loop()
        turn: Turn = loop.create_future()
        self._waiting.append(turn)
        timer = loop.call_later(self._timeout, self._expire, turn)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._pass_on(turn.result())
            raise
        finally:
            timer.cancel()

    def _expire(self, turn: Turn) -> None:
        if not turn.done():
            message = f"all {self._size} connections are in use for {self._timeout} s"
            turn.set_exception(PoolTimeoutError(message))

    def _pass_on(self, entry: ConnectionPoolEntry | None) -> None:
        if entry is None:
            self._free()
        else:
            self.give(entry)

    def _hand_over(self, entry: ConnectionPoolEntry | None) -> bool:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(entry)
                return True
        return False

    def _free(self) -> None:
        if not self._hand_over(None):
            self._open -= 1

    # The methods that SQLAlchemy requires of a pool.

    def _do_get(self) -> ConnectionPoolEntry:
        return self.take() or await_only(self.acquire())

    def _do_return_conn(self, record: ConnectionPoolEntry) -> None:
        self.give(record)

    def checkedin(self) -> int:
        """How many connections are idle."""
        return len(self._idle)

    def checkedout(self) -> int:
        """How many connections are in use, being made or being closed."""
        return self._open - len(self._idle)

    @property
    def size(self) -> int:
        """How many connections there may be."""
        return self._size

    @property
    def waiting(self) -> int:
        """How many callers wait for a connection."""
        return sum(not turn.done() for turn in self._waiting)

    def status(self) -> str:
        return f"{self.checkedin()} idle, {self.checkedout()} in use, of at most {self._size}"

    def recreate(self) -> "SharedPool":
        return type(self)(
            self._creator,
            pool_size=self._kept,
            max_overflow=self._size - self._kept,
            timeout=self._timeout,
            recycle=self._recycle,
            echo=self.echo,
            logging_name=self._orig_logging_name,
            reset_on_return=self._reset_on_return,
            pre_ping=self._pre_ping,
            _dispatch=self.dispatch,
            dialect=self._dialect,
        )

    def dispose(self) -> None:
        """Closes the idle connections, and those in use when they are given back."""
        self._is_disposed = True
        while self._idle:
            self._idle.pop()[0].close()
            self._free()
