"""A worker's connection to the queue, which waits while Redis is unavailable."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

from redis.asyncio.client import Pipeline
from redis.exceptions import (
    AuthenticationError,
    ExecAbortError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    WatchError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from app.core.config import RedisQueueSettings
from app.core.queue.jobs import TIMEOUT_SECONDS, JobQueue
from app.core.redis import create_pool
from app.core.redis.errors import lacks_replicas

logger = logging.getLogger(__name__)

FIRST_DELAY_SECONDS = 0.05
LAST_DELAY_SECONDS = 1.0
OUTAGES = (RedisConnectionError, RedisTimeoutError, ReadOnlyError, OutOfMemoryError, ExecAbortError)
"""Temporary errors: Redis is unavailable, is loading its data, is being replaced, or is full."""

Command = Callable[..., Awaitable[Any]]
T = TypeVar("T")


def _is_outage(error: RedisError) -> bool:
    """Also where the server has `min-replicas-to-write`, and too few of them."""
    return isinstance(error, OUTAGES) or lacks_replicas(error)


def _delays() -> Iterator[float]:
    delay = FIRST_DELAY_SECONDS
    while True:
        yield delay * random.uniform(0.5, 1)  # noqa: S311 - jitter
        delay = min(delay * 2, LAST_DELAY_SECONDS)


class Patience:
    """Repeats commands until Redis replies. Logs once that Redis is unavailable, and once that it is available again.

    Only the wait for the first reply has a limit: a server that never replied probably has another address.
    """

    def __init__(self, start_seconds: float) -> None:
        self._start_seconds = start_seconds
        self._first_loss = 0.0
        self._last_reply = 0.0
        self._is_unavailable = False
        self._ended = False
        self._main: asyncio.Task[Any] | None = None

    def last_until(self, main: "asyncio.Task[Any]") -> None:
        """After the task has ended, errors are raised at once: a worker that stops does not wait for Redis."""
        self._ended = False
        self._main = main
        main.add_done_callback(self._end)

    def _end(self, _: object) -> None:
        self._ended = True

    async def ride_out(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """The attempt's reply, at the latest a second after Redis is available again."""
        has_failed = False
        for delay in _delays():
            begin = time.monotonic()
            try:
                reply = await attempt()
            except RedisError as error:
                if not _is_outage(error) or self._ended or self._is_hopeless(error):
                    raise
                # An attempt that began before the last reply does not show that Redis is unavailable now.
                if begin > self._last_reply:
                    self._note_loss(error)
                has_failed = True
                await self._sleep(delay)
            else:
                self._note_return(has_failed)
                self._stop_if_cancelled()
                return reply
        raise AssertionError("delays do not end")

    def _stop_if_cancelled(self) -> None:
        # redis-py sends by `asyncio.wait_for`, which before Python 3.12 loses a cancellation that comes just when it
        # ends. The worker would run on after its signal to stop.
        main = self._main
        if main and main.cancelling() and main is asyncio.current_task():
            raise asyncio.CancelledError

    async def _sleep(self, delay: float) -> None:
        try:
            await asyncio.sleep(delay)
        except asyncio.CancelledError:
            # No task runs before the first reply, so this can only be the worker's stop.
            self._ended = self._ended or not self._last_reply
            raise

    def _is_hopeless(self, error: RedisError) -> bool:
        if self._last_reply:
            return False
        self._first_loss = self._first_loss or time.monotonic()
        return isinstance(error, AuthenticationError) or time.monotonic() - self._first_loss >= self._start_seconds

    def _note_loss(self, error: RedisError) -> None:
        if not self._is_unavailable:
            self._is_unavailable = True
            logger.warning("the queue is unavailable, waiting for it: %r", error)

    def _note_return(self, has_failed: bool) -> None:
        self._last_reply = time.monotonic()
        # A server that is full or lacks replicas replies to what only reads.
        if self._is_unavailable and has_failed:
            self._is_unavailable = False
            logger.warning("the queue is available again")


class PatientPipeline(Pipeline):
    """A transaction that is repeated after an outage, or abandoned if it depends on values that were read before.

    arq claims a task by such a watched transaction. If it is abandoned, arq assumes that another worker has the task,
    and finds it again in the next round.
    """

    def __init__(self, queue: "PatientQueue", *args: Any) -> None:
        super().__init__(*args)
        self._patience = queue.patience
        self._given_up = False

    async def immediate_execute_command(self, *args: Any, **options: Any) -> Any:
        command: Command = super().immediate_execute_command
        if args[0] == "WATCH":
            return await self._patience.ride_out(lambda: command(*args, **options))
        if not self._given_up:
            try:
                return await command(*args, **options)
            except RedisError as error:
                if not (isinstance(error, WatchError) or _is_outage(error)):
                    raise
                await self.aclose()
                self._given_up = self.watching = True
        return 1 if args[0] == "EXISTS" else None

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        transaction, commands = super().execute, list(self.command_stack)

        async def attempt() -> list[Any]:
            self.command_stack = list(commands)
            return await transaction(raise_on_error)

        if not self.watching:
            return await self._patience.ride_out(attempt)
        try:
            return await transaction(raise_on_error)
        except RedisError as error:
            if not _is_outage(error):
                raise
            raise WatchError("the connection was lost during the watched transaction") from error


class PatientQueue(JobQueue):
    """The queue of a worker, whose commands wait until Redis replies."""

    def __init__(self, settings: RedisQueueSettings) -> None:
        super().__init__(create_pool(settings.REDIS_QUEUE_URL, timeout=TIMEOUT_SECONDS))
        self.patience = Patience(settings.REDIS_QUEUE_WAIT_SECONDS)

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        command: Command = super().execute_command
        return await self.patience.ride_out(lambda: command(*args, **options))

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> PatientPipeline:
        return PatientPipeline(self, self.connection_pool, self.response_callbacks, transaction, shard_hint)

    async def close(self, close_connection_pool: bool | None = None) -> None:
        """`aclose` under the deprecated name that arq calls it by."""
        await self.aclose(close_connection_pool)
