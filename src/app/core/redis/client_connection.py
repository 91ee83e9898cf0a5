"""redis-py's connections with the timeouts of `watchdog`: congestion of this process is never taken for an outage."""

from contextlib import suppress
from typing import Any

from redis.asyncio.connection import Connection, SSLConnection
from redis.exceptions import TimeoutError as RedisTimeoutError

from app.core.redis.watchdog import LoopTimeout


class ClientConnection(Connection):
    """Connecting and each reply take at most `patience`. redis-py's own timeouts are off: they are by the clock."""

    def __init__(self, *, patience: LoopTimeout, **options: Any) -> None:
        super().__init__(**options | {"socket_timeout": None, "socket_connect_timeout": None})
        self._patience = patience

    async def _connect(self) -> None:
        async with self._patience.limit():
            await super()._connect()  # type: ignore[no-untyped-call] # redis is untyped here

    async def read_response(self, *args: Any, **options: Any) -> Any:
        try:
            async with self._patience.limit():
                return await super().read_response(*args, **options)
        except TimeoutError:
            raise RedisTimeoutError(f"no reply from {self._host_error()} for {self._patience.seconds} s") from None

    async def disconnect(self, nowait: bool = False) -> None:
        """Over TLS a server is waited for, which may be frozen."""
        writer = self._writer
        with suppress(TimeoutError):
            async with self._patience.limit():
                await super().disconnect(nowait)
            return
        if writer:
            writer.transport.abort()


class ClientTlsConnection(ClientConnection, SSLConnection):
    """The same over TLS."""


def connection_options(tls: bool, patience: LoopTimeout) -> dict[str, Any]:
    """What redis-py's pools and nodes make their connections with."""
    options: dict[str, Any] = {"connection_class": ClientConnection, "patience": patience}
    if tls:
        # Otherwise redis-py accepts the certificate of any other host, if it is a valid one.
        options |= {"connection_class": ClientTlsConnection, "ssl_check_hostname": True}
    return options
