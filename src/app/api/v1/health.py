import asyncio
from collections.abc import Awaitable
from typing import Any

from fastapi import APIRouter
from sqlalchemy import text

from app.api.dependencies import OpenResources
from app.api.responses import errors
from app.core.exceptions.http_exceptions import ServiceUnavailableException
from app.core.resources import Resources
from app.core.schemas import Health, Readiness

router = APIRouter(tags=["health"])

PROBE_TIMEOUT_SECONDS = 3


def _probes(resources: Resources) -> dict[str, Awaitable[Any]]:
    probes: dict[str, Awaitable[Any]] = {}
    if resources.database:
        probes["database"] = resources.database.fetch_one(text("SELECT 1"))
    clients = {"cache": resources.cache, "queue": resources.queue, "rate_limiter": resources.rate_limiter}
    return probes | {part: client.ping() for part, client in clients.items() if client}


@router.get("/health")
async def read_health() -> Health:
    """Liveness: the process answers; nothing else is asked."""
    return Health(status="ok")


@router.get("/ready", responses=errors(503))
async def read_readiness(resources: OpenResources) -> Readiness:
    """Readiness: everything that the settings switch on can be reached."""
    probes = _probes(resources)
    waits = (asyncio.wait_for(probe, PROBE_TIMEOUT_SECONDS) for probe in probes.values())
    results = await asyncio.gather(*waits, return_exceptions=True)
    failing = [part for part, result in zip(probes, results, strict=True) if isinstance(result, Exception)]
    if failing:
        raise ServiceUnavailableException(f"Not ready: {', '.join(failing)}")
    return Readiness(status="ok", parts=dict.fromkeys(probes, "ok"))
