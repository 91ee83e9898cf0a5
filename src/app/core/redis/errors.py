"""Errors of this project's connections, and redis-py's classes for the server's error replies."""

from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError


class RedisBusyError(RedisError):
    """Too much waits for this server in this process already; the server itself may be healthy."""


class RedisUnavailableError(RedisConnectionError):
    """The server failed a moment ago, and has not responded to a ping since."""


_BY_CODE: dict[str, type[RedisError]] = {
    "LOADING": BusyLoadingError,
    "NOAUTH": AuthenticationError,
    "NOPERM": ResponseError,
    "NOSCRIPT": NoScriptError,
    "OOM": OutOfMemoryError,
    "READONLY": ReadOnlyError,
    "WRONGPASS": AuthenticationError,
}


def error_reply(message: str) -> RedisError:
    """The error for a reply such as `OOM command not allowed ...`."""
    return _BY_CODE.get(message.partition(" ")[0], ResponseError)(message)
