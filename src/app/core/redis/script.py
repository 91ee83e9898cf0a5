"""What the connections to one server and to a Cluster have in common, and Lua scripts."""

from collections.abc import Sequence
from hashlib import sha1
from typing import Any, Protocol

from redis.exceptions import NoScriptError

from app.core.redis.breaker import CircuitBreaker
from app.core.redis.dial import Argument


class Connection(Protocol):
    """See `app.core.redis` for the guarantees."""

    breaker: CircuitBreaker

    @property
    def history(self) -> bytes:
        """Which history of the data the server has, if Sentinels may replace it; otherwise empty."""

    async def execute(self, *command: Argument) -> Any:
        """The reply, bytes for text. Fails with a `RedisError`."""

    def script(self, source: str) -> "RedisScript":
        """The script, to be called with its keys and arguments."""

    def tag(self, name: str) -> str:
        """The name as a part of keys that are used together: in a Cluster they share a slot by it."""

    async def ping(self) -> bool:
        """True, or raises the error with the reason."""

    async def close(self) -> None:
        """Fails the commands under way; further ones are refused."""


class RedisScript:
    """A Lua script; its source is sent only to a server that does not have it yet."""

    def __init__(self, connection: Connection, source: str) -> None:
        self._connection = connection
        self._source = source
        self.digest = sha1(source.encode(), usedforsecurity=False).hexdigest()

    async def __call__(self, keys: Sequence[str] = (), args: Sequence[Argument] = ()) -> Any:
        try:
            return await self._connection.execute("EVALSHA", self.digest, len(keys), *keys, *args)
        except NoScriptError:
            return await self._connection.execute("EVAL", self._source, len(keys), *keys, *args)
