"""The comparison application: one ASGI function, asyncpg, redis-py and orjson; no framework and no validation.

It serves the eight scenarios with the same rows, bytes and headers as the template. What it does not leave out: tokens
are verified and looked up, requests are limited (a fixed window), a write drops what was cached, a task is one that
arq's worker runs. What it leaves out is most of the contract: it validates nothing, survives no outage, lets a slow
read put an old state back into the cache, and its errors are exceptions.
"""

import base64
import hashlib
import hmac
import os
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any
from urllib.parse import parse_qs
from uuid import UUID, uuid4

import asyncpg
import orjson
from arq import ArqRedis
from redis.asyncio import ConnectionPool

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = Iterable[tuple[bytes, bytes]]

SECRET = os.environ.get("SECRET_KEY", "").encode()
EXPIRATION, PAGE_EXPIRATION = 3600, 60
TASK_PATH = "api_v1_tasks_task"

USER_COLUMNS = "u.id, u.name, u.username, u.email, u.profile_image_url, u.tier_id"
POST_COLUMNS = "p.id, p.title, p.text, p.media_url, p.created_by_user_id, p.created_at"
VALID_SESSION = "u.uuid = $1 AND NOT u.is_deleted AND NOT EXISTS (SELECT FROM token_blacklist AS b WHERE b.token = $2)"
USER_BY_SESSION = f'SELECT {USER_COLUMNS} FROM "user" AS u WHERE {VALID_SESSION}'
USER_AND_RULE = (
    'SELECT u.id, r."limit", r.period FROM "user" AS u '
    f"JOIN rate_limit AS r ON r.tier_id = u.tier_id AND r.path = $3 WHERE {VALID_SESSION}"
)
USER = f'SELECT {USER_COLUMNS} FROM "user" AS u WHERE u.username = $1 AND NOT u.is_deleted'
USERS = f'SELECT {USER_COLUMNS} FROM "user" AS u WHERE NOT u.is_deleted ORDER BY u.id LIMIT $1 OFFSET $2'
COUNT_USERS = 'SELECT count(*) FROM "user" AS u WHERE NOT u.is_deleted'
OF_AUTHOR = 'FROM post AS p JOIN "user" AS u ON u.id = p.created_by_user_id WHERE u.username = $1 AND NOT p.is_deleted'
POST = f"SELECT {POST_COLUMNS} {OF_AUTHOR} AND p.id = $2"
POSTS = f"SELECT {POST_COLUMNS} {OF_AUTHOR} ORDER BY p.id DESC LIMIT $2 OFFSET $3"
COUNT_POSTS = f"SELECT count(*) {OF_AUTHOR}"
INSERT_POST = (
    "INSERT INTO post AS p (created_by_user_id, title, text, media_url, uuid, is_deleted) "
    f"VALUES ($1, $2, $3, $4, $5, false) RETURNING {POST_COLUMNS}"
)
UPDATE_POST = (
    "UPDATE post SET title = $3, updated_at = now() "
    "WHERE id = $1 AND created_by_user_id = $2 AND NOT is_deleted RETURNING id"
)

COMMON_HEADERS = (
    (b"content-type", b"application/json"),
    (b"vary", b"Authorization"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"frame-ancestors 'none'"),
)
PUBLIC = (b"cache-control", b"public, max-age=60")
PRIVATE = (b"cache-control", b"private, no-store")
NO_STORE = (b"cache-control", b"no-store")


class Clients:
    """What the process has open between the server's start and stop."""

    postgres: asyncpg.Pool
    redis: Any
    """An `ArqRedis`; redis-py's annotations mix its two kinds of clients."""


def to_json(value: object) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_UTC_Z)


def etag(body: bytes) -> bytes:
    return b'"%b"' % hashlib.blake2b(body, digest_size=16).hexdigest().encode()


def from_base64(text: bytes) -> bytes:
    return base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))


def session(scope: Message) -> tuple[UUID, str]:
    """The user's uuid and the digest of the session, from an HS256 token (RFC 7519)."""
    token = next(value for name, value in scope["headers"] if name == b"authorization").removeprefix(b"Bearer ")
    signed, _, signature = token.rpartition(b".")
    if not hmac.compare_digest(hmac.digest(SECRET, signed, "sha256"), from_base64(signature)):
        raise PermissionError
    claims = orjson.loads(from_base64(signed.partition(b".")[2]))
    if claims["exp"] < time.time() or claims["token_type"] != "access":
        raise PermissionError
    return UUID(claims["sub"]), hashlib.sha256(claims["jti"].partition(".")[0].encode()).hexdigest()


async def current_user(scope: Message) -> asyncpg.Record:
    user = await Clients.postgres.fetchrow(USER_BY_SESSION, *session(scope))
    if user is None:
        raise PermissionError
    return user


async def read_body(receive: Receive) -> bytes:
    body, has_more = b"", True
    while has_more:
        message = await receive()
        body += message["body"]
        has_more = message.get("more_body", False)
    return body


async def respond(send: Send, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    fields = [
        (b"content-length", b"%d" % len(body)),
        *COMMON_HEADERS,
        *headers,
        (b"x-request-id", uuid4().hex.encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": body})


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
    user_id, limit, period = await Clients.postgres.fetchrow(USER_AND_RULE, *session(scope), TASK_PATH)
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
    user = await current_user(scope)
    if user["username"] != username:
        raise PermissionError
    values = orjson.loads(await read_body(receive))
    arguments = user["id"], values["title"], values["text"], values.get("media_url"), uuid4()
    row = await Clients.postgres.fetchrow(INSERT_POST, *arguments)
    await Clients.redis.delete(f"posts:{username}")
    await respond(send, 201, to_json(dict(row)), NO_STORE)


async def patch_post(scope: Message, receive: Receive, send: Send, username: str, post_id: int) -> None:
    user = await current_user(scope)
    if user["username"] != username:
        raise PermissionError
    values = orjson.loads(await read_body(receive))
    if await Clients.postgres.fetchval(UPDATE_POST, post_id, user["id"], values["title"]) is None:
        await respond(send, 404, b'{"detail":"Post not found"}', NO_STORE)
        return
    await Clients.redis.delete(f"post:{post_id}", f"posts:{username}")
    await respond(send, 200, b'{"message":"Post updated"}', NO_STORE)


async def serve_get(scope: Message, send: Send) -> None:
    match scope["path"].split("/")[3:]:
        case [username, "post", post_id]:
            await serve_row(send, f"post:{post_id}", POST, username, int(post_id))
        case ["user", "me", *_]:
            await serve_me(scope, send)
        case ["user", username]:
            await serve_row(send, f"user:{username}", USER, username)
        case ["users"]:
            await serve_page(send, scope, "users", USERS, COUNT_USERS)
        case [username, "posts"]:
            await serve_page(send, scope, f"posts:{username}", POSTS, COUNT_POSTS, username)


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
