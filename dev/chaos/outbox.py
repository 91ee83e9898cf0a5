"""Tasks of registrations: every stored user has run its welcome, and no other task of that kind has run."""

import asyncio
import time
from typing import Any
from uuid import UUID

import asyncpg
from arq.constants import result_key_prefix
from redis.asyncio import Redis

from app.core.queue.codec import loads
from dev.chaos.cluster import ADMIN, Cluster
from dev.chaos.report import Report

COMPLETION_SECONDS = 90.0
_USERS = 'SELECT uuid FROM "user" WHERE username <> $1'
_OUTBOX = "SELECT count(*) FROM outbox"


async def verify_welcomes(cluster: Cluster, report: Report) -> None:
    """Compares the users in PostgreSQL with the results in Redis, when the outbox and the queue are empty."""
    postgres, queue = cluster.servers["postgres"], cluster.servers["queue"]
    connection = await asyncpg.connect(
        host=postgres.host, port=postgres.port, user=postgres.user, password=postgres.password, database="postgres"
    )
    async with Redis(host=queue.host, port=queue.port) as redis:
        deadline = time.monotonic() + COMPLETION_SECONDS
        while not await _is_done(connection, redis) and time.monotonic() < deadline:  # noqa: ASYNC110 - others do it
            await asyncio.sleep(0.5)
        users = {row["uuid"] for row in await connection.fetch(_USERS, ADMIN["username"])}
        welcomed = await _welcomed(redis)
    await connection.close()
    report.operations["welcome"] += len(welcomed)
    for user in users - welcomed:
        report.violate("lost task", f"send_welcome for the user {user}")
    for user in welcomed - users:
        report.violate("task without its commit", f"send_welcome for {user}, who does not exist")


async def _is_done(connection: Any, redis: Redis) -> bool:
    return bool(await connection.fetchval(_OUTBOX) == 0 and await redis.zcard("arq:queue") == 0)


async def _welcomed(redis: Redis) -> set[UUID]:
    keys = [key async for key in redis.scan_iter(f"{result_key_prefix}*", count=1000)]
    results = [loads(packed) for packed in await redis.mget(keys) if packed] if keys else []
    return {result["a"][0] for result in results if result["f"] == "send_welcome" and result["s"]}
