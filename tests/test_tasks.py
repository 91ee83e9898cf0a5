"""The endpoints of background tasks: who may read them, every state, and that no task makes them fail."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from arq.constants import job_key_prefix
from arq.jobs import Job as ArqJob
from arq.jobs import SerializationError
from fastapi import FastAPI
from redis.asyncio import Redis

from app.api import router
from app.core.config import Settings
from app.core.queue.jobs import JobQueue
from app.core.setup import create_application
from app.core.utils import queue
from app.core.worker.functions import sample_background_task
from app.core.worker.runtime.context import TaskContext
from dev.services import ValkeyServer
from tests.conftest import Services
from tests.helper import API, Account, Rows, eventually
from tests.support import authorization as may
from tests.support import tasks_worker as tasks
from tests.support.authorization import PathValues


async def arrange(client: httpx.AsyncClient, rows: Rows, owner: Account) -> PathValues:
    task = await client.post(f"{API}/tasks/task", params={"message": "hello"})
    return {"task_id": task.json()["id"]}


AUTHORIZATION = may.Table(
    may.anyone("POST", "/tasks/task", 201, params={"message": "hello"}),
    may.anyone("GET", "/tasks/task/{task_id}"),
    may.superuser("GET", "/tasks"),
    arrange=arrange,
)


KEYS = {
    "job_id",
    "status",
    "function",
    "args",
    "kwargs",
    "job_try",
    "enqueue_time",
    "score",
    "start_time",
    "finish_time",
    "success",
    "result",
    "queue_name",
}


@pytest.fixture
async def pool(application: FastAPI, rows: Rows) -> JobQueue:
    pool: JobQueue = application.state.resources.queue
    return pool


@pytest.fixture
def quick(services: Services) -> Settings:
    return services.settings(TASK_MAX_TRIES=2, TASK_RETRY_DELAY_SECONDS=0.01, TASK_TIMEOUT_SECONDS=1)


async def read(client: httpx.AsyncClient, task_id: str, **options: Any) -> Any:
    response = await client.get(f"{API}/tasks/task/{task_id}", **options)
    assert response.status_code == 200, response.text
    assert response.json().keys() == KEYS
    return response.json()


async def submit(pool: JobQueue, name: str, *args: Any, **options: Any) -> str:
    job = await pool.enqueue_job(name, *args, **options)
    assert job
    return job.job_id


class TestCreateTask:
    async def test_anonymous(self, client: httpx.AsyncClient) -> None:
        response = await client.post(f"{API}/tasks/task", params={"message": "hello"})
        assert response.status_code == 201
        assert response.json().keys() == {"id"}
        task = await read(client, response.json()["id"])
        assert task["function"] == "sample_background_task"
        assert (task["status"], task["args"], task["kwargs"]) == ("queued", ["hello"], {})
        assert task["success"] is task["result"] is task["finish_time"] is None

    async def test_idempotency_key_gives_the_same_id(self, client: httpx.AsyncClient, pool: JobQueue) -> None:
        """Also for simultaneous requests, and also when the first is over."""
        path, headers = f"{API}/tasks/task?message=a", {"Idempotency-Key": "k"}
        responses = await asyncio.gather(*(client.post(path, headers=headers) for _ in range(10)))
        assert {response.status_code for response in responses} == {201}
        assert len({response.json()["id"] for response in responses}) == 1
        assert await pool.zcard("arq:queue") == 1

    async def test_idempotency_key_is_the_callers_own(self, client: httpx.AsyncClient, rows: Rows) -> None:
        ids = set()
        for headers in ({}, (await rows.user()).headers, (await rows.user()).headers):
            response = await client.post(
                f"{API}/tasks/task", params={"message": "a"}, headers={**headers, "Idempotency-Key": "k"}
            )
            ids.add(response.json()["id"])
        assert len(ids) == 3

    async def test_idempotency_keys_of_ipv6_addresses_are_apart(self, application: FastAPI, rows: Rows) -> None:
        """`2001:db8::1` with the key `2:k` and `2001:db8::1:2` with the key `k` have the same characters in a row."""
        ids = set()
        for address, key in (("2001:db8::1", "2:k"), ("2001:db8::1:2", "k")):
            transport = httpx.ASGITransport(application, client=(address, 4711))
            async with httpx.AsyncClient(transport=transport, base_url="https://testserver") as client:
                response = await client.post(f"{API}/tasks/task?message=a", headers={"Idempotency-Key": key})
            ids.add(response.json()["id"])
        assert len(ids) == 2

    async def test_idempotency_key_after_the_task_has_ended(
        self, client: httpx.AsyncClient, quick: Settings, pool: JobQueue
    ) -> None:
        async def sample_background_task(ctx: TaskContext, name: str) -> str:
            return name

        sample_background_task.__qualname__ = "sample_background_task"
        path, headers = f"{API}/tasks/task?message=a", {"Idempotency-Key": "k"}
        first = await client.post(path, headers=headers)
        await tasks.run_tasks(quick, sample_background_task)
        assert (await client.post(path, headers=headers)).json() == first.json()
        assert (await read(client, first.json()["id"]))["status"] == "complete"

    async def test_idempotency_key_for_something_else(self, client: httpx.AsyncClient) -> None:
        for message, status in (("a", 201), ("b", 422)):
            response = await client.post(
                f"{API}/tasks/task", params={"message": message}, headers={"Idempotency-Key": "k"}
            )
            assert response.status_code == status

    async def test_503_while_redis_is_unavailable_and_recovery_afterwards(
        self, services: Services, tmp_path: Path
    ) -> None:
        with ValkeyServer(tmp_path / "valkey") as valkey:
            settings = services.settings(REDIS_QUEUE_PORT=valkey.port, REDIS_QUEUE_PASSWORD="")
            app = create_application(router=router, settings=settings)
            transport = httpx.ASGITransport(app)
            async with (
                app.router.lifespan_context(app),
                httpx.AsyncClient(transport=transport, base_url="https://testserver") as client,
            ):

                async def has_recovered() -> bool:
                    return (await client.post(f"{API}/tasks/task", params={"message": "a"})).status_code == 201

                for fail, mend in ((valkey.pause, valkey.resume), (valkey.kill, valkey.start)):
                    await asyncio.to_thread(fail)
                    async with asyncio.timeout(5):
                        response = await client.post(f"{API}/tasks/task", params={"message": "a"})
                    assert response.status_code == 503
                    assert response.headers["Retry-After"] == "1"
                    assert (await client.get(f"{API}/tasks/task/{'0' * 32}")).status_code == 503
                    await asyncio.to_thread(mend)
                    # While a probe is under way, requests are still refused.
                    await eventually(has_recovered)


class TestGetTask:
    @pytest.mark.parametrize("task_id", ["unknown", "0-" + "0" * 32, "cron:x", "%00", "a" * 101, "%F0%9F%98%80"])
    async def test_unknown(self, client: httpx.AsyncClient, task_id: str) -> None:
        response = await client.get(f"{API}/tasks/task/{task_id}")
        assert response.status_code in {404, 422}
        if response.status_code == 404:
            assert response.json() == {"detail": "Task not found"}

    async def test_an_explicit_job_id_follows_the_owner_rule(
        self, client: httpx.AsyncClient, rows: Rows, pool: JobQueue
    ) -> None:
        """A chosen id can be guessed: only the user that it names may read the task, and superusers."""
        owner, stranger, superuser = await rows.user(), await rows.user(), await rows.superuser()
        own = f"user:{owner.user.id}:report-7"
        unowned = ["report-7", f"{owner.user.id}-report", "2024", "nightly:0-" + "0" * 32, "user:x:y", "user::z"]
        for task_id in (own, *unowned):
            await submit(pool, "note", 1, _job_id=task_id)
        random_id = await submit(pool, "note", 1)

        async def readable(headers: Mapping[str, str]) -> list[str]:
            ids = (own, *unowned, random_id)
            responses = [await client.get(f"{API}/tasks/task/{task_id}", headers=headers) for task_id in ids]
            assert {response.status_code for response in responses} <= {200, 404}
            return [each for each, response in zip(ids, responses, strict=True) if response.status_code == 200]

        assert await readable({}) == await readable(stranger.headers) == [random_id]
        assert await readable(owner.headers) == [own, random_id]
        assert await readable(superuser.headers) == [own, *unowned, random_id]

    async def test_only_its_creator_and_superusers(self, client: httpx.AsyncClient, rows: Rows) -> None:
        owner, stranger, superuser = await rows.user(), await rows.user(), await rows.superuser()
        created = await client.post(f"{API}/tasks/task", params={"message": "secret"}, headers=owner.headers)
        path = f"{API}/tasks/task/{created.json()['id']}"
        assert (await client.get(path, headers=owner.headers)).status_code == 200
        assert (await client.get(path, headers=superuser.headers)).status_code == 200
        for headers in ({}, stranger.headers):
            response = await client.get(path, headers=headers)
            assert (response.status_code, response.json()) == (404, {"detail": "Task not found"})

    async def test_deferred_then_complete(self, client: httpx.AsyncClient, pool: JobQueue, quick: Settings) -> None:
        task_id = await submit(pool, "note", 7, _defer_by=0.3)
        task = await read(client, task_id)
        assert task["status"] == "deferred"
        assert task["score"] > 0
        await tasks.run_tasks(quick, tasks.note)
        task = await read(client, task_id)
        assert (task["status"], task["success"], task["result"], task["job_try"]) == ("complete", True, 7, 1)
        assert task["start_time"] <= task["finish_time"]
        assert task["queue_name"] == "arq:queue"
        assert task["score"] is None

    async def test_in_progress(self, client: httpx.AsyncClient, pool: JobQueue, quick: Settings) -> None:
        task_id = await submit(pool, "note", 1, 0.5)
        async with tasks.burst_worker(quick, [tasks.note]) as worker:
            running = asyncio.create_task(worker.async_run())
            await eventually(lambda: pool.exists("started:1"))
            task = await read(client, task_id)
            await running
        assert (task["status"], task["job_try"], task["result"]) == ("in_progress", 1, None)

    async def test_failed_shows_type_and_message(
        self, client: httpx.AsyncClient, pool: JobQueue, quick: Settings
    ) -> None:
        task_id = await submit(pool, "fail", 5)
        await tasks.run_tasks(quick, tasks.fail)
        task = await read(client, task_id)
        assert (task["status"], task["success"], task["job_try"]) == ("failed", False, 2)
        assert task["result"] == "ValueError: boom 2"

    async def test_any_argument_and_any_result_can_be_shown(
        self, client: httpx.AsyncClient, pool: JobQueue, quick: Settings
    ) -> None:
        odd = [
            datetime(2026, 1, 1, tzinfo=UTC),
            UUID(int=1),
            Decimal("1.50"),
            b"\xff\x00",
            {1, 2},
            (1, "\ud800"),
            {1: float("nan"), "n": 2**80},
        ]

        async def echo(ctx: TaskContext, value: object) -> object:
            assert value == odd or repr(value) == repr(odd)
            return value

        echoed = await submit(pool, echo.__qualname__, odd)
        returned = await submit(pool, "return_anything")
        await tasks.run_tasks(quick, echo, tasks.return_anything)
        task = await read(client, echoed)
        assert task["success"]
        assert task["args"] == [task["result"]]
        assert task["result"][:3] == ["2026-01-01T00:00:00Z", str(UUID(int=1)), "1.50"]
        task = await read(client, returned)
        assert task["success"]
        assert task["result"].startswith("<object object")

    async def test_arguments_that_are_not_plain_data_are_refused_at_once(self, pool: JobQueue) -> None:
        with pytest.raises(SerializationError):
            await pool.enqueue_job("note", object())

    async def test_results_expire(
        self, client: httpx.AsyncClient, pool: JobQueue, services: Services, redis: Redis
    ) -> None:
        task_id = await submit(pool, "note", 1)
        await tasks.run_tasks(services.settings(TASK_RESULT_TTL_SECONDS=1), tasks.note)
        await read(client, task_id)
        await asyncio.sleep(1.1)
        assert (await client.get(f"{API}/tasks/task/{task_id}")).status_code == 404
        assert not [key async for key in redis.scan_iter("arq:*") if b"recent" not in key]

    async def test_arqs_own_reader_works(self, pool: JobQueue) -> None:
        """The README reads a task by `ArqJob(task_id, queue.pool).info()`."""
        info = await ArqJob(await submit(pool, "note", 7), queue.pool).info()
        assert info
        assert (info.function, info.args) == ("note", (7,))


class TestGetTasks:
    async def test_only_superusers(self, client: httpx.AsyncClient, rows: Rows) -> None:
        assert (await client.get(f"{API}/tasks")).status_code == 401
        user, superuser = await rows.user(), await rows.superuser()
        assert (await client.get(f"{API}/tasks", headers=user.headers)).status_code == 403
        assert (await client.get(f"{API}/tasks", headers=superuser.headers)).json() == {
            "queue_length": 0,
            "outbox_length": 0,
            "refused": [],
            "in_progress": [],
            "data": [],
            "total_count": 0,
            "has_more": False,
            "page": 1,
            "items_per_page": 10,
        }

    async def test_what_waits_what_runs_and_what_ended_failures_first(
        self, client: httpx.AsyncClient, rows: Rows, pool: JobQueue, quick: Settings
    ) -> None:
        superuser = await rows.superuser()
        await pool.set(job_key_prefix + "poison", b"not a job")
        await pool.zadd("arq:queue", {"poison": 1})
        failed = await submit(pool, "fail", 5)
        for number in range(3):
            await submit(pool, "note", number, _job_id=f"note-{number}")
        await tasks.run_tasks(quick, tasks.note, tasks.fail)
        await submit(pool, "note", 9, _defer_by=60)
        running = await submit(pool, "note", 8)
        await pool.set(f"arq:in-progress:{running}", b"1")
        seen: list[Any] = []
        for page in (1, 2, 3):
            params = {"page": page, "items_per_page": 2}
            response = await client.get(f"{API}/tasks", headers=superuser.headers, params=params)
            assert response.status_code == 200, response.text
            body = response.json()
            assert (body["queue_length"], body["total_count"], body["has_more"]) == (2, 5, page < 3)
            assert [task["job_id"] for task in body["in_progress"]] == [running]
            seen += body["data"]
        assert {task["job_id"] for task in seen[:2]} == {"poison", failed}
        assert {task["job_id"] for task in seen[2:]} == {"note-0", "note-1", "note-2"}
        assert all(task["duration_seconds"] >= 0 for task in seen)

    async def test_more_than_a_hundred_running_tasks_of_many_workers(
        self, client: httpx.AsyncClient, rows: Rows, pool: JobQueue
    ) -> None:
        superuser = await rows.superuser()
        waiting = {f"waiting-{number:03}": 2_000 + number for number in range(150)}
        running = {f"running-{number:03}": 1_000 + number for number in range(230)}
        await pool.zadd("arq:queue", {**waiting, **running})
        await pool.mset({f"arq:in-progress:{name}": b"1" for name in running})
        body = (await client.get(f"{API}/tasks", headers=superuser.headers)).json()
        assert body["queue_length"] == 380
        assert [task["job_id"] for task in body["in_progress"]] == list(running)

    async def test_openapi_lists_all_statuses(self, application: FastAPI) -> None:
        paths = application.openapi()["paths"]
        assert {"200", "401", "403", "422", "503"} <= paths[f"{API}/tasks"]["get"]["responses"].keys()
        assert {"201", "422", "429", "503"} <= paths[f"{API}/tasks/task"]["post"]["responses"].keys()


async def test_the_sample_task_logs_that_it_is_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    async def no_sleep(seconds: float) -> None:
        assert seconds == 5

    monkeypatch.setattr(asyncio, "sleep", no_sleep)
    assert await sample_background_task(TaskContext(), "x") == "Task x is complete!"
