"""docs/architecture.md agrees with the code: its names exist, and the changes that it describes work."""

import os
import re
import sys
import tomllib
from asyncio import create_subprocess_exec
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from subprocess import PIPE, STDOUT

from fastapi import APIRouter, FastAPI
from redis.asyncio import Redis
from sqlalchemy import text

from app.api import router
from app.core.config import (
    AppSettings,
    CryptSettings,
    DefaultRateLimitSettings,
    EnvironmentSettings,
    PostgresSettings,
    RedisCacheSettings,
    RedisQueueSettings,
    RedisRateLimiterSettings,
    Settings,
)
from app.core.security import TokenType, decode_token
from app.core.setup import create_application
from app.core.utils.cache import cache
from tests.conftest import Services
from tests.helper import API, PASSWORD, Rows, running
from tests.support import architecture, architecture_changes
from tests.support.own_route import OWN_PATH, own_router
from tests.support.readme import ROOT, copy_project


def test_every_path_exists() -> None:
    paths = architecture.paths()

    assert "src/app/main.py" in paths
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_every_name_exists() -> None:
    names = architecture.names()

    assert "create_application" in names
    assert architecture.undefined(names | {"no_such_name"}) == {"no_such_name"}


def test_the_picture_of_imports_has_every_layer() -> None:
    """The picture's modules, from top to bottom, are the layers that import-linter holds."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = {name for layer in contracts[0]["layers"] for name in re.split(r" [|:] ", layer)}

    assert architecture.modules_of_the_picture() == layers


async def test_changes_of_files(services: Services, empty_database: str, tmp_path: Path) -> None:
    """All at once in a copy: a user's field, hash, tokens, usernames, texts, headers, layer, second version, UUIDs."""
    project = copy_project(tmp_path)
    architecture_changes.change(project)
    environment = services.environment(POSTGRES_DB=empty_database, REDIS_CACHE_DB="7", REDIS_RATE_LIMIT_DB="7")
    environment |= {"PYTHONPATH": os.pathsep.join((str(project / "src"), str(project)))}
    environment["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    script = str(project / "tests" / "support" / "changed_project.py")
    process = await create_subprocess_exec(
        sys.executable, script, cwd=project, env=environment, stdout=PIPE, stderr=STDOUT
    )
    output, _ = await process.communicate()

    assert process.returncode == 0, output.decode()


async def test_another_lifetime_of_tokens(services: Services, rows: Rows) -> None:
    await rows.user("userson")
    settings = services.settings(ACCESS_TOKEN_EXPIRE_MINUTES=3, REFRESH_TOKEN_EXPIRE_DAYS=2)
    async with running(create_application(router=router, settings=settings)) as client:
        login = await client.post(f"{API}/login", data={"username": "userson", "password": PASSWORD})
    claims = decode_token(login.json()["access_token"], TokenType.ACCESS, settings)

    assert claims is not None
    assert timedelta(minutes=2) < claims.expires_at - datetime.now(UTC) <= timedelta(minutes=3)
    assert f"max-age={2 * 24 * 3600}" in login.headers["set-cookie"].lower()


class WithoutRedis(AppSettings, CryptSettings, PostgresSettings, DefaultRateLimitSettings, EnvironmentSettings):
    """What remains of `Settings` without its Redis classes, as far as endpoints need it."""


async def test_no_redis(settings: Settings, rows: Rows) -> None:
    account = await rows.user("userson")
    lean = WithoutRedis.model_validate(settings.model_dump(exclude_unset=True))
    async with running(create_application(router=router, settings=lean)) as client:
        name = {"name": "Another Name"}
        statuses = [
            (await client.post(f"{API}/login", data={"username": "userson", "password": PASSWORD})).status_code,
            (await client.patch(f"{API}/user/userson", headers=account.headers, json=name)).status_code,
            (await client.post(f"{API}/tasks/task?message=x")).status_code,
        ]
        listed = await client.get(f"{API}/users")

    assert statuses == [200, 200, 501]
    assert listed.json()["total_count"] == 1
    assert "X-Cache" not in listed.headers


class WithoutDatabase(
    AppSettings,
    CryptSettings,
    RedisCacheSettings,
    RedisQueueSettings,
    RedisRateLimiterSettings,
    DefaultRateLimitSettings,
    EnvironmentSettings,
):
    """Everything that works without PostgreSQL."""


async def test_no_database(settings: Settings, rows: Rows) -> None:
    lean = WithoutDatabase.model_validate(settings.model_dump(exclude_unset=True))
    async with running(create_application(router=router, settings=lean)) as client:
        users = await client.get(f"{API}/users")
        ready = await client.get(f"{API}/ready")

    assert users.status_code == 501
    assert ready.json()["parts"] == {"cache": "ok", "queue": "ok", "rate_limiter": "ok"}


async def test_another_lifetime_of_cached_responses(settings: Settings, rows: Rows, redis: Redis) -> None:
    own = APIRouter()

    @own.get("/things/{number}")
    @cache("things", resource_id_name="number", expiration=5)
    async def read_thing(number: int) -> dict[str, int]:
        return {"number": number}

    async with running(create_application(router=own, settings=settings)) as client:
        outcomes = [(await client.get("/things/1")).headers["X-Cache"] for _ in range(2)]
        lifetime = await redis.pttl("things:1")

    assert outcomes == ["miss", "hit"]
    assert 0 < lifetime <= 5000


async def test_versions_with_the_same_key_share_entries(settings: Settings, rows: Rows) -> None:
    own = APIRouter()

    @own.get("/v1/things/{number}")
    @cache("things", resource_id_name="number")
    async def read_thing(number: int) -> dict[str, int]:
        return {"number": number}

    @own.get("/v2/things/{number}")
    @cache("things", resource_id_name="number")
    async def read_thing_with_name(number: int) -> dict[str, str]:
        return {"name": f"Thing {number}"}

    async with running(create_application(router=own, settings=settings)) as client:
        first, second = [await client.get(f"/{version}/things/1") for version in ("v1", "v2")]

    assert (first.headers["X-Cache"], second.headers["X-Cache"]) == ("miss", "hit")
    assert second.json() == {"number": 1}


async def test_no_documentation_and_code_at_start_and_shutdown(settings: Settings) -> None:
    events = []

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        events.append(f"start, open: {app.state.resources is not None}")
        yield
        events.append("shutdown")

    app = create_application(router=router, settings=settings, openapi_url=None, lifespan=lifespan)
    async with running(app) as client:
        pages = [(await client.get(path)).status_code for path in ("/docs", "/redoc", "/openapi.json")]

    assert pages == [404, 404, 404]
    assert events == ["start, open: True", "shutdown"]


async def test_another_limit(services: Services, rows: Rows) -> None:
    """By `DEFAULT_RATE_LIMIT_LIMIT` for a caller without a rule, by the API for the users of a tier."""
    root, user, tier = await rows.superuser(), await rows.user(), await rows.tier("free")
    await rows.join_tier(user, tier)
    settings = services.settings(DEFAULT_RATE_LIMIT_LIMIT=1)
    async with running(create_application(router=own_router(), settings=settings)) as client:
        rule = {"path": OWN_PATH, "limit": 2, "period": 60}
        created = await client.post(f"{API}/tier/free/rate_limit", headers=root.headers, json=rule)

        async def submit(headers: dict[str, str], times: int) -> list[int]:
            path = f"{OWN_PATH}?message=x"
            return [(await client.post(path, headers=headers)).status_code for _ in range(times)]

        by_default, by_rule = await submit({}, 2), await submit(dict(user.headers), 3)

    assert created.status_code == 201
    assert by_default == [201, 429]
    assert by_rule == [201, 201, 429]


async def test_migrations_apart_from_the_start(services: Services, empty_database: str) -> None:
    settings = services.settings(POSTGRES_DB=empty_database, CREATE_TABLES_ON_START=False)
    app = create_application(router=router, settings=settings)
    async with running(app) as client:
        assert (await client.get(f"{API}/health")).status_code == 200
        tables = await app.state.resources.database.fetch_all(
            text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        )

    assert tables == []
