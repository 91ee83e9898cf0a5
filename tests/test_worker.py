"""Workers in this process: what counts as a try, what ends a task, what runs on schedule."""

import asyncio
import contextlib
import inspect
import signal
import time
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest
from redis.asyncio import Redis
from sqlalchemy import text

from app.core.config import Settings
from app.core.db.token_blacklist import TokenBlacklist
from app.core.queue.view import TaskState, TaskStatus, read_recent, read_task
from app.core.utils import queue
from app.core.worker import functions
from app.core.worker.runtime.context import TaskContext
from app.core.worker.runtime.handover import HAND_BACK_SECONDS, HANDOVER_FUNCTIONS
from app.core.worker.runtime.reconnect import Patience
from app.core.worker.runtime.reliable import ReliableWorker, limited, scheduled
from app.core.worker.runtime.retries import MAX_LOST_RUNS, RetryPolicy, Task
from app.core.worker.settings import WorkerSettings
from tests.conftest import Services
from tests.helper import Rows
from tests.support import tasks_worker as tasks
from tests.support.forks import run_python

HOUR = timedelta(hours=1)


@pytest.fixture
def quick(services: Services, rows: Rows) -> Settings:
    return services.settings(TASK_MAX_TRIES=3, TASK_RETRY_DELAY_SECONDS=0.02, TASK_TIMEOUT_SECONDS=1)


async def outcome(quick: Settings, task: Task, *args: Any) -> TaskState:
    """What is known of the task after a worker has run it."""
    async with queue.open_queue(quick) as pool:
        job = await pool.enqueue_job(task.__qualname__, *args)
        assert job
        await tasks.run_tasks(quick, task)
        state = await read_task(pool, job.job_id)
        assert state
        return state


class TestTries:
    async def test_an_error_is_tried_again_until_it_succeeds(self, quick: Settings) -> None:
        state = await outcome(quick, tasks.fail, 2)
        assert (state.status, state.result, state.job_try) == (TaskStatus.COMPLETE, "recovered", 3)

    async def test_the_bound_on_tries(self, quick: Settings) -> None:
        state = await outcome(quick, tasks.fail, 99)
        assert (state.status, state.result, state.job_try) == (TaskStatus.FAILED, "ValueError: boom 3", 3)

    async def test_a_task_that_ignores_its_timeout_is_tried_again(self, services: Services, rows: Rows) -> None:
        async def stubborn(ctx: TaskContext) -> str:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(60 if ctx.job_try == 1 else 0)
            await asyncio.sleep(60 if ctx.job_try == 1 else 0)
            return "at last"

        settings = services.settings(TASK_RETRY_DELAY_SECONDS=0.02, TASK_TIMEOUT_SECONDS=1)
        state = await outcome(settings, stubborn)
        assert (state.status, state.result, state.job_try) == (TaskStatus.COMPLETE, "at last", 2)

    @pytest.mark.parametrize(
        ("task", "result"),
        [
            (tasks.leave, "TaskAbortedError: SystemExit: 3"),
            (tasks.cancel_itself, "TaskAbortedError: the task cancelled itself"),
        ],
    )
    async def test_what_would_end_the_worker_ends_the_try(self, quick: Settings, task: Task, result: str) -> None:
        state = await outcome(quick, task)
        assert (state.status, state.result, state.job_try) == (TaskStatus.FAILED, result, 3)

    async def test_nothing_of_an_ended_task_stays_but_its_result(self, quick: Settings, redis: Redis) -> None:
        state = await outcome(quick, tasks.fail, 99)
        keys = {key.decode() async for key in redis.scan_iter("arq:*")}
        assert keys == {f"arq:result:{state.job_id}", "arq:recent:failed"}

    async def test_a_stop_hands_the_task_back_without_a_try(self, quick: Settings) -> None:
        """The next worker starts it at once, again as the first try."""
        started, release = asyncio.Event(), asyncio.Event()

        async def work(ctx: TaskContext) -> None:
            started.set()
            await release.wait()

        async with queue.open_queue(quick) as pool:
            job = await pool.enqueue_job(work.__qualname__)
            assert job
            for _ in range(4):
                async with tasks.burst_worker(quick, [work]) as worker:
                    started.clear()
                    running = asyncio.create_task(worker.async_run())
                    await asyncio.wait_for(started.wait(), 10)
                    worker.handle_sig(signal.SIGTERM)
                    with pytest.raises(asyncio.CancelledError):
                        await running
                state = await read_task(pool, job.job_id)
                assert state
                assert state.status is TaskStatus.QUEUED
            release.set()
            await tasks.run_tasks(quick, work)
            state = await read_task(pool, job.job_id)
        assert state
        assert (state.status, state.job_try) == (TaskStatus.COMPLETE, 1)

    async def test_a_task_that_kills_its_workers_ends_as_failed(self, quick: Settings, redis: Redis) -> None:
        async with queue.open_queue(quick) as pool:
            await pool.enqueue_job("note", 1, _job_id="killer")
            await redis.set("arq:lost-runs:killer", MAX_LOST_RUNS)
            await tasks.run_tasks(quick, tasks.note)
            state = await read_task(pool, "killer")
        assert state
        assert (state.status, state.success) == (TaskStatus.FAILED, False)
        assert state.result == f"WorkerLostError: the worker was lost {MAX_LOST_RUNS} times while it ran this task"

    async def test_a_task_with_unreadable_data_fails_and_the_rest_runs(self, quick: Settings, redis: Redis) -> None:
        async with queue.open_queue(quick) as pool:
            await redis.set("arq:job:garbage", b"\x80not a pickle")
            # What would run code where arq's own reader is used.
            await redis.set("arq:job:exploit", b"cos\nsystem\n(S'touch /tmp/should-not-exist'\ntR.")
            await redis.zadd("arq:queue", {"garbage": 1, "exploit": 1, "gone": 1})
            await pool.enqueue_job("note", 1, 2, 3, 4, _job_id="arguments")
            await pool.enqueue_job("note", 1, _job_id="good")
            await tasks.run_tasks(quick, tasks.note)
            states = [await read_task(pool, i) for i in ("garbage", "exploit", "gone", "arguments", "good")]
            recent = await read_recent(pool, 0, 10, quick.TASK_RESULT_TTL_SECONDS)
        *bad, good = [state for state in states if state]
        assert [state.status for state in bad] == [TaskStatus.FAILED] * 4
        assert [state.function for state in bad[:2]] == ["<unknown>"] * 2
        assert {task.job_id for task in recent.tasks} == {"garbage", "exploit", "arguments", "good"}
        assert str(bad[3].result).startswith("TypeError: note() takes")
        assert good.status is TaskStatus.COMPLETE

    async def test_an_unknown_function_waits_for_a_worker_that_has_it(self, quick: Settings, redis: Redis) -> None:
        """A deploy with a new kind of task: the old worker claims it first, again and again."""
        async with queue.open_queue(quick) as pool:
            await pool.enqueue_job("note", 7, _job_id="new")
            for _ in range(quick.TASK_MAX_TRIES + 1):
                async with tasks.burst_worker(quick, [tasks.hang], max_burst_jobs=1) as old_worker:
                    await old_worker.async_run()
                state = await read_task(pool, "new")
                assert state
                assert (state.status, state.function, state.args) == (TaskStatus.DEFERRED, "note", [7])
                await redis.zadd("arq:queue", {"new": 1})
            await tasks.run_tasks(quick, tasks.note)
            state = await read_task(pool, "new")
        assert state
        assert (state.status, state.result, state.job_try) == (TaskStatus.COMPLETE, 7, 1)
        assert not await redis.exists("arq:unknown-since:new", "arq:lost-runs:new")

    async def test_an_unknown_function_fails_when_its_time_is_over(self, quick: Settings, redis: Redis) -> None:
        async with queue.open_queue(quick) as pool:
            await pool.enqueue_job("no_such_task", 1, two=2, _job_id="unknown")
            await redis.set("arq:unknown-since:unknown", time.time() - HAND_BACK_SECONDS)
            await tasks.run_tasks(quick, tasks.note)
            state = await read_task(pool, "unknown")
            recent = await read_recent(pool, 0, 10, quick.TASK_RESULT_TTL_SECONDS)
        assert state
        assert (state.status, state.function, state.args, state.kwargs) == (
            TaskStatus.FAILED,
            "no_such_task",
            [1],
            {"two": 2},
        )
        assert state.result == "UnknownFunctionError: no worker has the function 'no_such_task'"
        assert recent.tasks == [state]

    def test_back_off_grows_with_jitter_up_to_a_bound(self) -> None:
        policy = RetryPolicy(max_tries=99, timeout=1, first_delay=1)
        for tries, longest in ((1, 1), (2, 2), (5, 16), (50, 300), (5000, 300)):
            delays = [policy.delay(tries) for _ in range(100)]
            assert longest / 2 <= min(delays) < max(delays) <= longest


class TestContext:
    async def test_a_task_can_use_what_an_endpoint_uses(self, quick: Settings, rows: Rows) -> None:
        async def use(ctx: TaskContext) -> list[object]:
            async with ctx.session() as db:
                one = await db.scalar(text("SELECT 1"))
            await ctx.cache.set("a", "b")
            row = await ctx.database.fetch_one(text("SELECT 2"))
            job = await queue.pool.enqueue_job(use.__qualname__, _defer_by=3600)
            return [one, row[0] if row else None, ctx.settings == quick, job is not None, await queue.pool.zcard("x")]

        async with queue.open_queue(quick) as pool:
            job = await pool.enqueue_job(use.__qualname__)
            assert job
            async with tasks.burst_worker(quick, [use], max_burst_jobs=1) as worker:
                await worker.async_run()
            state = await read_task(pool, job.job_id)
        assert state
        assert state.result == [1, 2, True, True, 0]


class TestSchedules:
    async def test_once_for_simultaneous_workers_and_for_one_that_is_late(self, quick: Settings, redis: Redis) -> None:
        async def tick(ctx: TaskContext) -> None:
            await redis.incr("ticks")

        due = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=1)
        schedules = [scheduled(tick, minute=(due.minute + 30) % 60)]

        async def work() -> None:
            async with tasks.burst_worker(quick, [], schedules) as worker:
                [job] = worker.cron_jobs
                job.next_run = due
                await worker.async_run()
                await worker.run_cron(datetime.now(UTC), 0.5)
                await worker.async_run()

        await asyncio.gather(work(), work())
        await work()
        assert await redis.get("ticks") == b"1"

    async def test_the_purge_returns_how_many_entries_it_has_deleted(self, quick: Settings, rows: Rows) -> None:
        async with rows.database.sessions() as db:
            db.add(TokenBlacklist(token="old", expires_at=datetime.now(UTC) - timedelta(hours=1)))
            await db.commit()
        assert (await outcome(quick, functions.purge_token_blacklist)).result == 1

    def test_the_worker_is_set_up_to_purge(self) -> None:
        assert [job.name for job in WorkerSettings.cron_jobs] == ["cron:purge_token_blacklist"]


class TestSettings:
    def test_the_class_has_its_functions_as_arq_runs_them(self) -> None:
        first, welcome, *handover = WorkerSettings.functions
        assert (first.name, inspect.unwrap(first.coroutine)) == (
            "sample_background_task",
            functions.sample_background_task,
        )
        assert (welcome.name, inspect.unwrap(welcome.coroutine)) == ("send_welcome", functions.send_welcome)
        assert handover == list(HANDOVER_FUNCTIONS)

    def test_importing_opens_nothing(self, services: Services) -> None:
        code = "import socket; socket.socket.connect = None; import src.app.core.worker.settings"
        assert run_python("-c", code, environment=services.environment()) == (0, "")

    def test_an_explicit_option_takes_precedence(self, quick: Settings) -> None:
        class Mine(ReliableWorker, settings=quick):
            functions: ClassVar = [tasks.note]
            max_jobs = 3
            poll_delay = 1.0

        assert (vars(Mine)["max_jobs"], vars(Mine)["poll_delay"]) == (3, 1.0)

    async def test_a_timeout_is_an_error_and_can_be_set_per_task(self, services: Services, rows: Rows) -> None:
        settings = services.settings(TASK_RETRY_DELAY_SECONDS=0.02)
        async with queue.open_queue(settings) as pool:
            await pool.enqueue_job("hang", _job_id="hang")
            async with tasks.burst_worker(settings, [limited(tasks.hang, timeout=0.1, max_tries=2)]) as worker:
                await worker.async_run()
            state = await read_task(pool, "hang")
        assert state
        assert (state.result, state.job_try) == ("TimeoutError: not finished within 0.1 seconds", 2)

    async def test_a_killed_workers_task_is_free_in_time(self, services: Services) -> None:
        settings = services.settings(TASK_TIMEOUT_SECONDS=30)
        async with tasks.burst_worker(settings, [tasks.note]) as worker:
            assert worker.in_progress_timeout_s <= 30 + 15 - 1


async def test_a_cancellation_that_a_command_loses_stops_the_worker_all_the_same() -> None:
    patience = Patience(start_seconds=1)
    sent = asyncio.Event()

    async def command() -> str:
        with contextlib.suppress(asyncio.CancelledError):
            sent.set()
            await asyncio.sleep(60)
        return "reply"

    async def main() -> None:
        task = asyncio.current_task()
        assert task
        patience.last_until(task)
        await patience.ride_out(command)
        await asyncio.sleep(60)

    worker = asyncio.create_task(main())
    await sent.wait()
    worker.cancel()
    await asyncio.wait({worker}, timeout=5)
    assert worker.cancelled()
