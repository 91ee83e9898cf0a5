"""Kills workers with SIGKILL at random moments and counts what is lost, what runs twice, and how long a restart takes.

python -m benchmarks.kill_workers --tasks 5000 --kills 10
"""

import argparse
import asyncio
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from app.core.config import Settings, settings
from app.core.queue.jobs import JobQueue
from app.core.queue.view import TaskState, TaskStatus, read_task
from app.core.utils import queue
from app.core.worker.runtime.context import TaskContext
from app.core.worker.runtime.reliable import ReliableWorker
from dev.services import VALKEY_DURABLE, ValkeyServer, temporary_folder

ROOT = Path(__file__).resolve().parents[1]
TASK_TIMEOUT_SECONDS = 5


async def work(ctx: TaskContext, number: int, seconds: float) -> int:
    """Leaves a line at each start and at each end: which process, and when."""
    await ctx.cache.append(f"starts:{number}", f"{os.getpid()} {time.time()}\n")
    await asyncio.sleep(seconds)
    await ctx.cache.incr(f"ends:{number}")
    return number


class WorkerSettings(ReliableWorker, settings=settings):
    functions: ClassVar = [work]


@dataclass(frozen=True, slots=True)
class Trace:
    """What is known of one task afterwards."""

    state: TaskState | None
    starts: list[tuple[int, float]]
    ends: int

    def restarts(self, killed: dict[int, float]) -> Iterable[float]:
        """Seconds from a worker's death to the next start of the task that it ran."""
        for (pid, begin), following in zip(self.starts, self.starts[1:], strict=False):
            if pid in killed and begin < killed[pid]:
                yield following[1] - killed[pid]


def start_worker(environment: dict[str, str]) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "arq", "benchmarks.kill_workers.WorkerSettings"]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


async def kill_again_and_again(
    workers: list["subprocess.Popen[bytes]"], options: argparse.Namespace
) -> dict[int, float]:
    """When each killed process died, by its pid."""
    killed = {}
    for _ in range(options.kills):
        await asyncio.sleep(random.uniform(1, 4))
        victim = random.randrange(len(workers))
        workers[victim].kill()
        killed[workers[victim].pid] = time.time()
        workers[victim].wait()
        workers[victim] = start_worker(options.environment)
    return killed


async def read_trace(pool: JobQueue, number: int, task_id: str) -> Trace:
    lines = [line.split() for line in (await pool.get(f"starts:{number}") or b"").decode().splitlines()]
    starts = [(int(pid), float(when)) for pid, when in lines]
    return Trace(await read_task(pool, task_id), starts, int(await pool.get(f"ends:{number}") or 0))


def report(traces: list[Trace], killed: dict[int, float], seconds: float) -> int:
    lost = sum(not (trace.state and trace.state.status is TaskStatus.COMPLETE and trace.ends) for trace in traces)
    restarts = [seconds for trace in traces for seconds in trace.restarts(killed)]
    print(f"tasks {len(traces)}, kills {len(killed)}, {seconds:.1f} s")
    print(f"lost = {lost}")
    print(f"interrupted = {len(restarts)}, started again, duplicates (ended twice) = {sum(t.ends > 1 for t in traces)}")
    if restarts:
        print(f"recovery: median {statistics.median(restarts):.1f} s, longest {max(restarts):.1f} s", end=" ")
        print(f"(promised {TASK_TIMEOUT_SECONDS + 15} s: TASK_TIMEOUT_SECONDS {TASK_TIMEOUT_SECONDS} + 15)")
    return 1 if lost else 0


async def run(options: argparse.Namespace, values: Settings) -> int:
    async with queue.open_queue(values) as pool:
        jobs = [await pool.enqueue_job("work", number, options.seconds) for number in range(options.tasks)]
        begin = time.monotonic()
        workers = [start_worker(options.environment) for _ in range(options.workers)]
        try:
            killed = await kill_again_and_again(workers, options)
            while await pool.zcard("arq:queue"):  # noqa: ASYNC110 - other processes empty it
                await asyncio.sleep(0.1)
        finally:
            for worker in workers:
                worker.kill()
        seconds = time.monotonic() - begin
        traces = [await read_trace(pool, number, job.job_id) for number, job in enumerate(jobs) if job]
    return report(traces, killed, seconds)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=5000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.2, help="how long a task takes")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = stack.enter_context(temporary_folder())
        valkey = stack.enter_context(ValkeyServer(folder / "valkey", options=VALKEY_DURABLE))
        where = {f"REDIS_{part}_PORT": str(valkey.port) for part in ("QUEUE", "CACHE")}
        where |= {f"REDIS_{part}_HOST": valkey.host for part in ("QUEUE", "CACHE")}
        where |= {"TASK_TIMEOUT_SECONDS": str(TASK_TIMEOUT_SECONDS)}
        options.environment = os.environ | where
        return asyncio.run(run(options, Settings.model_validate(where)))


if __name__ == "__main__":
    raise SystemExit(main())
