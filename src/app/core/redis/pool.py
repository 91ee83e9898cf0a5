"""The connections of redis-py, which arq reads and runs tasks with: bounded waiting, and no errors after an outage."""

from redis.asyncio import BlockingConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError

TIMEOUT_SECONDS = 0.2
MAX_CONNECTIONS = 50


def create_pool(url: str, timeout: float = TIMEOUT_SECONDS) -> BlockingConnectionPool:
    """A pool that connects on first use.

    A connection that the server closed is replaced once, silently; nothing waits for longer than `timeout` seconds.
    """
    return BlockingConnectionPool.from_url(
        url,
        max_connections=MAX_CONNECTIONS,
        timeout=timeout,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
    )
