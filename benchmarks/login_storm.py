"""What logins cost the others: `python -m benchmarks.login_storm`, a real server, everything in one run.

Shown are the waits of a plain GET, first alone and then while 10 clients log in without pause, and the logins per
second without other visitors beside what bare bcrypt makes in as many threads. These two take turns, so that what else
the machine does falls on both; the ratio is the median of the turns, and its range says how far to trust it.
"""

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from statistics import median

import bcrypt
import httpx

from dev.services import POSTGRES_FAST, PostgresServer, ValkeyServer, temporary_folder
from tests.conftest import Services
from tests.support.processes import API_HEALTH, wait_until_ready
from tests.support.readme import ROOT

SECONDS = 8.0
TURNS = 7
TURN_SECONDS = 4.0
CLIENTS = 10
ROUNDS = 12
LIMITS = httpx.Limits(keepalive_expiry=2)
"""The server closes what is idle for 5 seconds, as the clients are while bare bcrypt has its turn."""
PASSWORD = "correct horse battery staple"


def quantiles(waits: Sequence[float]) -> str:
    ordered = sorted(waits)
    middle, late = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)]
    return f"{len(waits)} GETs, p50 {middle * 1000:.1f} ms, p99 {late * 1000:.1f} ms"


async def visit(client: httpx.AsyncClient, until: float) -> list[float]:
    waits = []
    while time.monotonic() < until:
        start = time.monotonic()
        (await client.get("/api/v1/tiers")).raise_for_status()
        waits.append(time.monotonic() - start)
        await asyncio.sleep(0.01)
    return waits


async def log_in(client: httpx.AsyncClient, username: str, until: float) -> int:
    logins = 0
    while time.monotonic() < until:
        answer = await client.post("/api/v1/login", data={"username": username, "password": PASSWORD})
        answer.raise_for_status()
        client.cookies.clear()
        logins += 1
    return logins


async def log_all_in(clients: Sequence[httpx.AsyncClient], seconds: float) -> float:
    """Logins per second, until the last that began in time has its answer."""
    start = time.monotonic()
    logins = (log_in(client, f"client{number}", start + seconds) for number, client in enumerate(clients))
    return sum(await asyncio.gather(*logins)) / (time.monotonic() - start)


def bare_bcrypt(seconds: float) -> float:
    """Checks per second in as many threads as there are cores."""
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(ROUNDS))
    start = time.monotonic()

    def check() -> int:
        done = 0
        while time.monotonic() < start + seconds:
            bcrypt.checkpw(PASSWORD.encode(), hashed)
            done += 1
        return done

    threads = os.cpu_count() or 1
    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(lambda _: check(), range(threads))) / (time.monotonic() - start)


async def compare(clients: Sequence[httpx.AsyncClient]) -> None:
    turns = [(await log_all_in(clients, TURN_SECONDS), bare_bcrypt(TURN_SECONDS)) for _ in range(TURNS)]
    rate, bare = (median(column) for column in zip(*turns, strict=True))
    ratios = sorted(rate / bare for rate, bare in turns)
    print(f"logins: {rate:.2f} a second, bare bcrypt {bare:.2f}")
    print(f"ratio:  {median(ratios):.2f}, from {ratios[0]:.2f} to {ratios[-1]:.2f} in {TURNS} turns")


async def storm(url: str) -> None:
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        visitor = await enter(httpx.AsyncClient(base_url=url, timeout=60, limits=LIMITS))
        clients = [await enter(httpx.AsyncClient(base_url=url, timeout=60, limits=LIMITS)) for _ in range(CLIENTS)]
        for number, client in enumerate(clients):
            body = {"name": "A client", "username": f"client{number}", "email": f"c{number}@example.com"}
            (await client.post("/api/v1/user", json=body | {"password": PASSWORD})).raise_for_status()
        print("alone:       ", quantiles(await visit(visitor, time.monotonic() + SECONDS)))
        waits, _ = await asyncio.gather(visit(visitor, time.monotonic() + SECONDS), log_all_in(clients, SECONDS))
        print("during logins:", quantiles(waits))
        await compare(clients)


def main() -> None:
    with (
        temporary_folder() as folder,
        PostgresServer(folder / "postgres", password="x", options=POSTGRES_FAST) as postgres,
        ValkeyServer(folder / "valkey") as valkey,
        socket.socket() as probe,
    ):
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        environment = Services(postgres, valkey).environment(
            PASSWORD_HASH_ROUNDS=str(ROUNDS), LOGIN_RATE_LIMIT_LIMIT="1000000"
        )
        command = [sys.executable, "-m", "uvicorn", "src.app.main:app", "--port", str(port), "--log-level", "warning"]
        process = subprocess.Popen(command, cwd=ROOT, env=os.environ | environment)
        try:
            wait_until_ready(f"http://127.0.0.1:{port}{API_HEALTH}")
            asyncio.run(storm(f"http://127.0.0.1:{port}"))
        finally:
            process.terminate()
            process.wait()


if __name__ == "__main__":
    main()
