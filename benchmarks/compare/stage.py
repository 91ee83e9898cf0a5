"""What both applications run on: one PostgreSQL, one Valkey, the same rows, one uvicorn worker each."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

import asyncpg
import bcrypt
import httpx

from benchmarks.compare.cores import Cores, pin
from dev.local.children import HTTP_PROTOCOL
from dev.local.ports import free_port
from dev.local.processes import wait_until
from dev.services import POSTGRES_FAST, PostgresServer, ServiceError, ValkeyServer, server_variables, temporary_folder

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
class Servers:
    """PostgreSQL with the rows in the databases `ours` and `bare`, Valkey, and what the applications are told."""

    postgres: PostgresServer
    valkey: ValkeyServer
    variables: Mapping[str, str]
    cores: Cores
    log: Path
    """What the applications print; it goes with the servers' folder."""


@dataclass(frozen=True, slots=True)
class Application:
    """A running web server; `redis_db` is its own number in Valkey."""

    name: str
    port: int
    redis_db: int
    pid: int


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything is running; the token is good for all. `coalescing` is the comparison with our HTTP protocol."""

    servers: Servers
    bare: Application
    coalescing: Application
    ours: Application
    token: str


def environment(postgres: PostgresServer, valkey: ValkeyServer) -> dict[str, str]:
    """The template's settings and the address of the comparison's database."""
    values = {
        "ENVIRONMENT": "local",
        "LOG_LEVEL": "ERROR",
        "SECRET_KEY": SECRET_KEY,
        "ACCESS_TOKEN_EXPIRE_MINUTES": "1440",
        "POSTGRES_DB": "ours",
        "BARE_POSTGRES_URL": url_of(postgres, "bare"),
    }
    return os.environ | server_variables(postgres, valkey) | values


def url_of(postgres: PostgresServer, database: str) -> str:
    return f"postgresql://{postgres.user}:{postgres.password}@{postgres.host}:{postgres.port}/{database}"


async def execute(postgres: PostgresServer, database: str, sql: str) -> None:
    connection = await asyncpg.connect(url_of(postgres, database))
    try:
        await connection.execute(sql)
    finally:
        await connection.close()


def _fill(postgres: PostgresServer, variables: Mapping[str, str]) -> None:
    """Migrates a database by Alembic, stores the rows, and copies it for the comparison."""
    asyncio.run(execute(postgres, "postgres", "CREATE DATABASE ours"))
    command = [sys.executable, "-m", "alembic", "upgrade", "head"]
    subprocess.run(command, cwd=ROOT / "src", env=variables, check=True, capture_output=True)
    hashed_password = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    asyncio.run(execute(postgres, "ours", _ROWS % hashed_password))
    asyncio.run(execute(postgres, "ours", "VACUUM ANALYZE"))
    asyncio.run(execute(postgres, "postgres", "CREATE DATABASE bare TEMPLATE ours"))
    # The comparison keeps no totals; it would not pay for them.
    asyncio.run(
        execute(postgres, "bare", 'ALTER TABLE post DISABLE TRIGGER USER; ALTER TABLE "user" DISABLE TRIGGER USER')
    )


@contextmanager
def open_servers(cores: Cores) -> Iterator[Servers]:
    """Starts PostgreSQL and Valkey away from the web server's core, and stores the rows."""
    with ExitStack() as stack:
        folder = stack.enter_context(temporary_folder())
        server = PostgresServer(folder / "postgres", password=uuid4().hex, options=POSTGRES_FAST)
        postgres = stack.enter_context(server)
        valkey = stack.enter_context(ValkeyServer(folder / "valkey"))
        for pid in (os.getpid(), postgres.pid, valkey.pid):
            pin(pid, cores.others)
        variables = environment(postgres, valkey)
        _fill(postgres, variables)
        yield Servers(postgres, valkey, variables, cores, folder / "applications.log")


@contextmanager
def run_bare(servers: Servers, http: str = "auto", redis_db: int = 1) -> Iterator[Application]:
    url = f"redis://{servers.valkey.host}:{servers.valkey.port}/{redis_db}"
    changed = replace(servers, variables={**servers.variables, "BARE_REDIS_URL": url})
    command = ["uvicorn", "benchmarks.compare.bare.app:app", "--http", http]
    with _run(changed, "bare", command, redis_db) as application:
        yield application


@contextmanager
def run_ours(servers: Servers, module: str = "uvicorn", **variables: str) -> Iterator[Application]:
    """`module` takes uvicorn's arguments; `variables` are settings of the template."""
    changed = replace(servers, variables={**servers.variables, **variables})
    command = [module, "src.app.main:app", "--http", HTTP_PROTOCOL]
    with _run(changed, "ours", command, int(variables.get("REDIS_CACHE_DB", "0"))) as application:
        yield application


@contextmanager
def _run(servers: Servers, name: str, arguments: Sequence[str], redis_db: int) -> Iterator[Application]:
    port = free_port()
    command = [sys.executable, "-m", *arguments, "--port", str(port), "--log-level", "warning", "--no-access-log"]
    with servers.log.open("ab") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=servers.variables, stdout=log, stderr=subprocess.STDOUT)
    try:
        pin(process.pid, servers.cores.server)
        _wait_for(process, port, servers.log)
        yield Application(name, port, redis_db, process.pid)
    finally:
        process.terminate()
        process.wait(20)


def _wait_for(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    def responds() -> bool:
        if process.poll() is not None:
            raise ServiceError(f"{process.args!r} ended with status {process.returncode}.\n{log.read_text()}")
        try:
            return client.get(f"http://127.0.0.1:{port}/api/v1/user/{USERNAME}").is_success
        except httpx.TransportError:
            return False

    with httpx.Client() as client:
        has_started = wait_until(responds, START_SECONDS)
    if not has_started:
        raise ServiceError(f"{process.args!r} does not respond within {START_SECONDS} s.")


def log_in(ours: Application) -> str:
    """An access token."""
    form = {"username": USERNAME, "password": PASSWORD}
    response = httpx.post(f"http://127.0.0.1:{ours.port}/api/v1/login", data=form).raise_for_status()
    token: str = response.json()["access_token"]
    return token


@contextmanager
def open_stage(cores: Cores) -> Iterator[Stage]:
    """Starts servers and applications, and stops them at the end."""
    with (
        open_servers(cores) as servers,
        run_bare(servers) as bare,
        run_bare(servers, HTTP_PROTOCOL, redis_db=2) as coalescing,
        run_ours(servers) as ours,
    ):
        yield Stage(servers, bare, coalescing, ours, log_in(ours))
