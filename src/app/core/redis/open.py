"""How a connection or a client is opened: to one server, to the primary that Sentinels name, or to a Cluster."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from redis.asyncio import Redis

from app.core.redis.connection import RedisConnection
from app.core.redis.pool import create_pool
from app.core.redis.script import Connection
from app.core.settings.redis_url import parse_redis_url


@asynccontextmanager
async def open_connection(url: str, *, name: str, timeout_seconds: float) -> AsyncIterator[RedisConnection]:
    """A connection that is closed at the end. `app.core.settings.redis_url` has the forms of the URL."""
    connection = RedisConnection(parse_redis_url(url), name=name, timeout_seconds=timeout_seconds)
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def open_any_connection(url: str, *, name: str, timeout_seconds: float) -> AsyncIterator[Connection]:
    """The same, also to a Cluster."""
    address = parse_redis_url(url)
    if not address.nodes:
        async with open_connection(url, name=name, timeout_seconds=timeout_seconds) as connection:
            yield connection
        return
    from app.core.redis.cluster import ClusterConnection  # noqa: PLC0415 - only where there is a Cluster

    cluster = ClusterConnection(address, name=name, timeout_seconds=timeout_seconds)
    try:
        yield cluster
    finally:
        await cluster.close()


@asynccontextmanager
async def open_client(url: str, *, timeout_seconds: float) -> AsyncIterator[Any]:
    """A client of redis-py, `Redis` or `RedisCluster`, that is closed at the end."""
    address = parse_redis_url(url)
    if not address.nodes:
        async with Redis.from_pool(create_pool(url, timeout=timeout_seconds)) as client:
            yield client
        return
    from app.core.redis.cluster import create_cluster_client  # noqa: PLC0415 - only where there is a Cluster

    cluster = create_cluster_client(address, timeout_seconds)
    try:
        yield cluster
    finally:
        await cluster.aclose()
