"""The application with a limited route of its own, for the tests of rate limits, in this process or in a server's."""

from fastapi import APIRouter, Depends, FastAPI

from app.api import router
from app.api.dependencies import rate_limiter
from app.core.config import settings
from app.core.setup import create_application
from tests.helper import API
from tests.support.processes import UVICORN

OWN_PATH = f"{API}/own/thing"
SERVER = ("uvicorn", "--app-dir", "src", "--factory", "tests.support.own_route:create", *UVICORN[2:])


def own_router() -> APIRouter:
    everything = APIRouter()
    everything.include_router(router)

    @everything.post(OWN_PATH, status_code=201, dependencies=[Depends(rate_limiter)])
    async def submit(message: str) -> str:
        return message

    return everything


def create() -> FastAPI:
    return create_application(router=own_router(), settings=settings)
