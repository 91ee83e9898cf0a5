"""How one connection is made, to the only server or to that of several which accepts writes."""

import asyncio
from collections.abc import Sequence
from typing import Any, TypeAlias

import asyncpg

from app.core.db.errors import DatabaseUnavailableError
from app.core.settings.postgres import PostgresHost

CONNECT_TIMEOUT_SECONDS = 3
"""Of each server, so that one that does not respond leaves the others their time."""

AsyncpgConnection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

_ERRORS = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


def _discard(attempt: "asyncio.Task[AsyncpgConnection]") -> None:
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().terminate()


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
        if len(self._hosts) > 1:
            return await self._find_primary(*args, **options)
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
