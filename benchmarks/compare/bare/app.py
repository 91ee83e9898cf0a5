"""The one ASGI function, and the functions by which it serves each path."""

import os
import time
from typing import Any
from urllib.parse import parse_qs
from uuid import uuid4

import asyncpg
import orjson
from arq import ArqRedis
from redis.asyncio import ConnectionPool

from benchmarks.compare.bare import statements as sql
from benchmarks.compare.bare.http import (
    NO_STORE,
    PRIVATE,
    PUBLIC,
    Message,
    Receive,
    Send,
    etag,
    read_body,
    respond,
    session,
    to_json,
)

EXPIRATION, PAGE_EXPIRATION = 3600, 60
TASK_PATH = "api_v1_tasks_task"


class Clients:
    """What the process has open between the server's start and stop."""

    postgres: asyncpg.Pool
    redis: Any
    """An `ArqRedis`; redis-py's annotations mix its two kinds of clients."""


async def current_user(scope: Message) -> asyncpg.Record:
    user = await Clients.postgres.fetchrow(sql.USER_BY_SESSION, *session(scope))
    if user is None:
        raise PermissionError
    return user


async def serve_cached(send: Send, entry: bytes) -> None:
    """An entry is the ETag (34 bytes) followed by the body."""
    await respond(send, 200, entry[34:], PUBLIC, (b"etag", entry[:34]), (b"x-cache", b"hit"))


async def serve_row(send: Send, key: str, statement: str, *arguments: object) -> None:
    entry: bytes | None = await Clients.redis.get(key)
    if entry is not None:
        await serve_cached(send, entry)
        return
    body = to_json(dict(await Clients.postgres.fetchrow(statement, *arguments)))
    await Clients.redis.set(key, etag(body) + body, ex=EXPIRATION)
    await respond(send, 200, body, PUBLIC, (b"etag", etag(body)), (b"x-cache", b"miss"))


async def serve_page(send: Send, scope: Message, key: str, select: str, count: str, *arguments: object) -> None:
    """All pages of one list are fields of one hash, so that a write drops them with one command."""
    entry: bytes | None = await Clients.redis.hget(key, scope["query_string"])
    if entry is not None:
        await serve_cached(send, entry)
        return
    query = parse_qs(scope["query_string"].decode())
    page, size = int(query.get("page", ["1"])[0]), int(query.get("items_per_page", ["10"])[0])
    rows = await Clients.postgres.fetch(select, *arguments, size, (page - 1) * size)
    total = await Clients.postgres.fetchval(count, *arguments)
    content = {"data": [dict(row) for row in rows], "total_count": total, "has_more": page * size < total}
    body = to_json(content | {"page": page, "items_per_page": size})
    await Clients.redis.hset(key, scope["query_string"], etag(body) + body)
    await Clients.redis.expire(key, PAGE_EXPIRATION)
    await respond(send, 200, body, PUBLIC, (b"etag", etag(body)), (b"x-cache", b"miss"))


async def serve_me(scope: Message, send: Send) -> None:
    body = to_json(dict(await current_user(scope)))
    await respond(send, 200, body, PRIVATE, (b"etag", etag(body)))


async def create_task(scope: Message, send: Send) -> None:
    user_id, limit, period = await Clients.postgres.fetchrow(sql.USER_AND_RULE, *session(scope), TASK_PATH)
    bucket = f"rate_limit:{user_id}:{int(time.time()) // period}"
    async with Clients.redis.pipeline(transaction=False) as pipeline:
        count, _ = await pipeline.incr(bucket).expire(bucket, period).execute()
    fields = {b"limit": limit, b"remaining": max(0, limit - count), b"reset": period}
    headers = [(b"ratelimit-" + name, b"%d" % value) for name, value in fields.items()]
    if count > limit:
        await respond(send, 429, b'{"detail":"Rate limit exceeded."}', NO_STORE, *headers)
        return
    task_id = f"{user_id}-{uuid4().hex}"
    message = parse_qs(scope["query_string"].decode())["message"][0]
    await Clients.redis.enqueue_job("sample_background_task", message, _job_id=task_id)
    await respond(send, 201, to_json({"id": task_id}), NO_STORE, *headers)


async def create_post(scope: Message, receive: Receive, send: Send, username: str) -> None:
    values = orjson.loads(await read_body(receive))
    user = await current_user(scope)
    if user["username"] != username:
        raise PermissionError
    arguments = user["id"], values["title"], values["text"], values.get("media_url"), uuid4()
    row = await Clients.postgres.fetchrow(sql.INSERT_POST, *arguments)
    await Clients.redis.delete(f"posts:{username}")
    await respond(send, 201, to_json(dict(row)), NO_STORE)


async def patch_post(scope: Message, receive: Receive, send: Send, username: str, post_id: int) -> None:
    values = orjson.loads(await read_body(receive))
    user = await current_user(scope)
    if user["username"] != username:
        raise PermissionError
    if await Clients.postgres.fetchval(sql.UPDATE_POST, post_id, user["id"], values["title"]) is None:
        await respond(send, 404, b'{"detail":"Post not found"}', NO_STORE)
        return
    await Clients.redis.delete(f"post:{post_id}", f"posts:{username}")
    await respond(send, 200, b'{"message":"Post updated"}', NO_STORE)


async def serve_get(scope: Message, send: Send) -> None:
    match scope["path"].split("/")[3:]:
        case [username, "post", post_id]:
            await serve_row(send, f"post:{post_id}", sql.POST, username, int(post_id))
        case ["user", "me", *_]:
            await serve_me(scope, send)
        case ["user", username]:
            await serve_row(send, f"user:{username}", sql.USER, username)
        case ["users"]:
            await serve_page(send, scope, "users", sql.USERS, sql.COUNT_USERS)
        case [username, "posts"]:
            await serve_page(send, scope, f"posts:{username}", sql.POSTS, sql.COUNT_POSTS, username)


async def serve_write(scope: Message, receive: Receive, send: Send) -> None:
    match scope["path"].split("/")[3:]:
        case ["tasks", "task"]:
            await create_task(scope, send)
        case [username, "post"]:
            await create_post(scope, receive, send, username)
        case [username, "post", post_id]:
            await patch_post(scope, receive, send, username, int(post_id))


async def lifespan(receive: Receive, send: Send) -> None:
    await receive()
    pool = ConnectionPool.from_url(os.environ["BARE_REDIS_URL"])
    async with asyncpg.create_pool(os.environ["BARE_POSTGRES_URL"], min_size=10, max_size=20) as Clients.postgres:
        Clients.redis = ArqRedis(pool_or_conn=pool)
        await send({"type": "lifespan.startup.complete"})
        await receive()
    await pool.disconnect()
    await send({"type": "lifespan.shutdown.complete"})


async def app(scope: Message, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
    elif scope["method"] == "GET":
        await serve_get(scope, send)
    else:
        await serve_write(scope, receive, send)
