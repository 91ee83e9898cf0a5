"""The pipelining connection to Redis, on asyncio's event loop and on uvloop."""

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import quote

import pytest
from redis.exceptions import BusyLoadingError, OutOfMemoryError, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from app.core.redis import (
    PROBE_SECONDS,
    RedisBusyError,
    RedisConnection,
    RedisUnavailableError,
    open_connection,
    stream,
)
from app.core.settings.redis_url import parse_redis_url, redis_url
from dev.services import ValkeyServer, temporary_folder
from tests.support.busy_loop import block_the_loop, busy_loop
from tests.support.tcp import LOOPBACK_CERTIFICATE, loopback_tls, proxy

TIMEOUT = 0.3
PASSWORD = "p@ss/word #with? %20 'everything\" ü"
RECOVERY = 2 * PROBE_SECONDS + TIMEOUT


@pytest.fixture(scope="module", params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": request.param}


@pytest.fixture(scope="module")
def valkey() -> Iterator[ValkeyServer]:
    """A server that these tests may kill."""
    with temporary_folder() as folder, ValkeyServer(folder / "valkey", password=PASSWORD) as server:
        yield server


def url(server: ValkeyServer, database: int = 0, port: int | None = None, tls: bool = False) -> str:
    return redis_url("127.0.0.1", port or server.port, server.password, database, tls)


@pytest.fixture
async def redis(valkey: ValkeyServer) -> AsyncIterator[RedisConnection]:
    async with open_connection(url(valkey), name="test", timeout_seconds=TIMEOUT) as connection:
        await connection.execute("FLUSHALL")
        yield connection


async def outcome(connection: RedisConnection, *command: str) -> Any:
    try:
        return await connection.execute(*command)
    except RedisError as error:
        return error


async def test_each_of_many_callers_gets_its_own_reply(redis: RedisConnection) -> None:
    chance = random.Random(1)
    texts = [str(number) * chance.randrange(1, 2000) for number in range(2000)]
    replies = await asyncio.gather(*(redis.execute("ECHO", text) for text in texts))
    assert replies == [text.encode() for text in texts]


async def test_a_pipelined_command_takes_effect_before_the_next(redis: RedisConnection) -> None:
    replies = await asyncio.gather(*(redis.execute("INCR", "n") for _ in range(1000)))
    assert replies == list(range(1, 1001))


async def test_commands_of_one_turn_of_the_loop_are_sent_together(
    redis: RedisConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    flush, sent = stream.RedisStream._flush, []

    def count(self: stream.RedisStream) -> None:
        sent.append(len(self._unsent))
        flush(self)

    monkeypatch.setattr(stream.RedisStream, "_flush", count)
    await asyncio.gather(*(redis.execute("INCR", "n") for _ in range(100)))
    assert await redis.execute("INCR", "n") == 101
    assert sent == [100, 1]


async def test_a_connection_that_closes_before_it_has_sent_fails_its_commands(redis: RedisConnection) -> None:
    open_stream = redis._stream
    assert open_stream is not None
    reply = open_stream.call(b"*1\r\n$4\r\nPING\r\n")
    open_stream.close(RedisConnectionError("closed"))
    with pytest.raises(RedisConnectionError, match="closed"):
        await reply
    assert await redis.ping()


async def test_replies_to_cancelled_requests_are_discarded(redis: RedisConnection) -> None:
    chance = random.Random(2)
    tasks = [asyncio.create_task(redis.execute("ECHO", str(number))) for number in range(2000)]
    await asyncio.sleep(0)
    cancelled = {number for number in range(2000) if chance.random() < 0.3}
    for number in cancelled:
        tasks[number].cancel()
    replies = await asyncio.gather(*tasks, return_exceptions=True)
    for number, reply in enumerate(replies):
        if number in cancelled:
            assert isinstance(reply, asyncio.CancelledError)
        else:
            assert reply == str(number).encode()
    assert await redis.execute("ECHO", "next") == b"next"


async def test_very_large_values_pass_and_do_not_disturb_small_ones(redis: RedisConnection) -> None:
    large = random.Random(3).randbytes(20_000_000)
    assert await redis.execute("SET", "large", large) == b"OK"
    replies = await asyncio.gather(redis.execute("GET", "large"), *(redis.execute("ECHO", str(i)) for i in range(100)))
    assert replies == [large, *(str(i).encode() for i in range(100))]


async def test_a_script_is_sent_whole_only_to_a_server_that_does_not_have_it(redis: RedisConnection) -> None:
    script = redis.script("return {KEYS[1], ARGV[1], ARGV[2]}")
    for _ in range(2):
        await redis.execute("SCRIPT", "FLUSH")
        await redis.execute("CONFIG", "RESETSTAT")
        for _ in range(3):
            assert await script(["key"], ["ü", 7]) == [b"key", "ü".encode(), b"7"]
        statistics = await redis.execute("INFO", "commandstats")
        assert b"cmdstat_evalsha:calls=3" in statistics
        assert b"cmdstat_eval:calls=1" in statistics


async def test_error_replies_are_raised_and_leave_the_breaker_closed(redis: RedisConnection) -> None:
    await redis.execute("SET", "text", "x")
    broken = redis.script("return redis.error_reply('ODD \\255 bytes')")
    results = await asyncio.gather(
        outcome(redis, "LPUSH", "text", "x"), redis.execute("GET", "text"), broken(), return_exceptions=True
    )
    assert isinstance(results[0], ResponseError)
    assert str(results[0]).startswith("WRONGTYPE")
    assert results[1] == b"x"
    assert isinstance(results[2], ResponseError)
    assert not redis.breaker.is_open


async def test_a_full_server_raises_its_own_error(redis: RedisConnection) -> None:
    await redis.execute("CONFIG", "SET", "maxmemory", "1")
    try:
        assert isinstance(await outcome(redis, "SET", "key", "value"), OutOfMemoryError)
    finally:
        await redis.execute("CONFIG", "SET", "maxmemory", "0")
    assert not redis.breaker.is_open


@pytest.mark.parametrize("user", ["default", "reader"])
@pytest.mark.parametrize("password", ["simple", PASSWORD, "a:b@c/d?e#f%g h", "密码🔑", " leading and trailing "])
async def test_any_password_and_an_acl_user_log_in(valkey: ValkeyServer, user: str, password: str) -> None:
    async with open_connection(url(valkey), name="test", timeout_seconds=TIMEOUT) as admin:
        await admin.execute("ACL", "SETUSER", user, "on", "resetpass", f">{password}", "~*", "+@all")
        try:
            place = f"{user}:{quote(password, safe='')}@127.0.0.1:{valkey.port}/0"
            async with open_connection(f"redis://{place}", name="test", timeout_seconds=TIMEOUT) as redis:
                assert await redis.execute("ACL", "WHOAMI") == user.encode()
        finally:
            await admin.execute("ACL", "SETUSER", "default", "on", "resetpass", f">{PASSWORD}")


async def test_a_wrong_password_is_named_as_the_cause_but_not_shown(valkey: ValkeyServer) -> None:
    address = redis_url("127.0.0.1", valkey.port, "wrong-secret", 3, False)
    async with open_connection(address, name="test", timeout_seconds=TIMEOUT) as redis:
        with pytest.raises(RedisConnectionError, match="cannot log in: WRONGPASS") as raised:
            await redis.ping()
    assert "wrong-secret" not in repr(raised.value)


async def test_databases_are_apart(valkey: ValkeyServer, redis: RedisConnection) -> None:
    async with open_connection(url(valkey, database=5), name="test", timeout_seconds=TIMEOUT) as other:
        await other.execute("SET", "key", "five")
        await other.execute("CLIENT", "KILL", "ID", await other.execute("CLIENT", "ID"), "SKIPME", "no")
        assert await other.execute("GET", "key") == b"five"
        assert await redis.execute("GET", "key") is None


async def test_a_connection_that_the_server_closed_is_replaced_silently(
    redis: RedisConnection, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        await redis.execute("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no")
        replies = await asyncio.gather(*(redis.execute("ECHO", str(i)) for i in range(200)))
        assert replies == [str(i).encode() for i in range(200)]
    assert not redis.breaker.is_open
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_stopped_server_fails_commands_at_once_and_is_found_again(
    valkey: ValkeyServer, redis: RedisConnection, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await asyncio.to_thread(valkey.kill)
    try:
        begin = time.monotonic()
        results = [await outcome(redis, "PING") for _ in range(100)]
        assert time.monotonic() - begin < 2 * TIMEOUT
    finally:
        await asyncio.to_thread(valkey.start)
    assert all(isinstance(result, RedisConnectionError) for result in results)
    assert all(isinstance(result, RedisUnavailableError) for result in results[1:])
    await asyncio.sleep(RECOVERY)
    assert await redis.ping()
    ours = [message for message in caplog.messages if message.startswith("test (127.0.0.1:")]
    assert [message.split(") ")[1].split(",")[0] for message in ours] == ["is unavailable", "is available again"]


async def test_a_frozen_server_costs_the_timeout_once(valkey: ValkeyServer, redis: RedisConnection) -> None:
    await redis.ping()
    await asyncio.to_thread(valkey.pause)
    try:
        begin = time.monotonic()
        results = await asyncio.gather(*(outcome(redis, "ECHO", str(i)) for i in range(500)))
        first = time.monotonic() - begin
        later = [await outcome(redis, "PING") for _ in range(500)]
        waited = time.monotonic() - begin
    finally:
        await asyncio.to_thread(valkey.resume)
    assert all(isinstance(result, RedisTimeoutError) for result in results)
    assert len({id(result) for result in results}) == 500, "a shared exception would collect the frames of all callers"
    assert all(isinstance(result, RedisUnavailableError) for result in later)
    assert TIMEOUT * 0.8 <= first < 3 * TIMEOUT
    assert waited < 4 * TIMEOUT
    await asyncio.sleep(RECOVERY)
    replies = await asyncio.gather(*(redis.execute("ECHO", str(i)) for i in range(100)))
    assert replies == [str(i).encode() for i in range(100)], "late replies belong to the closed connection"


async def test_a_half_open_connection_is_given_up_and_replaced(valkey: ValkeyServer) -> None:
    async with (
        proxy(("127.0.0.1", valkey.port)) as way,
        open_connection(url(valkey, port=way.port), name="test", timeout_seconds=TIMEOUT) as redis,
    ):
        assert await redis.ping()
        way.is_open = False
        assert isinstance(await outcome(redis, "PING"), RedisTimeoutError)
        assert redis.breaker.is_open
        way.is_open = True
        await asyncio.sleep(RECOVERY)
        assert await redis.ping()
        assert way.connections == 2


@pytest.mark.parametrize("tls", [False, True])
async def test_a_server_that_accepts_but_never_replies_fails_within_the_timeout(
    valkey: ValkeyServer, tls: bool
) -> None:
    async with (
        proxy(("127.0.0.1", valkey.port)) as way,
        open_connection(url(valkey, port=way.port, tls=tls), name="test", timeout_seconds=TIMEOUT) as redis,
    ):
        way.is_open = False
        begin = time.monotonic()
        results = await asyncio.gather(*(outcome(redis, "PING") for _ in range(50)))
        assert time.monotonic() - begin < 3 * TIMEOUT
    assert all(isinstance(result, RedisConnectionError | RedisTimeoutError) for result in results)
    assert way.connections == 1


@pytest.mark.parametrize("is_connected", [True, False])
async def test_a_blocked_loop_is_no_outage(valkey: ValkeyServer, is_connected: bool) -> None:
    async with open_connection(url(valkey), name="test", timeout_seconds=TIMEOUT) as redis:
        before = await redis.execute("CLIENT", "ID") if is_connected else None
        waiting = [asyncio.create_task(redis.execute("ECHO", str(i))) for i in range(100)]
        await asyncio.sleep(0)
        block_the_loop(1)
        assert await asyncio.gather(*waiting) == [str(i).encode() for i in range(100)]
        assert not redis.breaker.is_open
        assert before is None or await redis.execute("CLIENT", "ID") == before


async def test_a_loop_that_is_blocked_before_it_has_sent_everything_is_no_outage(redis: RedisConnection) -> None:
    """The server cannot reply yet, so the time of the block must not count as its silence."""
    await redis.ping()
    setting = asyncio.create_task(redis.execute("SET", "key", "x" * 8_000_000))
    await asyncio.sleep(0)
    block_the_loop(2 * TIMEOUT)
    assert await setting == b"OK"
    assert not redis.breaker.is_open


async def test_a_loop_that_is_busy_for_long_is_no_outage(redis: RedisConnection) -> None:
    """Every turn takes longer than a tick of the watchdog, for many times the timeout."""
    before = await redis.execute("CLIENT", "ID")
    async with busy_loop(TIMEOUT / 3):
        for number in range(5):
            replies = await asyncio.gather(*(redis.execute("ECHO", f"{number}.{i}") for i in range(200)))
            assert replies == [f"{number}.{i}".encode() for i in range(200)]
    assert not redis.breaker.is_open
    assert await redis.execute("CLIENT", "ID") == before


async def test_what_waits_for_one_server_is_bounded(
    valkey: ValkeyServer, redis: RedisConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await redis.ping()
    monkeypatch.setattr(stream, "MAX_PENDING", 10)
    replies = await asyncio.gather(*(outcome(redis, "PING") for _ in range(15)))
    assert replies[:10] == [b"PONG"] * 10
    assert all(isinstance(reply, RedisBusyError) for reply in replies[10:])
    assert not redis.breaker.is_open
    assert await redis.ping()


async def test_unsent_bytes_are_bounded(
    valkey: ValkeyServer, redis: RedisConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await redis.ping()
    monkeypatch.setattr(stream, "MAX_UNSENT_BYTES", 100_000)
    await asyncio.to_thread(valkey.pause)
    try:
        replies = asyncio.gather(*(outcome(redis, "SET", "key", "x" * 3_000_000) for _ in range(10)))
        await asyncio.sleep(TIMEOUT / 10)
    finally:
        await asyncio.to_thread(valkey.resume)
    kinds = {type(reply) for reply in await replies}
    assert RedisBusyError in kinds
    assert kinds <= {RedisBusyError, bytes}


async def test_close_fails_what_is_under_way_and_refuses_the_rest(
    valkey: ValkeyServer, redis: RedisConnection, caplog: pytest.LogCaptureFixture
) -> None:
    await redis.ping()
    await asyncio.to_thread(valkey.pause)
    try:
        waiting = [asyncio.create_task(outcome(redis, "PING")) for _ in range(10)]
        await asyncio.sleep(0.01)
        await redis.close()
        results = await asyncio.wait_for(asyncio.gather(*waiting), 0.1)
    finally:
        await asyncio.to_thread(valkey.resume)
    assert all(isinstance(result, RedisConnectionError) for result in results)
    assert isinstance(await outcome(redis, "PING"), RedisConnectionError)
    assert not caplog.messages
    await redis.close()


async def test_close_while_connecting_and_while_the_breaker_is_open(valkey: ValkeyServer) -> None:
    async with proxy(("127.0.0.1", valkey.port)) as way:
        way.is_open = False
        first, second = (
            RedisConnection(parse_redis_url(url(valkey, port=way.port)), name="test", timeout_seconds=TIMEOUT)
            for _ in "ab"
        )
        waiting = asyncio.create_task(outcome(first, "PING"))
        await asyncio.sleep(0.02)
        await first.close()
        assert isinstance(await asyncio.wait_for(waiting, 0.1), RedisConnectionError)
        await outcome(second, "PING")
        assert second.breaker.is_open
        await second.close()
        assert not second.breaker.is_open


async def test_callers_that_leave_while_it_connects_do_not_end_the_attempt(redis: RedisConnection) -> None:
    await redis.execute("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no")
    leaving = [asyncio.create_task(redis.execute("PING")) for _ in range(5)]
    staying = asyncio.create_task(redis.execute("PING"))
    await asyncio.sleep(0)
    for task in leaving:
        task.cancel()
    assert await staying == b"PONG"


async def test_a_server_that_loads_its_data_is_waited_for() -> None:
    replies = [b"-LOADING Redis is loading the dataset in memory\r\n"] * 4

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1000):
            writer.write(replies.pop() if replies else b"+PONG\r\n")
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with open_connection(f"redis://127.0.0.1:{port}", name="test", timeout_seconds=TIMEOUT) as redis:
        assert isinstance(await outcome(redis, "PING"), BusyLoadingError)
        assert redis.breaker.is_open
        await asyncio.sleep(RECOVERY)
        assert await redis.ping()
    server.close()


@pytest.mark.parametrize("noise", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"+OK\r\n+OK\r\n+OK\r\n"])
async def test_a_server_that_does_not_speak_redis_is_refused(noise: bytes) -> None:
    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(noise)
        await reader.read()
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with open_connection(f"redis://127.0.0.1:{port}", name="test", timeout_seconds=TIMEOUT) as redis:
        await outcome(redis, "PING")
        assert isinstance(await outcome(redis, "GET", "x"), RedisError | bytes)
    server.close()


async def test_tls_is_verified(valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    async with proxy(("127.0.0.1", valkey.port), loopback_tls()) as way:
        address = url(valkey, port=way.port, tls=True)
        async with open_connection(address, name="test", timeout_seconds=TIMEOUT) as redis:
            with pytest.raises(RedisConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
                await redis.ping()
        monkeypatch.setenv("SSL_CERT_FILE", str(LOOPBACK_CERTIFICATE))
        async with open_connection(address, name="test", timeout_seconds=TIMEOUT) as redis:
            large = b"x" * 5_000_000
            assert await redis.execute("SET", "large", large) == b"OK"
            replies = await asyncio.gather(
                redis.execute("GET", "large"), *(redis.execute("ECHO", str(i)) for i in range(100))
            )
            assert replies == [large, *(str(i).encode() for i in range(100))]
