"""The connections of redis-py, which arq reads and runs tasks with: bounded waiting, and no errors after an outage."""

from typing import Any

from redis.asyncio import BlockingConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError

from app.core.settings.redis_url import parse_redis_url

TIMEOUT_SECONDS = 0.2
MAX_CONNECTIONS = 50


def create_pool(url: str, timeout: float = TIMEOUT_SECONDS) -> BlockingConnectionPool:
    """A pool that connects on first use.

    A connection that the server closed is replaced once, silently; nothing waits for longer than `timeout` seconds.
    """
    options: dict[str, Any] = {
        "max_connections": MAX_CONNECTIONS,
        "timeout": timeout,
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "retry": Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
    }
    address = parse_redis_url(url)
    if address.tls:
        options["ssl_check_hostname"] = True  # otherwise redis-py accepts the certificate of any other host
    if not address.sentinels:
        return BlockingConnectionPool.from_url(url, **options)
    from app.core.redis.primary import create_primary_pool  # noqa: PLC0415 - only where there are Sentinels

    return create_primary_pool(address, **options)
