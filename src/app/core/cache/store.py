"""Entries in Redis: read, filled by one request at a time, and invalidated around writes."""

import asyncio
import json
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any
from uuid import uuid4

from redis.asyncio import Redis

from app.core.cache import scripts
from app.core.cache.breaker import CacheUnavailableError, Circuit
from app.core.cache.epoch import LEASE_SECONDS, EpochLease
from app.core.cache.keys import KeyPattern, scopes

logger = logging.getLogger(__name__)

FILL_MS = 2_000
"""How long one request may take to fill an entry, and others wait for it."""
WRITE_MS = 30_000
"""How long a write that was never ended (its process died) keeps entries from being filled."""
POLL_SECONDS = 0.01
MAX_POLL_SECONDS = 0.1
JITTER = 0.1
MAX_STORED_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Entry:
    """An answer as it is sent."""

    body: bytes
    media_type: str
    etag: str

    @classmethod
    def of(cls, body: bytes, media_type: str) -> "Entry":
        return cls(body, media_type, f'"{sha256(body).hexdigest()[:32]}"')


@dataclass(frozen=True, slots=True)
class Fill:
    """The right to fill one entry, until somebody invalidates it."""

    key: str
    tag: bytes
    token: str


@dataclass(frozen=True, slots=True)
class Targets:
    """What a write invalidates."""

    keys: frozenset[str]
    patterns: frozenset[KeyPattern]


def _tag(epoch: str) -> bytes:
    return f"{epoch} ".encode()


def _pack(tag: bytes, entry: Entry) -> bytes:
    return tag + json.dumps([entry.etag, entry.media_type]).encode() + b"\n" + entry.body


def _unpack(tag: bytes, stored: bytes | None) -> Entry | None:
    if stored is None or not stored.startswith(tag):
        return None
    head, _, body = stored[len(tag) :].partition(b"\n")
    etag, media_type = json.loads(head)
    return Entry(body, media_type, etag)


class AnswerCache:
    """One process's side of the cache; see `app.core.utils.cache` for what it guarantees and why."""

    def __init__(self, redis: Redis, lease: EpochLease) -> None:
        self._redis = redis
        self._circuit = Circuit(redis)
        self._lease = lease
        self._begin_fill = redis.register_script(scripts.BEGIN_FILL)
        self._finish_fill = redis.register_script(scripts.FINISH_FILL)
        self._give_up_fill = redis.register_script(scripts.GIVE_UP_FILL)
        self._invalidate = redis.register_script(scripts.INVALIDATE)
        self._ends: set[asyncio.Task[None]] = set()

    async def find(self, key: str) -> Entry | Fill | None:
        """The entry, or the right to fill it; None if the endpoint shall just run.

        Waits while another request fills the entry, but never for longer than `FILL_MS`.
        """
        epoch = None if self._circuit.is_open else await self._lease.epoch()
        if epoch is None:
            return None
        tag = _tag(epoch)
        try:
            found = _unpack(tag, await self._circuit.run(self._redis.get(key)))
            return found or await self._wait_or_fill(key, tag, epoch)
        except CacheUnavailableError:
            return None

    async def _wait_or_fill(self, key: str, tag: bytes, epoch: str) -> Entry | Fill | None:
        fill = Fill(key, tag, uuid4().hex)
        arguments: list[str | bytes | int] = [tag, fill.token, FILL_MS, epoch, *scopes(key)]
        pause, waited = POLL_SECONDS, 0.0
        while waited <= FILL_MS / 1000:
            verdict, *stored = await self._circuit.run(self._begin_fill(keys=[key], args=arguments))
            if verdict == b"hit":
                return _unpack(tag, stored[0])
            if verdict != b"wait":
                return fill if verdict == b"fill" else None
            await asyncio.sleep(pause)
            waited, pause = waited + pause, min(pause * 1.5, MAX_POLL_SECONDS)
        return None

    async def store(self, fill: Fill, entry: Entry, expiration: int) -> None:
        """Without effect if a write came between."""
        if len(entry.body) > MAX_STORED_BYTES:
            return await self.give_up(fill)
        milliseconds = max(1, int(expiration * 1000 * (1 - random.uniform(0, JITTER))))  # noqa: S311 - no secret
        arguments: list[str | bytes | int] = [fill.token, _pack(fill.tag, entry), milliseconds]
        await self._try(self._finish_fill(keys=[fill.key], args=arguments))
        return None

    async def give_up(self, fill: Fill) -> None:
        await self._try(self._give_up_fill(keys=[fill.key], args=[fill.token]))

    @asynccontextmanager
    async def write(self, targets: Targets) -> AsyncIterator[None]:
        """Surrounds what commits a change; when it is left, in whatever way, nothing old is served any more."""
        token = uuid4().hex
        epoch = await self._lease.epoch() or ""
        announced = await self._deliver(targets, token, epoch, WRITE_MS)
        if not announced:
            await self._lease.move()
        try:
            yield
        finally:
            await self._finish(self._end(targets, token, epoch, announced))

    async def _end(self, targets: Targets, token: str, epoch: str, announced: bool) -> None:
        delivered = await self._deliver(targets, token, epoch, 0)
        if not (announced and delivered):
            await self._lease.move()
            await asyncio.sleep(LEASE_SECONDS)

    async def _finish(self, end: Coroutine[Any, Any, None]) -> None:
        # A client that goes away cancels its request, but not this.
        task = asyncio.create_task(end)
        self._ends.add(task)
        task.add_done_callback(self._ends.discard)
        await asyncio.shield(task)

    async def _deliver(self, targets: Targets, token: str, epoch: str, barrier: int) -> bool:
        plan = {
            "keys": sorted(targets.keys),
            "patterns": [asdict(pattern) for pattern in targets.patterns],
            "scopes": sorted(targets.keys | {pattern.scope for pattern in targets.patterns}),
            "token": token,
            "epoch": epoch,
            "barrier": barrier,
        }
        return await self._try(self._invalidate(keys=[], args=[json.dumps(plan)]))

    async def _try(self, command: Awaitable[Any]) -> bool:
        if self._circuit.is_open:
            # Registered scripts are coroutines, which want to be closed when nobody awaits them.
            if isinstance(command, Coroutine):
                command.close()
            return False
        try:
            await self._circuit.run(command)
        except CacheUnavailableError as error:
            logger.warning("a command of the cache failed: %s", error)
            return False
        return True

    async def close(self) -> None:
        """Ends what runs in the background, after the invalidations under way."""
        await asyncio.gather(*self._ends, return_exceptions=True)
        await self._circuit.close()
        await self._lease.close()


@asynccontextmanager
async def open_answer_cache(redis: Redis, lease: EpochLease) -> AsyncIterator[AnswerCache]:
    cache = AnswerCache(redis, lease)
    try:
        yield cache
    finally:
        await cache.close()
