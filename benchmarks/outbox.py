"""What a task in the outbox costs: `python -m benchmarks.outbox`.

A registration with and without its task, in turns and in this process; tasks per second; and the size of the table
while as many tasks go through it as `--tasks` says.
"""

import argparse
import asyncio
import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from itertools import count
from statistics import median

import httpx
from sqlalchemy import text

from app.api import router
from app.core.config import OutboxSettings, Settings
from app.core.db.migrate import apply_migrations
from app.core.outbox import Sweep
from app.core.resources import Resources, open_resources
from app.core.setup import create_application
from app.core.utils.queue import enqueue
from dev.services import PostgresServer, ValkeyServer, temporary_folder

ROUND = 10_000
CLIENTS = 16
_STORE = text(
    "INSERT INTO outbox (job_id, function, packed, due_at, claimed_until) "
    "SELECT gen_random_uuid()::text, 'work', :packed, now(), now() FROM generate_series(1, :count)"
)
_SIZE = text("SELECT pg_total_relation_size('outbox') AS size")
_numbers = count(1)


@asynccontextmanager
async def open_client(settings: Settings, *, has_tasks: bool) -> AsyncIterator[httpx.AsyncClient]:
    """A caller of an application in this process; without tasks its outbox knows no function."""
    app = create_application(router=router, settings=settings, create_tables_on_start=False)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="https://localhost/api/v1") as client,
    ):
        if not has_tasks:
            app.state.resources.outbox.functions = frozenset()
        yield client


async def register(client: httpx.AsyncClient) -> float:
    name = f"user{next(_numbers)}"
    body = {"name": "A new user", "username": name, "email": f"{name}@example.com", "password": "correct horse"}
    began = time.perf_counter()
    (await client.post("/user", json=body)).raise_for_status()
    return time.perf_counter() - began


async def compare_requests(settings: Settings, turns: int) -> None:
    async with AsyncExitStack() as stack:
        clients = {
            has_tasks: await stack.enter_async_context(open_client(settings, has_tasks=has_tasks))
            for has_tasks in (False, True)
        }
        seconds: Mapping[bool, list[float]] = {False: [], True: []}
        for _ in range(turns):
            for has_tasks, client in clients.items():
                seconds[has_tasks].append(await register(client))
    without, with_task = (median(seconds[has_tasks]) * 1000 for has_tasks in (False, True))
    print(f"a registration: {without:.2f} ms, with its task {with_task:.2f} ms, ratio {with_task / without:.2f}")


async def size_of(process: Resources) -> float:
    row = await process.database.fetch_one(_SIZE) if process.database else None
    return row.size / 1_000_000 if row else 0.0


async def submit(process: Resources, tasks: int) -> None:
    """Single statements of several clients, and the relay of the process."""
    database = process.database
    if database is None:
        raise RuntimeError("the settings have no database")

    async def client() -> None:
        for _ in range(tasks // CLIENTS):
            await enqueue(database, "work", 1)

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    submitted = time.perf_counter() - began
    while await database.fetch_one(text("SELECT FROM outbox LIMIT 1")):  # noqa: ASYNC110 - the relay empties it
        await asyncio.sleep(0.01)
    sent = time.perf_counter() - began
    print(f"submitted by {CLIENTS} clients: {tasks / submitted:,.0f} tasks per second, sent {tasks / sent:,.0f}")


async def drain(process: Resources, settings: OutboxSettings, tasks: int) -> None:
    """Rounds of rows that a killed process left, each swept by one worker; Redis is emptied after each."""
    database, queue, outbox = process.database, process.queue, process.outbox
    if database is None or queue is None or outbox is None:
        raise RuntimeError("the settings have no outbox")
    packed = outbox.delivery.queue.pack("work", (1,), {}).packed
    sizes, seconds = [], 0.0
    for _ in range(tasks // ROUND):
        await database.execute(_STORE, {"packed": packed, "count": ROUND})
        sweep, began = Sweep(outbox.delivery, settings), time.perf_counter()
        while await sweep.sweep():
            pass
        seconds += time.perf_counter() - began
        sizes.append(await size_of(process))
        await queue.flushdb()
    print(f"swept by one worker: {tasks / seconds:,.0f} tasks per second, in rounds of {ROUND:,}")
    tenths = [sizes[len(sizes) * tenth // 10 - 1] for tenth in range(1, 11)]
    print(f"size of the table after each tenth of {tasks:,} tasks, MB: {', '.join(f'{size:.1f}' for size in tenths)}")


async def run(settings: Settings, options: argparse.Namespace) -> None:
    await apply_migrations(settings)
    await compare_requests(settings, options.turns)
    async with open_resources(settings, ["work"]) as process:
        await submit(process, options.turns * CLIENTS)
        await drain(process, settings, options.tasks)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=500, help="registrations of each kind (%(default)s)")
    parser.add_argument("--tasks", type=int, default=1_000_000, help="tasks through the table (%(default)s)")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = stack.enter_context(temporary_folder())
        valkey = stack.enter_context(ValkeyServer(folder / "valkey"))
        postgres = stack.enter_context(PostgresServer(folder / "postgres", password="x"))
        where = {f"REDIS_{part}_PORT": str(valkey.port) for part in ("QUEUE", "CACHE", "RATE_LIMIT")}
        where |= {f"REDIS_{part}_HOST": valkey.host for part in ("QUEUE", "CACHE", "RATE_LIMIT")}
        where |= {"POSTGRES_SERVER": postgres.host, "POSTGRES_PORT": str(postgres.port), "POSTGRES_PASSWORD": "x"}
        where |= {"POSTGRES_USER": postgres.user, "POSTGRES_DB": "postgres", "LOG_LEVEL": "ERROR"}
        where |= {"PASSWORD_HASH_ROUNDS": "4", "REGISTRATION_RATE_LIMIT_LIMIT": "1000000"}
        os.environ |= where
        asyncio.run(run(Settings.model_validate(where), options))


if __name__ == "__main__":
    main()
