"""A worker's connection to the queue, which waits for Redis as long as Redis is away."""

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

logger = logging.getLogger(__name__)

FIRST_DELAY_SECONDS = 0.05
LAST_DELAY_SECONDS = 1.0
OUTAGES = (RedisConnectionError, RedisTimeoutError, ReadOnlyError, OutOfMemoryError, ExecAbortError)
"""What passes by itself: Redis is away, is loading its data, is being replaced, or is full."""

Command = Callable[..., Awaitable[Any]]
T = TypeVar("T")


def _delays() -> Iterator[float]:
    delay = FIRST_DELAY_SECONDS
    while True:
        yield delay * random.uniform(0.5, 1)  # noqa: S311 - jitter
        delay = min(delay * 2, LAST_DELAY_SECONDS)


class Patience:
    """Repeats commands until Redis answers; says once that it went and once that it is back.

    Only the very first answer is waited for with a limit: what never was there is probably somewhere else.
    """

    def __init__(self, start_seconds: float) -> None:
        self._start_seconds = start_seconds
        self._first_loss = 0.0
        self._last_answer = 0.0
        self._away = False
        self._ended = False

    def last_until(self, task: "asyncio.Task[Any]") -> None:
        """Once the task has ended, an error is an error: a worker that stops does not wait for Redis."""
        self._ended = False
        task.add_done_callback(self._end)

    def _end(self, _: object) -> None:
        self._ended = True

    async def ride_out(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """The attempt's answer, at the latest a second after Redis is back."""
        for delay in _delays():
            begin = time.monotonic()
            try:
                answer = await attempt()
            except OUTAGES as error:
                if self._ended or self._is_hopeless(error):
                    raise
                # What was sent before another command's answer came is no news.
                if begin > self._last_answer:
                    self._note_loss(error)
                await self._sleep(delay)
            else:
                self._note_return()
                return answer
        raise AssertionError("delays do not end")

    async def _sleep(self, delay: float) -> None:
        try:
            await asyncio.sleep(delay)
        except asyncio.CancelledError:
            # Nothing runs before the first answer, so this can only be the order to stop.
            self._ended = self._ended or not self._last_answer
            raise

    def _is_hopeless(self, error: RedisError) -> bool:
        if self._last_answer:
            return False
        self._first_loss = self._first_loss or time.monotonic()
        return isinstance(error, AuthenticationError) or time.monotonic() - self._first_loss >= self._start_seconds

    def _note_loss(self, error: RedisError) -> None:
        if not self._away:
            self._away = True
            logger.warning("the queue is away, waiting for it: %r", error)

    def _note_return(self) -> None:
        self._last_answer = time.monotonic()
        if self._away:
            self._away = False
            logger.warning("the queue is back")


class PatientPipeline(Pipeline):
    """A transaction that is repeated after an outage, or given up where it depends on what was read before.

    arq claims a task by such a watched transaction: given up, the task looks as if another worker had it, and the next
    round finds it again.
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
            except (WatchError, *OUTAGES):
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
        except OUTAGES as error:
            raise WatchError("the connection broke while it watched") from error


class PatientQueue(JobQueue):
    """The queue as a worker needs it; its commands end when Redis has answered."""

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
