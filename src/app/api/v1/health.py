import asyncio
from collections.abc import Awaitable
from typing import Any

from fastapi import APIRouter
from sqlalchemy import text

from app.api.dependencies import OpenResources
from app.api.responses import errors, unavailable
from app.core.db.database import Database
from app.core.db.errors import ReadOnlyDatabaseError
from app.core.exceptions.http_exceptions import ServiceUnavailableException
from app.core.resources import Resources
from app.core.schemas import Health, Readiness

router = APIRouter(tags=["health"])

PROBE_TIMEOUT_SECONDS = 3
_IS_READ_ONLY = text("SELECT current_setting('transaction_read_only')::bool AS is_read_only")
NOT_READY = unavailable("Not ready: database", "The named services do not respond.")


async def _check_writable(database: Database) -> None:
    """Raises `ReadOnlyDatabaseError` for a standby, which a failover may leave behind the database's address."""
    row = await database.fetch_one(_IS_READ_ONLY)
    if row and row.is_read_only:
        raise ReadOnlyDatabaseError("the database accepts no writes")


def _probes(resources: Resources) -> dict[str, Awaitable[Any]]:
    probes: dict[str, Awaitable[Any]] = {}
    if resources.database:
        probes["database"] = _check_writable(resources.database)
    clients = {"cache": resources.cache, "queue": resources.queue, "rate_limiter": resources.rate_limiter}
    return probes | {part: client.ping() for part, client in clients.items() if client}


@router.get("/health", summary="Check that the process works")
async def read_health() -> Health:
    """The liveness probe. It uses neither the database nor Redis."""
    return Health(status="ok")


@router.get("/ready", summary="Check that the services can be reached", responses=errors(NOT_READY))
async def read_readiness(resources: OpenResources) -> Readiness:
    """The readiness probe. The database, which must accept writes, and each Redis that is switched on must respond."""
    probes = _probes(resources)
    waits = (asyncio.wait_for(probe, PROBE_TIMEOUT_SECONDS) for probe in probes.values())
    results = await asyncio.gather(*waits, return_exceptions=True)
    failing = [
        f"{part} (read-only)" if isinstance(result, ReadOnlyDatabaseError) else part
        for part, result in zip(probes, results, strict=True)
        if isinstance(result, Exception)
    ]
    if failing:
        raise ServiceUnavailableException(f"Not ready: {', '.join(failing)}")
    return Readiness(status="ok", parts=dict.fromkeys(probes, "ok"))
