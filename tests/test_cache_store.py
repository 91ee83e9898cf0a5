"""Entries, drops and writes against a real Redis, without an application: what is dropped, when, and at which cost."""

import asyncio
import random
import re
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from redis.exceptions import RedisError

from app.core.cache import epoch, writes
from app.core.cache.buckets import Buckets
from app.core.cache.entries import ALL, Entry, EntryKey, generation_key
from app.core.cache.epoch import LEASE_SECONDS, EpochLease
from app.core.cache.keys import KeyPattern, Template, scopes
from app.core.cache.scripts import INVALIDATE
from app.core.cache.store import MAX_STORED_BYTES, Fill, ResponseCache, open_response_cache
from app.core.cache.targets import Targets
from app.core.cache.writes import RENEW_SECONDS, announcement_seconds
from app.core.config import Settings
from app.core.redis import Connection
from app.core.utils.cache import open_cache_connection
from dev.services import ValkeyServer, temporary_folder
from tests.conftest import Services
from tests.support.readme import ROOT

ENTRY = Entry.of(b"a response", "text/plain")
DEFAULT_STATEMENT_TIMEOUT: int = Settings.model_fields["DATABASE_STATEMENT_TIMEOUT_SECONDS"].default
STATEMENT_TIMEOUT = DEFAULT_STATEMENT_TIMEOUT


class FixedLease(EpochLease):
    """A lease whose epoch the test sets, and which counts its moves."""

    def __init__(self, epoch: bytes | None = b"1") -> None:
        super().__init__(None)
        self.fixed = epoch
        self.moves = 0
        self.error: Exception | None = None

    def current(self) -> bytes | None:
        return self.fixed

    async def epoch(self) -> bytes | None:
        return self.fixed

    async def move(self) -> None:
        if self.error:
            raise self.error
        self.moves += 1


@dataclass
class Stage:
    redis: Connection
    lease: FixedLease
    cache: ResponseCache

    async def fill(self, name: str, expiration: int = 3600, entry: Entry = ENTRY) -> None:
        found = await self.cache.find(EntryKey(name))
        assert isinstance(found, Fill), (name, found)
        await self.cache.store(found, entry, expiration)

    async def has(self, name: str) -> bool:
        return await self.cache.peek(EntryKey(name)) is not None

    async def drop(self, *patterns: str) -> None:
        async with self.cache.write(targets(*patterns)):
            pass


def targets(*patterns: str) -> Targets:
    return Targets.of([], map(KeyPattern, patterns))


@pytest.fixture
async def stage(settings: Settings, anyio_backend: str) -> AsyncIterator[Stage]:
    async with open_cache_connection(settings) as redis:
        await redis.execute("FLUSHALL")
        lease = FixedLease()
        async with open_response_cache(redis, lease, STATEMENT_TIMEOUT) as cache:
            yield Stage(redis, lease, cache)


class TestEntries:
    async def test_an_entry_lives_exactly_its_expiration(self, stage: Stage) -> None:
        for number in range(50):
            await stage.fill(f"data:{number}", expiration=100)
            assert 99_500 < await stage.redis.execute("PTTL", f"data:{number}") <= 100_000

    async def test_generations_live_as_long_as_their_entries(self, stage: Stage) -> None:
        for number, expiration in enumerate([60, 3600, 10]):
            await stage.fill(f"data:{number}", expiration)
        entry_ends = await stage.redis.execute("PEXPIRETIME", "data:1")
        for generation in (generation_key("data"), ALL):
            assert await stage.redis.execute("PEXPIRETIME", generation) >= entry_ends

    @pytest.mark.parametrize("generation", [generation_key("data"), ALL])
    async def test_an_evicted_generation_takes_its_entries(self, stage: Stage, generation: str) -> None:
        await stage.fill("data:1")
        await stage.redis.execute("DEL", generation)
        assert not await stage.has("data:1")
        await stage.fill("data:2")
        assert not await stage.has("data:1"), "names of generations must not return"
        assert await stage.has("data:2")

    async def test_an_entry_of_another_epoch_is_not_served(self, stage: Stage) -> None:
        await stage.fill("data:1")
        stage.lease.fixed = b"2"
        assert not await stage.has("data:1")

    async def test_nothing_is_served_without_an_epoch(self, stage: Stage) -> None:
        await stage.fill("data:1")
        stage.lease.fixed = None
        assert not await stage.has("data:1")
        assert await stage.cache.find(EntryKey("data:1")) is None

    async def test_a_large_response_is_not_stored(self, stage: Stage) -> None:
        for size, is_stored in ((MAX_STORED_BYTES, True), (MAX_STORED_BYTES + 1, False)):
            await stage.fill(f"data:{size}", entry=Entry.of(b"x" * size, "text/plain"))
            assert await stage.has(f"data:{size}") == is_stored

    @pytest.mark.parametrize("body", [b"", b"\n", b"a\nb \xff\x00"])
    async def test_bytes_are_kept(self, stage: Stage, body: bytes) -> None:
        entry = Entry.of(body, 'text/plain; charset="utf-8"')
        await stage.fill("data:1", entry=entry)
        assert await stage.cache.peek(EntryKey("data:1")) == entry


def _as_regex(glob: str) -> re.Pattern[str]:
    parts = {"*": ".*", "?": ".", "[ab]": "[ab]", "[^a]": "[^a]"}
    return re.compile("".join(parts.get(part) or re.escape(part) for part in re.findall(r"\[.*?\]|.", glob)))


class TestDrops:
    @pytest.mark.parametrize("seed", range(4))
    async def test_a_drop_deletes_only_matching_entries(self, stage: Stage, seed: int) -> None:
        """Fills and drops in any order, compared with a model that uses only globs."""
        chance = random.Random(seed)
        middles = ("1", "2", "a:1")
        keys = [f"{family}:{middle}{end}" for family in ("a", "b", "ab") for middle in middles for end in ("", "x")]
        globs = ["a:*", "b:*", "a*", "*", "*:1", "a:1*", "a:?", "?:a:*", "a:[ab]:*", "b:[^a]*", "a:a:1", "ab:2x", "*x"]
        present: set[str] = set()
        for _ in range(150):
            for key in chance.sample(keys, 4):
                if key not in present:
                    await stage.fill(key)
                    present.add(key)
            dropped = chance.sample(globs, chance.choice([1, 1, 2]))
            if chance.random() < 0.5:
                await stage.drop(*dropped)
                present -= {key for key in present if any(_as_regex(glob).fullmatch(key) for glob in dropped)}
            for key in keys:
                assert await stage.has(key) == (key in present), (key, dropped)

    async def test_notes_of_patterns_are_bounded(self, stage: Stage) -> None:
        await stage.fill("data:kept")
        longest = 0
        for number in range(400):
            await stage.drop(f"data:other-{number}*")
            longest = max(longest, await stage.redis.execute("STRLEN", generation_key("data")))
        assert longest < 5000
        assert not await stage.has("data:kept"), "beyond the bound the family is dropped"

    async def test_a_drop_costs_the_same_however_many_entries_match(self, stage: Stage) -> None:
        """Deleting 100,000 entries takes Redis tens of milliseconds; a drop deletes one name."""
        found = await stage.cache.find(EntryKey("data:0"))
        assert isinstance(found, Fill)
        await stage.cache.store(found, ENTRY, 3600)
        for start in range(0, 100_000, 10_000):
            names = (f"data:{number}" for number in range(start, start + 10_000))
            await stage.redis.execute("MSET", *(part for name in names for part in (name, ENTRY.pack(found.stamp))))
        assert await stage.has("data:99999")
        await stage.drop("warm:*")
        await stage.redis.execute("CONFIG", "RESETSTAT")
        await stage.drop("data:*")
        statistics = (await stage.redis.execute("INFO", "commandstats")).decode()
        assert not await stage.has("data:99999")
        assert await stage.redis.execute("DBSIZE") >= 100_000
        microseconds = sum(map(float, re.findall(r"cmdstat_evalsha:.*?usec=(\d+)", statistics)))
        assert 0 < microseconds < 5_000

    async def test_values_mean_nothing_in_patterns(self, stage: Stage) -> None:
        pattern = Template("data:{value}*")
        await stage.fill("data:kept")
        for value in ("*", "?", "[a-z]", "\\*", "kep?", "%2A"):
            await stage.drop(pattern.render({"value": value}) or "")
        assert await stage.has("data:kept")

    def test_values_cannot_name_the_caches_own_keys(self) -> None:
        assert Template("{value}:1").render({"value": "_cache"}) == "%5Fcache:1"
        assert Template("{value}:1").render({"value": "_cache:lock"}) == "%5Fcache%3Alock:1"


class TestFills:
    @pytest.mark.parametrize("pattern", ["data:*", "data:1", "data:?", "*", "d*", "*:1"])
    async def test_a_fill_that_overlaps_a_drop_stores_nothing(self, stage: Stage, pattern: str) -> None:
        """Whatever kind of drop it is, and whether it ends before the fill or after it."""
        key = EntryKey("data:1")
        for ends_first in (True, False):
            found = await stage.cache.find(key)
            assert isinstance(found, Fill)
            async with stage.cache.write(targets(pattern)):
                if not ends_first:
                    await stage.cache.store(found, ENTRY, 3600)
                assert await stage.cache.find(key) is None, "nothing is filled during a write"
            if ends_first:
                await stage.cache.store(found, ENTRY, 3600)
            assert not await stage.has("data:1")

    @pytest.mark.parametrize("pattern", ["data:*", "data:1", "data:?"])
    async def test_a_fill_that_began_before_a_drop_delays_no_other_fill(self, stage: Stage, pattern: str) -> None:
        key = EntryKey("data:1")
        assert isinstance(await stage.cache.find(key), Fill)
        await stage.drop(pattern)
        began = time.monotonic()
        assert isinstance(await stage.cache.find(key), Fill)
        assert time.monotonic() - began < 0.5

    async def test_a_repeated_command_keeps_the_right_to_fill(self, stage: Stage) -> None:
        """The connection sends a command again when it was lost, and Redis may have run it before."""
        keys = ["data:1", "_cache:lock:data:1", generation_key("data"), ALL]
        verdicts = [(await stage.cache._begin_fill(keys, ["token", 2000, b"1"]))[0] for _ in range(2)]
        assert verdicts == [b"fill", b"fill"]


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> float:
    """Announcements in tenths of seconds: how long one lasts."""
    monkeypatch.setattr(writes, "RENEW_SECONDS", 0.1)
    monkeypatch.setattr(writes, "SLACK_SECONDS", 0.1)
    return announcement_seconds(0.2)


class TestWrites:
    async def test_a_write_longer_than_its_announcement_leaves_no_old_entry(self, stage: Stage, short: float) -> None:
        """Others may not fill for as long as it runs, and its end drops what there is."""
        async with open_response_cache(stage.redis, stage.lease, 0.2) as cache:
            async with cache.write(targets("data:*")):
                end = time.monotonic() + 3 * short
                while time.monotonic() < end:
                    assert await stage.cache.find(EntryKey("data:1")) is None
                    await asyncio.sleep(0.02)
            assert isinstance(await stage.cache.find(EntryKey("data:1")), Fill)

    async def test_the_announcement_of_a_crashed_process_outlives_its_last_statement(
        self, stage: Stage, short: float
    ) -> None:
        """The database may still be busy with it for `statement_timeout`; until then nothing is filled."""
        write = writes._Write(
            stage.redis.script(INVALIDATE), stage.lease, targets("data:*"), short, Buckets(stage.redis)
        )
        await write.begin()
        await asyncio.sleep(2 * writes.RENEW_SECONDS)
        write.stop()
        died_at = time.monotonic()
        while await stage.cache.find(EntryKey("data:1")) is None:
            assert time.monotonic() - died_at < 5
        assert 0.2 <= time.monotonic() - died_at <= short + 0.2

    @pytest.mark.parametrize("statement_timeout", [1, DEFAULT_STATEMENT_TIMEOUT, 300, 0])
    def test_announcements_outlive_statements(self, statement_timeout: int) -> None:
        longest = statement_timeout or 3600
        assert announcement_seconds(statement_timeout) > longest + RENEW_SECONDS

    async def test_a_write_without_an_epoch_binds_every_epoch(self, stage: Stage) -> None:
        """It cannot read the epoch; processes that can wait for its end nevertheless."""
        lease = FixedLease(None)
        cache = ResponseCache(stage.redis, lease, STATEMENT_TIMEOUT)
        async with cache.write(targets("data:*")):
            assert await stage.cache.find(EntryKey("data:1")) is None
        assert lease.moves == 0

    async def test_an_announcement_is_not_left_by_a_cancelled_write(self, stage: Stage) -> None:
        """Also if the client leaves while the announcement is on its way."""
        for delay in (0, 0.0005, 0.002, 0.01):
            write = asyncio.create_task(self._write(stage))
            await asyncio.sleep(delay)
            write.cancel()
            with pytest.raises(asyncio.CancelledError):
                await write
            await stage.cache._writes.close()
            stage.cache._writes._is_closing = False
            assert await stage.redis.execute("KEYS", "_cache:writes:*") == []
        assert stage.lease.moves == 0

    async def _write(self, stage: Stage) -> None:
        async with stage.cache.write(targets("data:*")):
            await asyncio.sleep(10)

    async def test_an_unconfirmed_end_of_a_write_is_repeated(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Neither Redis nor the database is available at the end: the caller gets the error, the drop follows later."""
        monkeypatch.setattr(writes, "RETRY_SECONDS", 0.05)
        await stage.fill("data:1")
        run, fails = stage.cache._writes._invalidate, False

        async def invalidate(*arguments: object) -> object:
            if fails:
                raise RedisError("gone")
            return await run(*arguments)  # type: ignore[arg-type] # passed on as it came

        monkeypatch.setattr(stage.cache._writes, "_invalidate", invalidate)
        stage.lease.error = OSError("gone")
        with pytest.raises(OSError, match="gone"):
            async with stage.cache.write(targets("data:*")):
                fails = True
        found = await stage.redis.execute("KEYS", "_cache:writes:*")
        assert len(found) == 1
        fails = False
        await asyncio.sleep(0.3)
        assert await stage.redis.execute("KEYS", "_cache:writes:*") == []

    async def test_a_write_waits_out_the_lease_only_if_redis_does_not_confirm(self, stage: Stage) -> None:
        began = time.monotonic()
        await stage.drop("data:*")
        assert time.monotonic() - began < LEASE_SECONDS / 2
        await stage.redis.close()
        began = time.monotonic()
        await stage.drop("data:*")
        assert time.monotonic() - began >= LEASE_SECONDS
        assert stage.lease.moves == 2


class TestFullRedis:
    @pytest.fixture
    async def small(self, services: Services, anyio_backend: str) -> AsyncIterator[Stage]:
        with temporary_folder() as folder, ValkeyServer(folder / "valkey") as valkey:
            settings = services.settings(
                REDIS_CACHE_HOST=valkey.host, REDIS_CACHE_PORT=valkey.port, REDIS_CACHE_PASSWORD=""
            )
            async with open_cache_connection(settings) as redis:
                await redis.execute("CONFIG", "SET", "maxmemory", "12mb")
                lease = FixedLease()
                async with open_response_cache(redis, lease, STATEMENT_TIMEOUT) as cache:
                    yield Stage(redis, lease, cache)

    async def _flood(self, small: Stage, count: int) -> None:
        entry = Entry.of(b"x" * 4096, "text/plain")
        for number in range(count):
            found = await small.cache.find(EntryKey(f"data:{number}"))
            if isinstance(found, Fill):
                await small.cache.store(found, entry, 3600)

    async def _evicted(self, small: Stage) -> int:
        found = re.search(rb"evicted_keys:(\d+)", await small.redis.execute("INFO", "stats"))
        assert found
        return int(found[1])

    @pytest.mark.parametrize("policy", ["volatile-lru", "volatile-ttl", "allkeys-random"])
    async def test_a_flood_of_entries_is_evicted_and_drops_hold(self, small: Stage, policy: str) -> None:
        await small.redis.execute("CONFIG", "SET", "maxmemory-policy", policy)
        await self._flood(small, 4000)
        assert await self._evicted(small) > 500
        await small.drop("data:*")
        assert not any([await small.has(f"data:{number}") for number in range(4000)])
        await small.fill("data:new")
        assert await small.has("data:new")
        assert small.lease.moves == 0

    async def test_a_full_redis_that_evicts_nothing_stores_nothing_more_and_drops(self, small: Stage) -> None:
        await small.redis.execute("CONFIG", "SET", "maxmemory-policy", "noeviction")
        await self._flood(small, 4000)
        used = re.search(rb"used_memory:(\d+)", await small.redis.execute("INFO", "memory"))
        assert used
        assert int(used[1]) < 13 * 1024 * 1024
        stored = [number for number in range(4000) if await small.has(f"data:{number}")]
        assert 500 < len(stored) < 3500
        assert not small.redis.breaker.is_open
        await small.drop("data:*", "other:a*")
        assert not any([await small.has(f"data:{number}") for number in stored])
        assert small.lease.moves == 0


def test_scopes_are_where_writes_announce_themselves() -> None:
    """Each pattern's scope is among those of each key that it matches."""
    for key in ("a:1", "a:b:1", "ab:1"):
        for glob in ("a:*", "a:b:*", "*", "a*", "a:1", "a:b:1", "*:1", "a:?*", "ab:1"):
            pattern = KeyPattern(glob)
            if pattern.matches(key):
                assert targets(glob).scopes <= set(scopes(key)), (glob, key)


def test_a_lease_leaves_time_for_a_second_try() -> None:
    """A request that waits for a renewal waits less than what is left; the README says how long a write waits."""
    assert epoch.RENEW_SECONDS + epoch.PATIENCE_SECONDS < LEASE_SECONDS
    assert LEASE_SECONDS == 1
    assert "A write takes one second longer until Redis is back." in (ROOT / "README.md").read_text()
