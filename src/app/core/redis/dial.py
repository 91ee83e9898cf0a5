"""How a stream comes to its server: TCP, TLS or a Unix socket, then the login and the database."""

import asyncio
import ssl
from collections.abc import Callable
from functools import cached_property

import hiredis

from app.core.redis.stream import RedisStream
from app.core.settings.redis_url import RedisAddress

Argument = str | bytes | int | float
pack: Callable[[tuple[Argument, ...]], bytes] = hiredis.pack_command  # type: ignore[assignment] # its stub declares one part


def _greeting(address: RedisAddress) -> list[tuple[Argument, ...]]:
    """The commands that a new stream begins with."""
    commands: list[tuple[Argument, ...]] = []
    if address.user:
        commands.append(("AUTH", address.user, address.password))
    elif address.password:
        commands.append(("AUTH", address.password))
    if address.database:
        commands.append(("SELECT", address.database))
    return commands


class Dialer:
    """Opens streams to one server. Its errors are `OSError` and `RedisError`."""

    history = b""
    """Which history of the data the server has, where another server may take its place; see `PrimaryDialer`."""
    timeouts = 1
    """How often the connection's timeout a dial may take."""

    def __init__(self, address: RedisAddress) -> None:
        self._address = address
        self._greeting = [pack(command) for command in _greeting(address)]

    async def dial(self, stream: RedisStream) -> None:
        loop, address = asyncio.get_running_loop(), self._address
        if address.path:
            await loop.create_unix_connection(lambda: stream, address.path)
            await self._greet(stream)
        else:
            await self._dial(stream, address.host, address.port)

    async def close(self) -> None:
        """Closes what it keeps open between dials."""

    async def _dial(self, stream: RedisStream, host: str, port: int) -> None:
        await asyncio.get_running_loop().create_connection(lambda: stream, host, port, ssl=self._tls)
        await self._greet(stream)

    async def _greet(self, stream: RedisStream) -> None:
        await asyncio.gather(*map(stream.call, self._greeting))

    @cached_property
    def _tls(self) -> ssl.SSLContext | None:
        return ssl.create_default_context() if self._address.tls else None


def create_dialer(address: RedisAddress, timeout: float) -> Dialer:
    """`timeout` is the connection's, in seconds."""
    if not address.sentinels:
        return Dialer(address)
    from app.core.redis.primary import PrimaryDialer  # noqa: PLC0415 - only where there are Sentinels

    return PrimaryDialer(address, timeout)
