"""Tasks that are submitted with a commit: what is stored, sent, shown and refused."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from arq.jobs import SerializationError
from sqlalchemy import text

from app.api import router
from app.core.config import (
    AppSettings,
    ConfigurationError,
    CryptSettings,
    EnvironmentSettings,
    OutboxSettings,
    PostgresSettings,
)
from app.core.features import FeatureDisabledError
from app.core.logger import request_id
from app.core.outbox import NewTask, Sweep, TaskRefusedError, delivery, find_task
from app.core.queue.view import TaskState, TaskStatus, read_task
from app.core.resources import Resources, open_resources
from app.core.setup import create_application
from app.core.utils.queue import enqueue
from app.core.worker.functions import send_welcome
from app.core.worker.runtime.context import TaskContext
from app.crud.crud_tier import crud_tiers
from app.models.user import User
from app.schemas.tier import TierCreateInternal, TierRead
from dev.services import ValkeyServer
from tests.conftest import Services
from tests.helper import API, PASSWORD, Rows, eventually, running, unique
from tests.support import outbox
from tests.support import tasks_worker as tasks
from tests.support.readme import blocks
from tests.support.statements import recorded_statements

BREAK = text(
    "UPDATE outbox SET due_at = CAST(CAST(:due_at AS text) AS timestamptz), packed = 'x' "
    "WHERE id = (SELECT min(id) FROM outbox)"
)
JOB_IDS = text("SELECT job_id FROM outbox ORDER BY id")


@pytest.fixture
async def process(services: Services, rows: Rows) -> AsyncIterator[Resources]:
    """What a process has open."""
    async with outbox.process(services.settings()) as resources:
        yield resources


async def waiting(process: Resources) -> list[str]:
    return [row.job_id for row in await outbox.stored(process)]


async def state(process: Resources, job_id: str) -> TaskState:
    found = await read_task(outbox.queue_of(process), job_id)
    assert found, "the queue does not have the task"
    return found


async def is_blocked(process: Resources) -> bool:
    """Whether a statement waits for another transaction."""
    waits = text("SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()")
    return bool(await outbox.database_of(process).fetch_all(waits))


async def released(process: Resources) -> bool:
    """Whether the relay has settled the only row, so that a sweep may claim it."""
    [row] = await outbox.database_of(process).fetch_all(text("SELECT claimed_until <= now() AS is_free FROM outbox"))
    return bool(row.is_free)


class TestWithASession:
    async def test_the_commit_submits(self, process: Resources) -> None:
        async with outbox.database_of(process).sessions() as db:
            job_id = await enqueue(db, tasks.note, 7)
            assert await waiting(process) == []
            assert await read_task(outbox.queue_of(process), job_id) is None
            await db.commit()
        await outbox.emptied(process)
        task = await state(process, job_id)
        assert (task.status, task.function, task.args) == (TaskStatus.QUEUED, "note", [7])

    async def test_a_rollback_does_not(self, process: Resources) -> None:
        async with outbox.database_of(process).sessions() as db:
            job_id = await enqueue(db, tasks.note, 7)
            await db.rollback()
            later = await enqueue(db, tasks.note, 8)
            await db.commit()
        await eventually(lambda: read_task(outbox.queue_of(process), later))
        await outbox.sweep_everything(process)
        assert await read_task(outbox.queue_of(process), job_id) is None

    async def test_a_savepoint_that_is_rolled_back_takes_its_task_along(self, process: Resources) -> None:
        async with outbox.database_of(process).sessions() as db:
            first = await enqueue(db, tasks.note, 1)
            savepoint = await db.begin_nested()
            second = await enqueue(db, tasks.note, 2)
            await savepoint.rollback()
            async with db.begin_nested():
                third = await enqueue(db, tasks.note, 3)
            assert await waiting(process) == []
            await db.commit()
        await outbox.emptied(process)
        found = [await read_task(outbox.queue_of(process), each) for each in (first, second, third)]
        assert [each is not None for each in found] == [True, False, True]

    @pytest.mark.parametrize(("is_kept", "number"), [(True, 1), (False, 2)])
    async def test_an_id_that_an_open_transaction_has(self, process: Resources, is_kept: bool, number: int) -> None:
        """A second task with it waits for the end of that transaction, and is submitted only after a rollback."""
        sessions = outbox.database_of(process).sessions
        async with sessions() as first, sessions() as second:
            await enqueue(first, tasks.note, 1, _job_id="one")
            later = asyncio.create_task(enqueue(second, tasks.note, 2, _job_id="one"))
            await eventually(lambda: is_blocked(process))
            await (first.commit() if is_kept else first.rollback())
            assert await later == "one"
            await second.commit()
        await outbox.emptied(process)
        assert (await state(process, "one")).args == [number]

    async def test_two_transactions_of_one_session(self, process: Resources) -> None:
        async with outbox.database_of(process).sessions() as db:
            for number in range(2):
                job_id = await enqueue(db, tasks.note, number)
                await db.commit()
                await eventually(lambda job_id=job_id: read_task(outbox.queue_of(process), job_id))  # type: ignore[misc] # mypy infers no default

    async def test_a_crud_method_stores_both(self, process: Resources) -> None:
        async with outbox.database_of(process).sessions() as db:
            tier = await crud_tiers.add(
                db, TierCreateInternal(name="new"), TierRead, task=lambda new: NewTask(tasks.note, (new["name"],))
            )
        assert tier.name == "new"
        await outbox.emptied(process)
        assert await outbox.queue_of(process).zcard("arq:queue") == 1

    async def test_the_example_of_the_readme(self, process: Resources) -> None:
        names: dict[str, Any] = {}
        exec(blocks("5.10.3 Tasks and Transactions", "python")[0], names)  # noqa: S102 - the README's own code
        users = [
            User(name="Name", username=name, email=f"{name}@example.com", hashed_password="x")
            for name in (unique("user"), unique("user"))
        ]
        async with outbox.database_of(process).sessions() as db:
            ids = await names["register_two"](db, *users)
        await outbox.emptied(process)
        assert [(await state(process, job_id)).args for job_id in ids] == [[str(user.uuid)] for user in users]


class TestWithTheDatabase:
    async def test_one_statement_submits(self, process: Resources) -> None:
        with recorded_statements(outbox.database_of(process)) as statements:
            job_id = await enqueue(outbox.database_of(process), "note", 7, _defer_by=60)
            assert len(statements) == 1
            await outbox.emptied(process)
        assert sum("DELETE" in each for each in statements) == 1
        task = await state(process, job_id)
        assert (task.status, task.kwargs) == (TaskStatus.DEFERRED, {})
        assert task.score
        assert 55 < task.score / 1000 - datetime.now(UTC).timestamp() < 61

    async def test_a_known_id_is_not_submitted_again(self, process: Resources, services: Services) -> None:
        """It waits in the outbox, it waits in the queue, it has a result."""
        database = outbox.database_of(process)
        async with outbox.paused(process):
            assert await enqueue(database, "note", 1, _job_id="report-7") == "report-7"
            assert await enqueue(database, "note", 2, _job_id="report-7") == "report-7"
            assert await waiting(process) == ["report-7"]
        await outbox.sweep_everything(process)
        await enqueue(database, "note", 3, _job_id="report-7")
        await outbox.emptied(process)
        assert (await state(process, "report-7")).args == [1]
        await tasks.run_tasks(services.settings(), tasks.note)
        await enqueue(database, "note", 4, _job_id="report-7")
        await outbox.emptied(process)
        await tasks.run_tasks(services.settings(), tasks.note)
        assert (await state(process, "report-7")).result == 1
        assert await outbox.queue_of(process).mget(["ended:1", "ended:4"]) == [b"1", None]

    async def test_the_row_names_its_request(self, process: Resources) -> None:
        token = request_id.set("abc")
        try:
            async with outbox.paused(process):
                await enqueue(outbox.database_of(process), "note", 1)
                [row] = await outbox.stored(process)
        finally:
            request_id.reset(token)
        assert (row.request_id, row.traceparent, row.function) == ("abc", None, "note")

    async def test_the_id_decides_who_may_read_it(
        self, process: Resources, client: httpx.AsyncClient, rows: Rows
    ) -> None:
        """Also while it is in the outbox: the same rules as for tasks in the queue."""
        owner, stranger, root = await rows.user(), await rows.user(), await rows.superuser()
        callers: list[Mapping[str, str]] = [{}, owner.headers, stranger.headers, root.headers]
        expected = {
            f"user:{owner.user.id}:report": [404, 200, 404, 200],
            f"{owner.user.id}-{'0' * 32}": [404, 200, 404, 200],
            "report": [404, 404, 404, 200],
            "f" * 32: [200, 200, 200, 200],
        }
        async with outbox.paused(process):
            for job_id, statuses in expected.items():
                await enqueue(outbox.database_of(process), "note", 1, _job_id=job_id)
                responses = [await client.get(f"{API}/tasks/task/{job_id}", headers=each) for each in callers]
                assert [response.status_code for response in responses] == statuses, job_id
                assert await waiting(process), "it is not in the outbox any more"


class TestRefusedBeforeTheCommit:
    @pytest.mark.parametrize(
        ("function", "arguments", "error"),
        [
            ("nonexistent", {}, "no worker has the function 'nonexistent'"),
            (outbox.sweep_everything, {}, "no worker has the function 'sweep_everything'"),
            (7, {}, "is not a function"),
            (tasks.note, {"number": "x" * 70_000}, "OUTBOX_MAX_TASK_BYTES"),
            (tasks.note, {"_job_id": "x" * 101}, "_job_id is a text of 1 to 100 printable characters"),
            (tasks.note, {"_job_id": "\0"}, "_job_id is"),
            (tasks.note, {"_job_id": "\ud800"}, "_job_id is"),
            (tasks.note, {"_job_id": 7}, "_job_id is"),
            (tasks.note, {"_after": ""}, "_after is a text of 1 to 200 printable characters"),
        ],
    )
    async def test_a_task_that_cannot_run(
        self, process: Resources, function: Any, arguments: dict[str, Any], error: str
    ) -> None:
        async with outbox.database_of(process).sessions() as db:
            with pytest.raises(TaskRefusedError, match=error):
                await enqueue(db, function, **arguments)
            await db.commit()
        assert await waiting(process) == []

    async def test_arguments_that_are_not_plain_data(self, process: Resources) -> None:
        with pytest.raises(SerializationError):
            await enqueue(outbox.database_of(process), tasks.note, object())


class TestTable:
    @pytest.mark.parametrize("behind_pgbouncer", [False, True])
    async def test_the_space_of_sent_tasks_is_soon_used_again(
        self, services: Services, rows: Rows, monkeypatch: pytest.MonkeyPatch, behind_pgbouncer: bool
    ) -> None:
        """Behind PgBouncer each statement is in a transaction, where PostgreSQL does not allow VACUUM."""
        monkeypatch.setattr(delivery, "VACUUM_AFTER", 10)
        async with outbox.process(services.settings(DATABASE_PGBOUNCER=behind_pgbouncer)) as process:
            with recorded_statements(outbox.database_of(process)) as statements:
                for number in range(25):
                    await enqueue(outbox.database_of(process), tasks.note, number)
                await outbox.emptied(process)
                await enqueue(outbox.database_of(process), tasks.note, 25)
                await outbox.emptied(process)  # the relay is done with what it did before
        vacuums = [statement for statement in statements if statement == "VACUUM (SKIP_LOCKED) outbox"]
        assert bool(vacuums) == (not behind_pgbouncer)


class TestRegistration:
    async def register(self, client: httpx.AsyncClient, username: str) -> httpx.Response:
        body = {"name": "Name", "username": username, "email": f"{username}@example.com", "password": PASSWORD}
        return await client.post(f"{API}/user", json=body)

    async def test_user_and_task_are_one_statement(
        self, client: httpx.AsyncClient, rows: Rows, services: Services, caplog: pytest.LogCaptureFixture
    ) -> None:
        name = unique("user")
        with recorded_statements(rows.database) as statements:
            response = await self.register(client, name)
        assert response.status_code == 201
        assert response.json().keys() == {"id", "name", "username", "email", "profile_image_url", "tier_id"}
        assert sum("INSERT" in each for each in statements) == 1
        assert (await self.register(client, name)).status_code == 422
        async with outbox.process(services.settings()) as process:
            await outbox.emptied(process)
            assert await outbox.queue_of(process).zcard("arq:queue") == 1
        with caplog.at_level(logging.INFO):
            await tasks.run_tasks(services.settings(), send_welcome)
        assert f"welcome, {name}" in caplog.messages

    async def test_the_user_is_deleted_first(self, process: Resources, services: Services) -> None:
        job_id = await enqueue(outbox.database_of(process), send_welcome, uuid4())
        await outbox.emptied(process)
        await tasks.run_tasks(services.settings(), send_welcome)
        assert (await state(process, job_id)).result == "the user is deleted"

    async def test_redis_is_unavailable(self, services: Services, rows: Rows, tmp_path: Path) -> None:
        """The user is registered, and the task is known, and runs when Redis is available again."""
        root = await rows.superuser()
        with ValkeyServer(tmp_path / "valkey") as valkey:
            settings = services.settings(REDIS_QUEUE_PORT=valkey.port, REDIS_QUEUE_PASSWORD="")
            async with running(create_application(router=router, settings=settings)) as client:
                for fail, repair in ((valkey.kill, valkey.start), (valkey.pause, valkey.resume)):
                    await asyncio.to_thread(fail)
                    async with asyncio.timeout(5):
                        assert (await self.register(client, unique("user"))).status_code == 201
                    async with outbox.process(settings) as process:
                        [job_id] = await waiting(process)
                        path = f"{API}/tasks/task/{job_id}"
                        task = await client.get(path)
                        assert (task.status_code, task.json()["status"]) == (200, "queued")
                        assert (await client.get(f"{API}/tasks/task/{'0' * 32}")).status_code == 503
                        await asyncio.to_thread(repair)
                        await eventually(lambda process=process: outbox.swept(process), 3)  # type: ignore[misc] # mypy infers no default
                        assert (await client.get(path)).json()["status"] == "queued"
                    await tasks.run_tasks(settings, send_welcome)
                    assert (await client.get(path, headers=root.headers)).json()["status"] == "complete"

    async def test_without_an_outbox(self, rows: Rows, services: Services) -> None:
        class NoOutbox(AppSettings, CryptSettings, PostgresSettings, EnvironmentSettings):
            pass

        settings = NoOutbox.model_validate(services.settings().model_dump())
        async with running(create_application(router=router, settings=settings)) as client:
            assert (await self.register(client, unique("user"))).status_code == 201
        async with open_resources(settings) as process:
            with pytest.raises(FeatureDisabledError, match="OutboxSettings"):
                await enqueue(outbox.database_of(process), "note", 1)

    async def test_without_a_queue_the_application_does_not_start(self, rows: Rows, services: Services) -> None:
        class NoQueue(AppSettings, PostgresSettings, OutboxSettings):
            pass

        app = create_application(router=router, settings=NoQueue.model_validate(services.settings().model_dump()))
        with pytest.raises(ConfigurationError, match="OutboxSettings needs RedisQueueSettings"):
            async with app.router.lifespan_context(app):
                pass


class TestSweep:
    async def test_what_a_killed_process_left(self, process: Resources) -> None:
        """Only when its lease has ended, and each row by one sweep."""
        async with outbox.paused(process):
            ids = [await enqueue(outbox.database_of(process), "note", number) for number in range(5)]
        sweep = outbox.sweep_of(process)
        await sweep.sweep()
        assert await waiting(process) == ids
        await outbox.expire_leases(process)
        await asyncio.gather(*(outbox.sweep_of(process).sweep() for _ in range(3)))
        assert await waiting(process) == []
        assert await outbox.queue_of(process).zcard("arq:queue") == 5

    async def test_more_than_one_batch(self, process: Resources) -> None:
        await outbox.store_directly(process, 450)
        assert [await outbox.sweep_of(process).sweep() for _ in range(1)] == [True]
        await outbox.sweep_everything(process)
        assert await waiting(process) == []
        assert await outbox.queue_of(process).zcard("arq:queue") == 450

    @pytest.mark.parametrize("due_at", ["-infinity", "infinity", "20000-01-01"])
    async def test_a_row_that_was_written_by_hand_holds_up_no_other(self, process: Resources, due_at: str) -> None:
        """With a date that Python does not know, and without a task."""
        await outbox.store_directly(process, 3)
        await outbox.database_of(process).execute(BREAK, {"due_at": due_at})
        [job_id, *_] = [row.job_id for row in await outbox.database_of(process).fetch_all(JOB_IDS)]
        found = await find_task(outbox.queue_of(process), process.outbox, job_id)
        assert found
        assert found.function is None
        await outbox.sweep_everything(process)
        assert await outbox.database_of(process).fetch_all(JOB_IDS) == []
        assert await outbox.queue_of(process).zcard("arq:queue") == 3

    async def test_a_task_that_redis_refuses_holds_up_no_other(
        self, services: Services, rows: Rows, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It breaks the connection, and with it each batch that it is sent in."""
        root = await rows.superuser()
        limit = ("--proto-max-bulk-len", "1mb")
        with ValkeyServer(tmp_path / "valkey", options=limit) as valkey:
            settings = services.settings(
                REDIS_QUEUE_PORT=valkey.port, REDIS_QUEUE_PASSWORD="", OUTBOX_MAX_TASK_BYTES=9_000_000
            )
            async with outbox.process(settings) as process:
                async with outbox.paused(process):
                    large = await enqueue(outbox.database_of(process), "note", "x" * 2_000_000)
                    others = [await enqueue(outbox.database_of(process), "note", number) for number in range(3)]
                await outbox.sweep_everything(process)
                assert await waiting(process) == [large]
                for job_id in others:
                    assert (await state(process, job_id)).status is TaskStatus.QUEUED
            async with running(create_application(router=router, settings=settings)) as client:
                tasks = (await client.get(f"{API}/tasks", headers=root.headers)).json()
        assert (tasks["queue_length"], tasks["outbox_length"]) == (3, 1)
        assert [(task["job_id"], task["status"]) for task in tasks["refused"]] == [(large, "queued")]
        assert "invalid bulk length" in tasks["refused"][0]["result"]
        assert sum("Redis refuses the task" in message for message in caplog.messages) == 1

    @pytest.mark.usefixtures("rows")
    async def test_a_redis_that_stores_nothing_is_an_outage(self, services: Services, tmp_path: Path) -> None:
        """Its error replies are not about the tasks: they are sent as soon as it stores them, not a minute later."""
        with ValkeyServer(tmp_path / "valkey") as valkey:
            settings = services.settings(REDIS_QUEUE_PORT=valkey.port, REDIS_QUEUE_PASSWORD="")
            async with outbox.process(settings) as process:
                queue = outbox.queue_of(process)
                for option, broken, working in (("min-replicas-to-write", 1, 0), ("maxmemory", 1, 0)):
                    await queue.config_set(option, broken)
                    job_id = await enqueue(outbox.database_of(process), "note", 1)
                    await eventually(lambda: released(process))
                    [row] = await outbox.stored(process)
                    assert row.error is None
                    await outbox.sweep_of(process).sweep()
                    await queue.config_set(option, working)
                    await outbox.sweep_of(process).sweep()
                    assert (await state(process, job_id)).status is TaskStatus.QUEUED
                    assert await waiting(process) == []


class TestOrder:
    async def test_one_after_another(self, process: Resources, services: Services) -> None:
        """Also where one fails, and next to other keys and tasks without one."""
        log: list[str] = []

        async def fail(ctx: TaskContext, name: str) -> None:
            log.append(f"begin {name}")
            await asyncio.sleep(0.05)
            log.append(f"end {name}")
            if name == "a1":
                raise ValueError(name)

        fail.__qualname__ = "fail"
        database = outbox.database_of(process)
        for name in ("a0", "b0", "a1", "a2", "b1", "a3"):
            await enqueue(database, fail, name, _after=name[0])
        await enqueue(database, fail, "c0")
        settings = services.settings(TASK_MAX_TRIES=1, OUTBOX_SWEEP_SECONDS=0.05)
        async with tasks.working(settings, fail):
            await outbox.emptied(process)
        for key, count in (("a", 4), ("b", 2)):
            of_key = [line for line in log if line.split()[1].startswith(key)]
            assert of_key == [f"{what} {key}{number}" for number in range(count) for what in ("begin", "end")]

    async def test_transactions_with_a_key_wait_for_each_other(self, process: Resources) -> None:
        sessions = outbox.database_of(process).sessions
        async with sessions() as first, sessions() as second, sessions() as other:
            await enqueue(first, "note", 1, _after="key")
            blocked = asyncio.create_task(enqueue(second, "note", 2, _after="key"))
            await enqueue(other, "note", 3, _after="another key")
            await other.commit()
            await asyncio.sleep(0.1)
            assert not blocked.done()
            await first.commit()
            await blocked
            await second.commit()
        assert len(await waiting(process)) == 3


async def test_a_sweep_survives_the_database(services: Services, rows: Rows, caplog: pytest.LogCaptureFixture) -> None:
    async with outbox.process(services.settings(OUTBOX_SWEEP_SECONDS=0.01)) as process:
        database = outbox.database_of(process)
        sweep = Sweep(process.outbox.delivery, OutboxSettings(OUTBOX_SWEEP_SECONDS=0.01)) if process.outbox else None
        assert sweep
        runs = asyncio.create_task(sweep.run())
        await database.execute(text("ALTER TABLE outbox RENAME TO elsewhere"))
        try:
            await asyncio.sleep(0.1)
        finally:
            await database.execute(text("ALTER TABLE elsewhere RENAME TO outbox"))
        await outbox.store_directly(process, 1)
        await eventually(lambda: outbox.is_empty(process))
        sweep.close()
        await runs
    assert sum("the outbox cannot be read" in message for message in caplog.messages) == 1
