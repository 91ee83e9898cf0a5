"""Tokens, bodies and responses, by hand."""

import base64
import hashlib
import hmac
import os
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from uuid import UUID, uuid4

import orjson

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

SECRET = os.environ.get("SECRET_KEY", "").encode()

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


async def read_body(receive: Receive) -> bytes:
    body, has_more = b"", True
    while has_more:
        message = await receive()
        body += message.get("body", b"")
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
