"""A replica that serves a read only if it has replayed everything that was acknowledged before the read began."""

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Executable, text

from app.core.db.database import Database
from app.core.db.errors import READ_ONLY, PoolTimeoutError, StaleReplicaError, is_outage, sqlstate
from app.core.db.position import CLUSTER, Position, Positions
from app.core.db.statements import Parameters, Row

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 0.5
"""How long a read waits until it can begin on the replica."""
PAUSES = (0.001, 0.002, 0.004, 0.008)
"""Between looks at a replica that has not replayed enough yet."""
RETRY_SECONDS = 1.0
"""Between attempts to use a replica again that could not be used."""
HEARD_SECONDS = 0.1
"""After which a replica is asked whether it still responds, even if it is known to have replayed enough."""

# A standby knows the timeline that it replays from its control file. That is late after a failover, by a restartpoint.
_HISTORY = f"""
    SELECT {CLUSTER} || '/' || upper(lpad(to_hex(greatest(
        (SELECT timeline_id FROM pg_control_checkpoint()),
        (SELECT min_recovery_end_timeline FROM pg_control_recovery())
    )), 8, '0'))
"""  # noqa: S608 - two constants
_REPLAYED = "SELECT CASE WHEN pg_is_in_recovery() THEN (pg_last_wal_replay_lsn() - '0/0'::pg_lsn)::bigint END"
_PROBE = text("SELECT 1")


class Replica:
    """The replica's connections, and up to where each of them is known to have replayed.

    What is known belongs to a connection, because it ends with the run of its server: a standby that starts again may
    first be behind itself.
    """

    def __init__(self, database: Database, positions: Positions) -> None:
        self.database = database
        self._positions = positions
        self._known: WeakKeyDictionary[Any, Position] = WeakKeyDictionary()
        self._heard_at = 0.0
        self._recovery: asyncio.Task[None] | None = None

    async def fetch_all(self, statement: Executable, parameters: Parameters | None = None) -> Sequence[Row] | None:
        """The rows; None if the primary has to be asked, for whatever reason."""
        if self._recovery and not self._recovery.done():
            return None
        try:
            return await self._execute(statement, parameters)
        except PoolTimeoutError:
            return None
        except Exception as error:  # noqa: BLE001 - the primary decides what is wrong with a statement
            if isinstance(error, (StaleReplicaError, TimeoutError)) or _is_outage(error):
                self._suspend(error)
            return None

    async def close(self) -> None:
        if self._recovery:
            self._recovery.cancel()
            await asyncio.wait([self._recovery])
        await self._positions.close()

    async def _execute(self, statement: Executable, parameters: Parameters | None = None) -> Sequence[Row]:
        async with asyncio.timeout(PATIENCE_SECONDS) as patience:
            try:
                required = await self._positions.current()
            except Exception as error:
                raise StaleReplicaError(f"the primary's position is not known: {error!r}") from error

            async def check(connection: Any) -> None:
                await self._wait_for(required, connection)
                patience.reschedule(None)

            return await self.database.execute(statement, parameters, check)

    async def _wait_for(self, required: Position, connection: Any) -> None:
        """Raises `StaleReplicaError` if the connection's server does not get there soon."""
        known = self._known.get(connection)
        if known is None or known.history != required.history:
            history = await connection.fetchval(_HISTORY)
            if history != required.history:
                raise StaleReplicaError(f"its history is {history}, and that of the primary {required.history}")
        elif known.includes(required) and time.monotonic() - self._heard_at < HEARD_SECONDS:
            return
        for pause in (0, *PAUSES):
            await asyncio.sleep(pause)
            lsn = await connection.fetchval(_REPLAYED)
            if lsn is None:
                raise StaleReplicaError("it is not a standby")
            self._heard_at = time.monotonic()
            self._known[connection] = Position(required.history, lsn)
            if lsn >= required.lsn:
                return
        raise StaleReplicaError(f"it is {required.lsn - lsn} bytes behind")

    def _suspend(self, error: Exception) -> None:
        if self._recovery is None or self._recovery.done():
            logger.warning("all reads go to the primary, because the replica cannot serve them: %r", error)
            self._recovery = asyncio.create_task(self._wait_until_usable())

    async def _wait_until_usable(self) -> None:
        while True:
            await asyncio.sleep(RETRY_SECONDS)
            with suppress(Exception):  # the first one is logged
                await self._execute(_PROBE)
                logger.info("the replica serves reads again")
                return


def _is_outage(error: Exception) -> bool:
    # A statement that writes is refused by every standby.
    return is_outage(error) and sqlstate(error) != READ_ONLY
