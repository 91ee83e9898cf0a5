"""How one connection is made, to the only server or to that of several which accepts writes."""

import asyncio
import socket
from collections.abc import Sequence
from typing import Any, TypeAlias

import asyncpg

from app.core.db.errors import DatabaseUnavailableError
from app.core.settings.postgres import PostgresHost

CONNECT_TIMEOUT_SECONDS = 3
"""Of each server, so that one that does not respond leaves the others their time."""

UNACKNOWLEDGED_SECONDS = 5
"""After which the system closes a connection whose packets nobody acknowledges: the network or the machine is lost.

The server's system acknowledges them, however long its PostgreSQL takes. So a slow or frozen process is not meant.
"""

AsyncpgConnection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

_ERRORS = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


def _discard(attempt: "asyncio.Task[AsyncpgConnection]") -> None:
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().terminate()


def _watch_the_network(connection: AsyncpgConnection) -> None:
    """Linux only. Probes are for what waits for a response, and for idle connections."""
    peer = connection._transport.get_extra_info("socket")  # noqa: SLF001 - asyncpg has no public way to it
    if not hasattr(socket, "TCP_USER_TIMEOUT") or peer.family == socket.AF_UNIX:
        return
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, UNACKNOWLEDGED_SECONDS)
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_SECONDS * 1000)


class Connector:
    """Makes connections for one engine.

    Of several servers it tries the one that accepted writes last, then the others in order. So a former primary that
    comes back, as a standby or not, changes nothing for a process that has found its successor.
    """

    def __init__(self, hosts: Sequence[PostgresHost]) -> None:
        self._hosts = hosts
        self._primary: PostgresHost | None = None

    async def connect(self, *args: Any, **options: Any) -> AsyncpgConnection:
        """`args` and `options` are asyncpg's; raises `DatabaseUnavailableError`."""
        # A client that leaves cancels its request: asyncpg must not be stopped in the middle of a TLS negotiation. And
        # a caller with little patience must not stop the search for the primary, or it would never find it.
        attempt = asyncio.ensure_future(self._connect(*args, **options))
        try:
            return await asyncio.shield(attempt)
        except asyncio.CancelledError:
            attempt.add_done_callback(_discard)
            raise

    async def _connect(self, *args: Any, **options: Any) -> AsyncpgConnection:
        options.setdefault("timeout", CONNECT_TIMEOUT_SECONDS)
        connect = self._find_primary if len(self._hosts) > 1 else self._connect_to_the_only_one
        connection = await connect(*args, **options)
        _watch_the_network(connection)
        return connection

    async def _connect_to_the_only_one(self, *args: Any, **options: Any) -> AsyncpgConnection:
        try:
            return await asyncpg.connect(*args, **options)
        except _ERRORS as error:
            raise DatabaseUnavailableError(f"cannot connect to the database: {error!r}") from error

    async def _find_primary(self, *args: Any, **options: Any) -> AsyncpgConnection:
        # asyncpg tries several hosts by itself, but with one timeout for all of them.
        failures: list[str] = []
        for host in sorted(self._hosts, key=lambda each: each != self._primary):
            where = {"host": host.name, "port": host.port, "target_session_attrs": "read-write"}
            try:
                connection = await asyncpg.connect(*args, **options | where)
            except asyncpg.TargetServerAttributeNotMatched:
                failures.append(f"{host} does not accept any")
            except _ERRORS as error:
                failures.append(f"{host}: {error!r}")
            else:
                self._primary = host
                return connection
        raise DatabaseUnavailableError(f"no server of the database accepts writes: {'; '.join(failures)}")
