"""The primary of a group of servers that Sentinels watch. redis-py asks them, at each connect.

The Sentinels are asked one after another, the one that replied last time first, so that one which is unavailable costs
its share of the timeout once. A server that is no primary is refused: Sentinels may name one that was just demoted.
"""

import logging
from collections.abc import Mapping
from copy import copy
from typing import Any

from redis.asyncio import BlockingConnectionPool, ConnectionPool, Redis
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.exceptions import RedisError

from app.core.redis.client_connection import connection_options
from app.core.redis.dial import Dialer, pack
from app.core.redis.stream import RedisStream
from app.core.redis.watchdog import LoopTimeout
from app.core.settings.redis_url import RedisAddress

logger = logging.getLogger(__name__)

_INFO = pack(("INFO",))


class _Sentinels(Sentinel):
    async def discover_master(self, service_name: str) -> tuple[str, int]:
        # redis-py moves the one that replied to the front of the list. Simultaneous calls would lose others of it.
        own = copy(self)
        own.sentinels = list(self.sentinels)
        found: tuple[str, int] = await Sentinel.discover_master(own, service_name)
        self.sentinels = own.sentinels
        return found


def _sentinels(address: RedisAddress, timeout: float) -> _Sentinels:
    options = {
        "username": address.sentinel_user or None,
        "password": address.sentinel_password or None,
        **connection_options(address.tls, LoopTimeout(timeout / len(address.sentinels))),
    }
    sentinels = _Sentinels([])  # type: ignore[no-untyped-call] # redis is untyped here
    sentinels.sentinels = [
        Redis.from_pool(ConnectionPool(host=host, port=port, **options)) for host, port in address.sentinels
    ]
    return sentinels


async def _close(sentinels: _Sentinels) -> None:
    for client in sentinels.sentinels:
        await client.aclose()


def _has_begun_anew(fields: Mapping[bytes, bytes], history: bytes) -> bool:
    """Whether a primary does not continue this history, and keeps nothing on its disk that could make up for it.

    Also true after two failovers since the last look, in a group that saves nothing: a server names one predecessor.
    """
    continues = history in (fields[b"master_replid"], fields.get(b"master_replid2"))
    return not continues and fields.get(b"aof_enabled") == fields.get(b"rdb_last_load_keys_loaded") == b"0"


class PrimaryDialer(Dialer):
    """Opens streams to the server that is the primary at the time.

    `history` is the replication ID of the last one. A replica that is promoted has another one: what was changed on the
    primary before, and had not reached the replica, is missing there.
    """

    timeouts = 2

    def __init__(self, address: RedisAddress, timeout: float) -> None:
        super().__init__(address)
        self._sentinels = _sentinels(address, timeout)

    async def dial(self, stream: RedisStream) -> None:
        try:
            host, port = await self._sentinels.discover_master(self._address.service)
        except RedisError as error:
            raise OSError(f"the Sentinels name no primary: {error}") from error
        await self._dial(stream, host, port)
        lines: list[bytes] = (await stream.call(_INFO)).splitlines()
        fields = dict(line.split(b":", 1) for line in lines if b":" in line)
        if fields.get(b"role") != b"master":
            raise OSError(f"{host}:{port} is not a primary")
        if self.history and _has_begun_anew(fields, self.history):
            logger.error(
                "%s: %s:%s is the primary now, without the data that this process has used before, and has loaded none "
                "when it started. That data is lost if it was restarted empty: configure it to save its data",
                self._address,
                host,
                port,
            )
        self.history = fields[b"master_replid"]

    async def close(self) -> None:
        await _close(self._sentinels)


class PrimaryPool(SentinelConnectionPool, BlockingConnectionPool):
    """redis-py's pool of connections to the primary, which waits for a free one like `BlockingConnectionPool`."""

    async def disconnect(self, inuse_connections: bool = True) -> None:
        """Closes the connections to the Sentinels too, unless only idle connections are meant."""
        await super().disconnect(inuse_connections)
        if inuse_connections:
            await _close(self.sentinel_manager)


def create_primary_pool(address: RedisAddress, timeout: float, **options: Any) -> PrimaryPool:
    """The options are those of `BlockingConnectionPool`."""
    return PrimaryPool(  # type: ignore[no-untyped-call] # redis is untyped here
        address.service,
        _sentinels(address, timeout),
        username=address.user or None,
        password=address.password or None,
        db=address.database,
        ssl=address.tls,
        timeout=timeout,
        **options,
    )
