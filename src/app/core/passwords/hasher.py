"""Hashing on separate threads; `app.core.security` has the algorithm."""

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TypeVar

from app.core.config import CryptSettings
from app.core.cores import available_cores
from app.core.passwords.fair_queue import FairQueue
from app.core.security import get_password_hash, unmatchable_hash, verify_password

HASHING_NICENESS = 10
"""The hashing threads use the CPU time that the event loop leaves (`man 2 setpriority`)."""

R = TypeVar("R")


class PasswordHasher:
    """Hashes and checks passwords in turns; `app.core.passwords` describes how they are shared.

    `client` is what shares one lane, such as an address; `until_left` ends when the client has left.
    """

    def __init__(self, pool: ThreadPoolExecutor, queue: FairQueue, rounds: int) -> None:
        self._pool = pool
        self._queue = queue
        self._rounds = rounds
        self._hash_of_nobody = unmatchable_hash(rounds)

    async def hash(self, password: str, client: str = "", until_left: Awaitable[object] | None = None) -> str:
        return await self._run(f"hash:{client}", until_left, lambda: get_password_hash(password, self._rounds))

    async def verify(
        self,
        password: str,
        hashed_password: str | None,
        client: str = "",
        until_left: Awaitable[object] | None = None,
    ) -> bool:
        """Whether the password is right; None (no such user) takes as long and is never right."""
        hashed = hashed_password or self._hash_of_nobody
        matches = await self._run(f"verify:{client}", until_left, lambda: verify_password(password, hashed))
        return matches and hashed_password is not None

    async def _run(self, lane: str, until_left: Awaitable[object] | None, work: Callable[[], R]) -> R:
        async with self._queue.turn(lane, until_left):
            # A caller that is cancelled does not give the thread back before it has ended.
            running = asyncio.get_running_loop().run_in_executor(self._pool, work)
            try:
                return await asyncio.shield(running)
            except asyncio.CancelledError:
                await asyncio.wait({running})
                raise


def _lower_priority() -> None:
    # Only on Linux has each thread its own priority; elsewhere the number might be that of another process.
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), HASHING_NICENESS)


@asynccontextmanager
async def open_password_hasher(settings: CryptSettings) -> AsyncIterator[PasswordHasher]:
    """A hasher whose threads end with it."""
    threads = available_cores()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="bcrypt", initializer=_lower_priority)
    try:
        yield PasswordHasher(pool, FairQueue(threads), settings.PASSWORD_HASH_ROUNDS)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
