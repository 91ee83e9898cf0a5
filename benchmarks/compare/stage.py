"""What both applications run on: one PostgreSQL, one Valkey, the same rows, one uvicorn worker each."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import asyncpg
import bcrypt
import httpx

from benchmarks.compare.cores import Cores, pin
from dev.local.ports import free_port
from dev.local.processes import wait_until
from dev.services import POSTGRES_FAST, PostgresServer, ServiceError, ValkeyServer, temporary_folder

ROOT = Path(__file__).resolve().parents[2]
SECRET_KEY = "a secret of the benchmarks that is long enough for everything"
PASSWORD = "correct horse battery staple"
USERNAME, USERS, POSTS = "bench", 20, 100
START_SECONDS = 30

_ROWS = f"""
INSERT INTO tier (name) VALUES ('bench');
INSERT INTO rate_limit (tier_id, name, path, "limit", period)
    VALUES (1, 'bench', 'api_v1_tasks_task', 2000000000, 3600);
INSERT INTO "user" (name, username, email, hashed_password, profile_image_url, is_superuser, tier_id, uuid, is_deleted)
    SELECT 'Name of user ' || n, CASE n WHEN 1 THEN '{USERNAME}' ELSE 'user' || n END, 'user' || n || '@example.com',
           '%s', 'https://profileimageurl.com', false, 1, gen_random_uuid(), false
    FROM generate_series(1, {USERS}) AS n;
INSERT INTO post (created_by_user_id, title, text, media_url, uuid, is_deleted)
    SELECT 1, 'Title of post ' || n, repeat('All work and no play. ', 10), 'https://example.com/' || n || '.png',
           gen_random_uuid(), false
    FROM generate_series(1, {POSTS}) AS n;
"""


@dataclass(frozen=True, slots=True)
class Application:
    """One of the two; `redis_db` is its own number in Valkey."""

    name: str
    target: str
    port: int
    redis_db: int
    pid: int


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything is running."""

    postgres: PostgresServer
    valkey: ValkeyServer
    bare: Application
    ours: Application
    token: str
    log: Path
    """What both applications print; it goes with the servers' folder."""


def environment(postgres: PostgresServer, valkey: ValkeyServer) -> dict[str, str]:
    """The template's settings and the comparison's two addresses."""
    values = {
        "ENVIRONMENT": "local",
        "LOG_LEVEL": "ERROR",
        "SECRET_KEY": SECRET_KEY,
        "ACCESS_TOKEN_EXPIRE_MINUTES": "1440",
        "POSTGRES_USER": postgres.user,
        "POSTGRES_PASSWORD": postgres.password,
        "POSTGRES_SERVER": postgres.host,
        "POSTGRES_PORT": str(postgres.port),
        "POSTGRES_DB": "ours",
        "BARE_POSTGRES_URL": url_of(postgres, "bare"),
        "BARE_REDIS_URL": f"redis://{valkey.host}:{valkey.port}/1",
    }
    for part in ("CACHE", "QUEUE", "RATE_LIMIT"):
        values |= {f"REDIS_{part}_HOST": valkey.host, f"REDIS_{part}_PORT": str(valkey.port)}
    return {**os.environ, **values}


def url_of(postgres: PostgresServer, database: str) -> str:
    return f"postgresql://{postgres.user}:{postgres.password}@{postgres.host}:{postgres.port}/{database}"


async def _execute(postgres: PostgresServer, database: str, sql: str) -> None:
    connection = await asyncpg.connect(url_of(postgres, database))
    try:
        await connection.execute(sql)
    finally:
        await connection.close()


def _fill(postgres: PostgresServer, variables: Mapping[str, str]) -> None:
    """Migrates a database by Alembic, stores the rows, and copies it for the comparison."""
    asyncio.run(_execute(postgres, "postgres", "CREATE DATABASE ours"))
    command = [sys.executable, "-m", "alembic", "upgrade", "head"]
    subprocess.run(command, cwd=ROOT / "src", env=variables, check=True, capture_output=True)
    hashed_password = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    asyncio.run(_execute(postgres, "ours", _ROWS % hashed_password))
    asyncio.run(_execute(postgres, "ours", "VACUUM ANALYZE"))
    asyncio.run(_execute(postgres, "postgres", "CREATE DATABASE bare TEMPLATE ours"))


@dataclass(frozen=True, slots=True)
class _Place:
    """Where and how an application is started."""

    variables: Mapping[str, str]
    cores: Cores
    log: Path


def _start(stack: ExitStack, name: str, target: str, redis_db: int, place: _Place) -> Application:
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", target, "--port", str(port), "--log-level", "warning"]
    command += ["--no-access-log"]
    with place.log.open("ab") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=place.variables, stdout=log, stderr=subprocess.STDOUT)
    stack.callback(process.wait, 20)
    stack.callback(process.terminate)
    pin(process.pid, place.cores.server)

    def responds() -> bool:
        if process.poll() is not None:
            raise ServiceError(f"{target} ended with status {process.returncode}.\n{place.log.read_text()}")
        try:
            return httpx.get(f"http://127.0.0.1:{port}/api/v1/user/{USERNAME}").is_success
        except httpx.TransportError:
            return False

    if not wait_until(responds, START_SECONDS):
        raise ServiceError(f"{target} does not respond within {START_SECONDS} s.")
    return Application(name, target, port, redis_db, process.pid)


def _log_in(ours: Application) -> str:
    form = {"username": USERNAME, "password": PASSWORD}
    response = httpx.post(f"http://127.0.0.1:{ours.port}/api/v1/login", data=form).raise_for_status()
    token: str = response.json()["access_token"]
    return token


@contextmanager
def open_stage(cores: Cores) -> Iterator[Stage]:
    """Starts servers and applications, and stops them at the end."""
    with ExitStack() as stack:
        folder = stack.enter_context(temporary_folder())
        server = PostgresServer(folder / "postgres", password=uuid4().hex, options=POSTGRES_FAST)
        postgres = stack.enter_context(server)
        valkey = stack.enter_context(ValkeyServer(folder / "valkey"))
        for pid in (os.getpid(), postgres.pid, valkey.pid):
            pin(pid, cores.others)
        place = _Place(environment(postgres, valkey), cores, folder / "applications.log")
        _fill(postgres, place.variables)
        bare = _start(stack, "bare", "benchmarks.compare.bare.app:app", 1, place)
        ours = _start(stack, "ours", "src.app.main:app", 0, place)
        yield Stage(postgres, valkey, bare, ours, _log_in(ours), place.log)
