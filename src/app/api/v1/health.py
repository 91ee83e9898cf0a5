import asyncio
from collections.abc import Awaitable
from typing import Any

from fastapi import APIRouter
from sqlalchemy import text

from app.api.dependencies import OpenResources
from app.api.responses import errors, unavailable
from app.core.exceptions.http_exceptions import ServiceUnavailableException
from app.core.resources import Resources
from app.core.schemas import Health, Readiness

router = APIRouter(tags=["health"])

PROBE_TIMEOUT_SECONDS = 3
NOT_READY = unavailable("Not ready: database", "The named services do not respond.")


def _probes(resources: Resources) -> dict[str, Awaitable[Any]]:
    probes: dict[str, Awaitable[Any]] = {}
    if resources.database:
        probes["database"] = resources.database.fetch_one(text("SELECT 1"))
    clients = {"cache": resources.cache, "queue": resources.queue, "rate_limiter": resources.rate_limiter}
    return probes | {part: client.ping() for part, client in clients.items() if client}


@router.get("/health", summary="Check that the process works")
async def read_health() -> Health:
    """The liveness probe. It uses neither the database nor Redis."""
    return Health(status="ok")


@router.get("/ready", summary="Check that the services can be reached", responses=errors(NOT_READY))
async def read_readiness(resources: OpenResources) -> Readiness:
    """The readiness probe. The database and each Redis that the settings switch on must respond."""
    probes = _probes(resources)
    waits = (asyncio.wait_for(probe, PROBE_TIMEOUT_SECONDS) for probe in probes.values())
    results = await asyncio.gather(*waits, return_exceptions=True)
    failing = [part for part, result in zip(probes, results, strict=True) if isinstance(result, Exception)]
    if failing:
        raise ServiceUnavailableException(f"Not ready: {', '.join(failing)}")
    return Readiness(status="ok", parts=dict.fromkeys(probes, "ok"))
