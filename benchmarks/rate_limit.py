"""What a limit costs a request: `python -m benchmarks.rate_limit`, one process, requests one after another.

Routes that do nothing are called directly as ASGI, in turns: as they are, with one Redis GET, with the limiter; and the
same with a token. Shown is the median of the rounds in microseconds of this process's CPU per request.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from statistics import median

from fastapi import APIRouter, Depends, FastAPI, Request, Response

from app.api.dependencies import OptionalUser, rate_limiter
from app.core.config import Settings
from app.core.setup import create_application
from dev.services import POSTGRES_FAST, PostgresServer, ValkeyServer, temporary_folder
from tests.helper import Account, Rows

ROUNDS = 9
REQUESTS = 200
Handler = Callable[[], Awaitable[Response]]


async def get_something(request: Request) -> None:
    await request.app.state.resources.rate_limiter.connection.execute("GET", "something")


async def know_user(user: OptionalUser) -> None:
    """The look-up of the token alone."""


ROUTES = {
    "nothing": [],
    "one GET": [Depends(get_something)],
    "limited": [Depends(rate_limiter)],
    "token": [Depends(know_user)],
    "token and one GET": [Depends(know_user), Depends(get_something)],
    "token, limited": [Depends(rate_limiter)],
}


async def respond() -> Response:
    return Response(b"ok")


def create_router() -> APIRouter:
    router = APIRouter()
    for number, dependencies in enumerate(ROUTES.values()):
        router.add_api_route(f"/{number}", respond, dependencies=dependencies)
    return router


async def call(app: FastAPI, path: str, headers: Mapping[str, str]) -> None:
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": raw,
        "client": ("192.0.2.1", 1),
        "server": ("127.0.0.1", 80),
    }

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Mapping[str, object]) -> None:
        if message["type"] == "http.response.start" and message["status"] != 200:
            raise RuntimeError(str(message))

    await app(scope, receive, send)


async def measure(app: FastAPI, account: Account) -> dict[str, float]:
    """Microseconds per request by route."""
    times: dict[str, list[float]] = {name: [] for name in ROUTES}
    for _ in range(ROUNDS):
        for number, name in enumerate(ROUTES):
            headers = account.headers if name.startswith("token") else {}
            start = time.process_time()
            for _ in range(REQUESTS):
                await call(app, f"/{number}", headers)
            times[name].append((time.process_time() - start) / REQUESTS * 1e6)
    return {name: median(values) for name, values in times.items()}


async def create_member(app: FastAPI, settings: Settings) -> Account:
    """A user whose tier has a rule for the limited route."""
    rows = Rows(app.state.resources.database, settings)
    account, tier = await rows.user(), await rows.tier()
    await rows.join_tier(account, tier)
    path = str(list(ROUTES).index("token, limited"))
    await rows.rate_limit(tier, path, 2_000_000_000)
    return account


async def run(settings: Settings) -> None:
    app = create_application(router=create_router(), settings=settings)
    async with app.router.lifespan_context(app):
        found = await measure(app, await create_member(app, settings))
    for name, microseconds in found.items():
        print(f"{name:20} {microseconds:7.0f} us")
    for base, get, limited in (("nothing", "one GET", "limited"), ("token", "token and one GET", "token, limited")):
        gets = (found[limited] - found[base]) / (found[get] - found[base])
        print(f"{limited}: {found[base] / found[limited]:.2f} of the throughput of {base!r}, costs {gets:.2f} GETs")


def main() -> None:
    with (
        temporary_folder() as folder,
        PostgresServer(folder / "postgres", password="benchmark", options=POSTGRES_FAST) as postgres,
        ValkeyServer(folder / "valkey") as valkey,
    ):
        where = {"POSTGRES_SERVER": postgres.host, "POSTGRES_PORT": postgres.port, "POSTGRES_PASSWORD": "benchmark"}
        for part in ("CACHE", "QUEUE", "RATE_LIMIT"):
            where |= {f"REDIS_{part}_HOST": valkey.host, f"REDIS_{part}_PORT": valkey.port}
        settings = Settings.model_validate({**where, "DEFAULT_RATE_LIMIT_LIMIT": 2_000_000_000, "LOG_LEVEL": "ERROR"})
        asyncio.run(run(settings))


if __name__ == "__main__":
    main()
