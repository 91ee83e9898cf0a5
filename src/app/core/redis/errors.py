"""Errors of this project's connections, and redis-py's classes for the server's error replies."""

import re

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


_LACKS_REPLICAS = re.compile(r"(?:^|caused error: \W*)NOREPLICAS ")


def lacks_replicas(error: RedisError) -> bool:
    """Whether a server with `min-replicas-to-write` has refused a change for now; redis-py has no class for that.

    In a pipeline redis-py puts the command in front of the reply.
    """
    return _LACKS_REPLICAS.search(str(error)) is not None


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
