"""python -m dev.chaos [--seconds 120] [--seed 1] [--keep-logs FOLDER]"""

import argparse
import asyncio
import random
import shutil
import sys
import time
from contextlib import suppress
from pathlib import Path

import httpx

from dev.chaos.api import TIMEOUT_SECONDS, Api
from dev.chaos.clients import SessionClient, UserClient
from dev.chaos.cluster import Cluster, open_cluster
from dev.chaos.faults import Schedule
from dev.chaos.outbox import verify_welcomes
from dev.chaos.report import Report
from dev.chaos.tasks import Bucket, LimitedClient, TaskClient, prepare, verify_tasks
from dev.services import temporary_folder

USER_CLIENTS = 4


async def _attack(cluster: Cluster, seconds: float, seed: int) -> Report:
    report, stop = Report(), asyncio.Event()
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=50)
    async with httpx.AsyncClient(timeout=TIMEOUT_SECONDS, limits=limits) as client:
        api = Api(client, cluster.urls, report, random.Random(seed))  # noqa: S311 - a schedule that can be repeated
        root, limited_token, unlimited_token = await prepare(api)
        users = [UserClient(api) for _ in range(USER_CLIENTS)]
        anonymous = LimitedClient(api, Bucket("anonymous callers"))
        limited = LimitedClient(api, Bucket("a user with a rule", limited_token))
        tasks = TaskClient(api, unlimited_token)
        schedule = Schedule(cluster, api, anonymous, report, random.Random(seed))  # noqa: S311
        async with asyncio.TaskGroup() as group:
            for run in (*(user.run for user in users), SessionClient(api).run, anonymous.run, limited.run, tasks.run):
                group.create_task(run(stop))
            await schedule.run(seconds)
            stop.set()
        for user in users:
            await user.verify()
        anonymous.verify()
        limited.verify()
        await verify_tasks(api, root, [*anonymous.tasks, *limited.tasks, *tasks.tasks])
        await verify_welcomes(cluster, report)
    return report


async def _run(options: argparse.Namespace) -> Report:
    with temporary_folder() as folder:
        try:
            async with open_cluster(folder) as cluster:
                return await _attack(cluster, options.seconds, options.seed)
        finally:
            if options.keep_logs:
                options.keep_logs.mkdir(parents=True, exist_ok=True)
                for log in (*folder.glob("*.log"), *folder.glob("*/server.log")):
                    with suppress(OSError):
                        shutil.copy(log, options.keep_logs / f"{log.parent.name}-{log.name}")


def main() -> int:
    """Returns the exit status: 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m dev.chaos", description="Random faults against real processes.")
    parser.add_argument("--seconds", type=float, default=120, help="length of the schedule (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same schedule (%(default)s)")
    parser.add_argument("--keep-logs", type=Path, help="folder for the logs of all processes")
    options = parser.parse_args()
    begin = time.monotonic()
    report = asyncio.run(_run(options))
    print(f"seed {options.seed}, {options.seconds:.0f} s of faults, {time.monotonic() - begin:.0f} s in all")
    print(report.table())
    return int(report.failed)


if __name__ == "__main__":
    sys.exit(main())
