"""The processes of the product, and how each one is broken and repaired."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM, Signals

import httpx

from dev.chaos.proxy import Proxy, open_proxy
from dev.local.ports import free_port
from dev.services import VALKEY_DURABLE, PostgresServer, Server, ValkeyServer, server_variables

PROJECT = Path(__file__).resolve().parents[2]
ADMIN = {"username": "admin", "password": "a password of the chaos run"}
LIMIT, PERIOD = 5, 10
"""Of anonymous callers; a rule of the same size is set for a user."""
START_SECONDS = 60.0
POSTGRES_PASSWORD = "chaos"  # noqa: S105 - of servers that live as long as the run
CONNECTIONS = ("-c", "max_connections=200")
TOKEN_MINUTES = 24 * 60


class Program:
    """A process of ours that can be killed, frozen and started again."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str], folder: Path) -> None:
        self.name = name
        self._command = command
        self._environment = environment
        self._log = folder / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=PROJECT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def send(self, signal: Signals) -> None:
        if self._process and self._process.poll() is None:
            self._process.send_signal(signal)

    def kill(self) -> None:
        self.send(SIGKILL)
        if self._process:
            self._process.wait()

    def restart_if_ended(self) -> None:
        """What a supervisor does."""
        if self._process is None or self._process.poll() is not None:
            self.start()

    def freeze(self) -> None:
        self.send(SIGSTOP)

    def thaw(self) -> None:
        self.send(SIGCONT)

    def stop(self) -> None:
        self.thaw()
        self.send(SIGTERM)
        if self._process:
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()


@dataclass(frozen=True, slots=True)
class Cluster:
    """Everything that runs, by its role."""

    servers: Mapping[str, Server]
    proxies: Mapping[str, Proxy]
    webs: Sequence[Program]
    workers: Sequence[Program]
    urls: Sequence[str]
    settings: Mapping[str, str]

    async def wait_until_ready(self) -> None:
        """Returns when each web server says that everything it needs is there."""
        async with httpx.AsyncClient(timeout=5) as client, asyncio.timeout(START_SECONDS):
            for url in self.urls:
                while not await is_ready(client, url):  # noqa: ASYNC110 - it becomes true in another process
                    await asyncio.sleep(0.1)


async def is_ready(client: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await client.get(f"{url}/ready")).is_success
    except httpx.HTTPError:
        return False


def _settings(servers: Mapping[str, Server], proxies: Mapping[str, Proxy]) -> dict[str, str]:
    values = {
        "ENVIRONMENT": "local",
        "SECRET_KEY": "a secret of the chaos run, long enough for everything",
        "PASSWORD_HASH_ROUNDS": "4",
        "ADMIN_USERNAME": ADMIN["username"],
        "ADMIN_PASSWORD": ADMIN["password"],
        "RATE_LIMIT_FAIL_OPEN": "false",
        "DEFAULT_RATE_LIMIT_LIMIT": str(LIMIT),
        "DEFAULT_RATE_LIMIT_PERIOD": str(PERIOD),
        "REGISTRATION_RATE_LIMIT_LIMIT": "100000",
        "LOGIN_RATE_LIMIT_LIMIT": "100000",
        "ACCESS_TOKEN_EXPIRE_MINUTES": str(TOKEN_MINUTES),
        "TASK_RESULT_TTL_SECONDS": str(TOKEN_MINUTES * 60),
        "TASK_TIMEOUT_SECONDS": "8",
        "LOG_LEVEL": "WARNING",
    }
    behind_proxies = {
        "POSTGRES_PORT": str(proxies["postgres"].port),
        "REDIS_CACHE_PORT": str(proxies["cache"].port),
        "REDIS_QUEUE_PORT": str(proxies["queue"].port),
        "REDIS_RATE_LIMIT_PORT": str(proxies["queue"].port),
    }
    return values | server_variables(servers["postgres"], servers["cache"]) | behind_proxies


def _programs(environment: Mapping[str, str], folder: Path) -> tuple[list[Program], list[Program], list[str]]:
    webs, urls = [], []
    for number in (1, 2):
        port = free_port()
        command = [sys.executable, "-m", "uvicorn", "src.app.main:app", "--port", str(port), "--log-level", "warning"]
        webs.append(Program(f"web-{number}", command, environment, folder))
        urls.append(f"http://127.0.0.1:{port}/api/v1")
    arq = [sys.executable, "-m", "arq", "src.app.core.worker.settings.WorkerSettings"]
    workers = [Program(f"worker-{number}", arq, environment, folder) for number in (1, 2)]
    return webs, workers, urls


@asynccontextmanager
async def open_cluster(folder: Path) -> AsyncIterator[Cluster]:
    """Starts everything in the folder, and stops it in reverse."""
    async with AsyncExitStack() as stack:
        servers: dict[str, Server] = {
            "postgres": PostgresServer(folder / "postgres", password=POSTGRES_PASSWORD, options=CONNECTIONS),
            "cache": ValkeyServer(folder / "cache"),
            "queue": ValkeyServer(folder / "queue", options=VALKEY_DURABLE),
        }
        for server in servers.values():
            await asyncio.to_thread(server.start)
            stack.push_async_callback(asyncio.to_thread, server.stop)
        proxies = {name: await stack.enter_async_context(open_proxy(each.port)) for name, each in servers.items()}
        settings = _settings(servers, proxies)
        environment = os.environ | settings
        create = [sys.executable, "-m", "src.scripts.create_first_superuser"]
        await asyncio.to_thread(subprocess.run, create, cwd=PROJECT, env=environment, check=True, capture_output=True)
        webs, workers, urls = _programs(environment, folder)
        for program in (*webs, *workers):
            program.start()
            stack.push_async_callback(asyncio.to_thread, program.stop)
        cluster = Cluster(servers, proxies, webs, workers, urls, settings)
        await cluster.wait_until_ready()
        yield cluster
