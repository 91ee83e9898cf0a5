"""Entries in Redis: read, and filled by one request at a time."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from redis.exceptions import NoScriptError, RedisError

from app.core.cache import scripts
from app.core.cache.buckets import Buckets
from app.core.cache.entries import Entry, EntryKey, writes_key
from app.core.cache.epoch import EpochLease
from app.core.cache.keys import scopes
from app.core.cache.targets import Targets
from app.core.cache.writes import Release, Writes
from app.core.redis import Argument, Connection

logger = logging.getLogger(__name__)

FILL_SECONDS = 2.0
"""How long one request may take to fill an entry, and others wait for it."""
POLL_SECONDS = 0.01
MAX_POLL_SECONDS = 0.1
MAX_STORED_BYTES = 1024 * 1024
WARN_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Fill:
    """The right to fill one entry, until a write invalidates it."""

    key: EntryKey
    epoch: bytes
    token: str
    stamp: bytes


async def _nothing() -> None:
    pass


class ResponseCache:
    """One process's side of the cache; see `app.core.cache` for its guarantees."""

    def __init__(self, redis: Connection, lease: EpochLease, statement_timeout: float) -> None:
        """`statement_timeout` (the database's, in seconds) bounds how late a killed process's change is committed."""
        self.redis = redis
        self._lease = lease
        self._next_warning = 0.0
        self._buckets = Buckets(redis)
        self._read = redis.script(scripts.READ_IN_CLUSTER)
        self._writes = Writes(redis, lease, statement_timeout)
        self._begin_fill = redis.script(scripts.BEGIN_FILL)
        self._finish_fill = redis.script(scripts.FINISH_FILL)
        self._give_up_fill = redis.script(scripts.GIVE_UP_FILL)

    def key(self, text: str) -> EntryKey:
        """Where the entry of this name is."""
        if not self._buckets.is_cluster:
            return EntryKey(text)
        return EntryKey(text, self._buckets.one(text), ("EVALSHA", self._read.digest, 3))

    async def peek(self, key: EntryKey) -> Entry | None:
        """The entry, if it is there and may be served without waiting for anything but one reply of Redis."""
        epoch = self._lease.current()
        if epoch is None:
            return None
        try:
            reply = await self.redis.execute(*key.command)
        except RedisError:
            return None
        return key.entry(self._of_server(epoch), reply)

    async def find(self, key: EntryKey) -> Entry | Fill | None:
        """The entry, or the right to fill it; None if the endpoint should run without the cache.

        Waits while another request fills the entry, but never for longer than `FILL_SECONDS`.
        """
        epoch = None if self.redis.breaker.is_open else await self._lease.epoch()
        if epoch is None:
            return None
        try:
            reply = await self._fetch(key)
            return key.entry(self._of_server(epoch), reply) or await self._wait_or_fill(key, epoch)
        except RedisError:
            return None

    async def _fetch(self, key: EntryKey) -> Any:
        try:
            return await self.redis.execute(*key.command)
        except NoScriptError:  # `peek` misses until each server of a Cluster has it
            return await self._read((key.redis_keys[0], *key.redis_keys[2:]))

    def _of_server(self, epoch: bytes) -> bytes:
        """The epoch of entries: what a failover by Sentinel leaves of an earlier server's is not served.

        To be called after the reply of the server, which may have been another one before.
        """
        history = self.redis.history
        return b"%b@%b" % (epoch, history) if history else epoch

    async def _wait_or_fill(self, key: EntryKey, epoch: bytes) -> Entry | Fill | None:
        token = uuid4().hex
        announcements = [key.bucket + writes_key(each, scope) for scope in scopes(key.text) for each in (epoch, None)]
        keys = [*key.redis_keys, *announcements]
        of_server = self._of_server(epoch)
        # In a Cluster each server completes it.
        stored_epoch = of_server + b"@" if self._buckets.is_cluster else of_server
        arguments: list[Argument] = [token, int(FILL_SECONDS * 1000), stored_epoch]
        pause, waited = POLL_SECONDS, 0.0
        while waited <= FILL_SECONDS:
            verdict, *details = await self._begin_fill(keys, arguments)
            if of_server != self._of_server(epoch):
                return None
            if verdict == b"hit":
                stamp, stored = details
                return Entry.unpack(stored, len(stamp))
            if verdict != b"wait":
                return Fill(key, stored_epoch, token, details[0]) if verdict == b"fill" else None
            await asyncio.sleep(pause)
            waited, pause = waited + pause, min(pause * 1.5, MAX_POLL_SECONDS)
        return None

    async def store(self, fill: Fill, entry: Entry, expiration: int) -> bool:
        """Whether it is stored; it is not if a write came in between."""
        if len(entry.body) > MAX_STORED_BYTES:
            await self.give_up(fill)
            return False
        value = entry.pack(fill.stamp)
        arguments: list[Argument] = [fill.token, fill.stamp, fill.epoch, value, expiration * 1000]
        try:
            return bool(await self._finish_fill(fill.key.redis_keys, arguments))
        except RedisError as error:
            self._warn_of_lost_entries(error)
            return False

    async def give_up(self, fill: Fill) -> None:
        try:
            await self._give_up_fill(fill.key.redis_keys[1:2], [fill.token, fill.stamp])
        except RedisError as error:
            self._warn_of_lost_entries(error)

    def _warn_of_lost_entries(self, error: RedisError) -> None:
        """Once in `WARN_SECONDS`: while Redis is full or unavailable, each miss is one."""
        now = time.monotonic()
        if now >= self._next_warning:
            self._next_warning = now + WARN_SECONDS
            logger.warning("responses are not stored in the cache: %r", error)

    def write(self, targets: Targets, release: Release = _nothing) -> AbstractAsyncContextManager[None]:
        """Surrounds what commits a change; when it is left, in whatever way, nothing old is served any more.

        Without Redis that takes `LEASE_SECONDS`; `release` is called before them.
        """
        return self._writes.surround(targets, release)

    async def close(self) -> None:
        """Waits for the invalidations under way."""
        await self._writes.close()


@asynccontextmanager
async def open_response_cache(
    redis: Connection, lease: EpochLease, statement_timeout: float
) -> AsyncIterator[ResponseCache]:
    cache = ResponseCache(redis, lease, statement_timeout)
    try:
        yield cache
    finally:
        await cache.close()
