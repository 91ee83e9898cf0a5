"""A Cluster behind the interface of a connection; redis-py knows its slots, follows its redirections and failovers.

A failed node is an outage until its replica is promoted: the breaker opens for all slots, and closes when every primary
responds.
"""

import asyncio
from typing import Any

from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ClusterDownError, ClusterError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from app.core.redis.breaker import CircuitBreaker
from app.core.redis.client_connection import connection_options
from app.core.redis.dial import Argument
from app.core.redis.errors import RedisBusyError
from app.core.redis.script import RedisScript
from app.core.redis.watchdog import LoopTimeout
from app.core.settings.redis_url import RedisAddress

MAX_CONNECTIONS = 20
"""More would mostly be opened at the same time, which takes longer than to wait for one."""
MAX_PENDING = 1000
PROBE_TIMEOUT_SECONDS = 2.0
_OUTAGES = (RedisConnectionError, RedisTimeoutError, ClusterDownError, ClusterError)


def create_cluster_client(address: RedisAddress, timeout: float) -> RedisCluster:
    """redis-py's client, which connects on first use."""
    client: RedisCluster = RedisCluster(
        *address.nodes[0],
        username=address.user or None,
        password=address.password or None,
        ssl=address.tls,
        cluster_error_retry_attempts=1,
        reinitialize_steps=0,  # otherwise every fifth slot that has moved closes all connections
        retry=Retry(NoBackoff(), 1),
    )
    # Its constructor takes no class of connections. All nodes that it finds are made with these options, too.
    client.connection_kwargs.update(connection_options(address.tls, LoopTimeout(timeout)))
    nodes = [ClusterNode(host, port, **client.connection_kwargs) for host, port in address.nodes]
    client.nodes_manager.startup_nodes = {node.name: node for node in nodes}
    return client


class ClusterConnection:
    """`name` identifies the Cluster in log lines."""

    history = b""

    def __init__(self, address: RedisAddress, *, name: str, timeout_seconds: float) -> None:
        self._timeout = LoopTimeout(timeout_seconds)
        self._probe_timeout = LoopTimeout(PROBE_TIMEOUT_SECONDS)
        self._is_closed = False
        self._pending = 0
        self._free = asyncio.Semaphore(MAX_CONNECTIONS)
        self._client = create_cluster_client(address, timeout_seconds)
        self.breaker = CircuitBreaker(f"{name} ({address})", self._probe)

    async def execute(self, *command: Argument) -> Any:
        """The reply, bytes for text. Fails with a `RedisError` within the timeout."""
        if self._is_closed:
            raise RedisConnectionError("the connection was closed by this process")
        if self.breaker.is_open:
            await self.breaker.wait_until_closed()
        if self._pending >= MAX_PENDING:
            raise RedisBusyError(f"{self._pending} commands wait for a reply already")
        self._pending += 1
        try:
            async with self._free:
                if self.breaker.is_open:  # since this call waits
                    await self.breaker.wait_until_closed()
                return await self._send(self._timeout, *command)
        except _OUTAGES as error:
            if not self._is_closed:
                self.breaker.trip(error)
            raise
        finally:
            self._pending -= 1

    def script(self, source: str) -> RedisScript:
        return RedisScript(self, source)

    def tag(self, name: str) -> str:
        return f"{{{name}}}"

    async def ping(self) -> bool:
        """True if every primary responds, or raises the error with the reason."""
        await self._probe()
        return True

    async def close(self) -> None:
        """Fails the commands under way; further ones are refused."""
        self._is_closed = True
        await self.breaker.close()
        await self._client.aclose()

    async def _probe(self) -> None:
        await self._send(self._probe_timeout, "PING", target_nodes=RedisCluster.PRIMARIES)

    async def _send(self, within: LoopTimeout, *command: Argument, **options: Any) -> Any:
        try:
            async with within.limit():
                return await self._client.execute_command(*command, **options)
        except TimeoutError:
            raise RedisTimeoutError(f"no reply for {within.seconds} s") from None
        except RedisError:
            raise
        except Exception as error:
            # RedisClusterException is no RedisError. And after a failure redis-py closes all connections, also those
            # that other calls are using: what these raise then may be anything, such as an AttributeError.
            raise RedisConnectionError(f"the Cluster cannot be reached: {error!r}") from error
