"""Kills processes that submit tasks with their commits, and workers, and counts what is lost and what runs twice.

python -m benchmarks.kill_outbox --tasks 10000 --kills 30

Each submitter writes a number and its task in one transaction, and rolls every tenth back. In the end the numbers in
the database are compared with the tasks that have run.
"""

import argparse
import asyncio
import os
import random
import subprocess
import sys
import time
from contextlib import ExitStack

from sqlalchemy import text

from app.core.config import Settings, settings
from app.core.db.migrate import apply_migrations
from app.core.resources import Resources, open_resources
from app.core.utils.queue import enqueue
from benchmarks.kill_workers import ROOT, TASK_TIMEOUT_SECONDS, start_worker
from dev.services import POSTGRES_FAST, VALKEY_DURABLE, PostgresServer, ValkeyServer, temporary_folder

TABLES = ("CREATE TABLE written (number int PRIMARY KEY)", "CREATE SEQUENCE numbers")
TASK_SECONDS = 0.02
WRITERS = 4
PAUSE_SECONDS = 0.05
"""Before each commit, so that the kills hit open transactions."""


async def submit(tasks: int) -> None:
    """What a submitter does until all numbers are used."""
    async with open_resources(settings, ["work"]) as process, asyncio.TaskGroup() as group:
        for _ in range(WRITERS):
            group.create_task(write(process, tasks))


async def write(process: Resources, tasks: int) -> None:
    if process.database is None:
        raise RuntimeError("the settings have no database")
    while True:
        async with process.database.sessions() as db:
            number = int(await db.scalar(text("SELECT nextval('numbers')")) or 0)
            if number > tasks:
                return
            await db.execute(text("INSERT INTO written VALUES (:number)"), {"number": number})
            await enqueue(db, "work", number, TASK_SECONDS)
            await asyncio.sleep(random.uniform(0, 2 * PAUSE_SECONDS))
            await (db.rollback() if number % 10 == 0 else db.commit())


async def is_done(process: Resources) -> bool:
    if process.database is None or process.queue is None:
        raise RuntimeError("the settings have no database, or no queue")
    waits = await process.database.fetch_one(text("SELECT FROM outbox LIMIT 1")) is not None
    return not waits and not await process.queue.zcard("arq:queue")


def start_submitter(environment: dict[str, str], tasks: int) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "benchmarks.kill_outbox", "--submit", "--tasks", str(tasks)]
    return subprocess.Popen(command, cwd=ROOT, env=environment)


async def run(options: argparse.Namespace, values: Settings, environment: dict[str, str]) -> int:
    await apply_migrations(values)
    begin = time.monotonic()
    async with open_resources(values, ["work"]) as process:
        if process.database is None or process.queue is None:
            raise RuntimeError("the settings have no database, or no queue")
        for statement in TABLES:
            await process.database.execute(text(statement))
        programs = [start_submitter(environment, options.tasks) for _ in range(2)]
        programs += [start_worker(environment) for _ in range(options.workers)]
        try:
            for _ in range(options.kills):
                await asyncio.sleep(random.uniform(1, 4))
                victim = random.randrange(len(programs))
                programs[victim].kill()
                programs[victim].wait()
                is_submitter = victim < 2
                programs[victim] = (
                    start_submitter(environment, options.tasks) if is_submitter else start_worker(environment)
                )
            for program in programs[:2]:
                await asyncio.to_thread(program.wait)
            while not await is_done(process):  # noqa: ASYNC110 - other processes do it
                await asyncio.sleep(0.2)
        finally:
            for program in programs:
                program.kill()
        written = {row.number for row in await process.database.fetch_all(text("SELECT number FROM written"))}
        ends = await process.queue.mget([f"ends:{number}" for number in range(options.tasks + 1)])
    runs = {number: int(count) for number, count in enumerate(ends) if count}
    lost, phantoms = written - runs.keys(), runs.keys() - written
    print(f"numbers {options.tasks}, committed {len(written)}, kills {options.kills}, {time.monotonic() - begin:.1f} s")
    print(f"lost = {len(lost)}")
    print(f"run without a commit = {len(phantoms)}")
    print(f"duplicates (ended twice) = {sum(count > 1 for count in runs.values())}")
    return 1 if lost or phantoms else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--submit", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.submit:
        asyncio.run(submit(options.tasks))
        return 0
    with ExitStack() as stack:
        folder = stack.enter_context(temporary_folder())
        valkey = stack.enter_context(ValkeyServer(folder / "valkey", options=VALKEY_DURABLE))
        postgres = stack.enter_context(PostgresServer(folder / "postgres", password="x", options=POSTGRES_FAST))
        where = {f"REDIS_{part}_PORT": str(valkey.port) for part in ("QUEUE", "CACHE")}
        where |= {f"REDIS_{part}_HOST": valkey.host for part in ("QUEUE", "CACHE")}
        where |= {"POSTGRES_SERVER": postgres.host, "POSTGRES_PORT": str(postgres.port), "POSTGRES_PASSWORD": "x"}
        where |= {"POSTGRES_USER": postgres.user, "POSTGRES_DB": "postgres", "LOG_LEVEL": "ERROR"}
        where |= {"TASK_TIMEOUT_SECONDS": str(TASK_TIMEOUT_SECONDS), "OUTBOX_LEASE_SECONDS": "2"}
        return asyncio.run(run(options, Settings.model_validate(where), os.environ | where))


if __name__ == "__main__":
    raise SystemExit(main())
