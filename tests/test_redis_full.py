"""A Redis that is full, or read-only: existing counts remain in force, and `/ready` names the problem."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from app.api import router
from app.core.queue.view import TaskStatus, read_tasks
from app.core.setup import create_application
from app.core.utils import queue
from app.core.worker.runtime.context import TaskContext
from dev.services import ValkeyServer, temporary_folder
from tests.conftest import Services
from tests.helper import API, PASSWORD, Rows, eventually, running, unique
from tests.support import tasks_worker

LIMIT = 10


@pytest.fixture(scope="module")
def own_valkey() -> Iterator[ValkeyServer]:
    with temporary_folder() as folder, ValkeyServer(folder / "valkey") as valkey:
        yield valkey


@pytest.fixture
async def admin(own_valkey: ValkeyServer) -> AsyncIterator[Redis]:
    """The server's configuration; what a test changes is undone."""
    async with Redis(host=own_valkey.host, port=own_valkey.port) as redis:
        await redis.flushall()
        yield redis
        await redis.config_set("maxmemory", "0")
        await redis.config_set("min-replicas-to-write", "0")
        await redis.replicaof("no", "one")


@pytest.fixture(params=[True, False], ids=["fail open", "fail closed"])
async def client(
    request: pytest.FixtureRequest, services: Services, own_valkey: ValkeyServer, admin: Redis, rows: Rows
) -> AsyncIterator[httpx.AsyncClient]:
    settings = services.settings(
        REDIS_RATE_LIMIT_PORT=own_valkey.port,
        REDIS_RATE_LIMIT_PASSWORD="",
        RATE_LIMIT_FAIL_OPEN=request.param,
        LOGIN_RATE_LIMIT_LIMIT=LIMIT,
        LOGIN_MAX_FAILURES=2,
    )
    async with running(create_application(router=router, settings=settings)) as client:
        yield client


async def attempt(client: httpx.AsyncClient, count: int) -> list[int]:
    """The statuses of logins of as many accounts, which do not exist."""
    return [await login(client, unique("nobody"), "wrong password") for _ in range(count)]


async def login(client: httpx.AsyncClient, username: str, password: str) -> int:
    return (await client.post(f"{API}/login", data={"username": username, "password": password})).status_code


async def make_unwritable(admin: Redis, how: str) -> None:
    if how == "full":
        await admin.config_set("maxmemory", "1")
    else:
        await admin.replicaof("127.0.0.1", "1")


@pytest.mark.parametrize("how", ["full", "read-only"])
async def test_limits_while_redis_stores_nothing(
    request: pytest.FixtureRequest, client: httpx.AsyncClient, admin: Redis, how: str
) -> None:
    """Over the limit requests are still refused; under it they are treated as while Redis is unavailable."""
    fails_open = "fail open" in request.node.name
    assert (await client.get(f"{API}/ready")).status_code == 200
    await make_unwritable(admin, how)
    assert await attempt(client, 5) == [401 if fails_open else 503] * 5
    ready = await client.get(f"{API}/ready")
    assert (ready.status_code, ready.json()) == (503, {"detail": "Not ready: rate_limiter"})
    await admin.config_set("maxmemory", "0")
    await admin.replicaof("no", "one")
    await asyncio.sleep(0.3)
    assert await attempt(client, LIMIT + 1) == [401] * LIMIT + [429]
    assert (await client.get(f"{API}/ready")).status_code == 200
    if how == "full":
        await make_unwritable(admin, how)
        assert await attempt(client, 5) == [429] * 5


async def test_the_lockout_while_redis_is_full(
    request: pytest.FixtureRequest, client: httpx.AsyncClient, admin: Redis, rows: Rows
) -> None:
    """A pair that is locked out stays locked out; another one is judged without a lock, or not admitted."""
    fails_open = "fail open" in request.node.name
    await rows.user("locked")
    await rows.user("free")
    assert [await login(client, "locked", "wrong") for _ in range(3)] == [401, 401, 429]
    await make_unwritable(admin, "full")
    assert await login(client, "locked", PASSWORD) == (429 if fails_open else 503)
    assert await login(client, "free", PASSWORD) == (200 if fails_open else 503)
    assert await login(client, "free", "wrong") == (401 if fails_open else 503)


async def test_the_queue_while_redis_is_full(
    services: Services, own_valkey: ValkeyServer, admin: Redis, rows: Rows
) -> None:
    """No task is accepted that is not stored, and tasks that wait can be read."""
    settings = services.settings(REDIS_QUEUE_PORT=own_valkey.port, REDIS_QUEUE_PASSWORD="")
    async with running(create_application(router=router, settings=settings)) as client:
        before = await client.post(f"{API}/tasks/task", params={"message": "x"})
        assert before.status_code == 201
        await make_unwritable(admin, "full")
        refused = await client.post(f"{API}/tasks/task", params={"message": "x"})
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
        ready = await client.get(f"{API}/ready")
        assert (ready.status_code, ready.json()) == (503, {"detail": "Not ready: queue"})
        assert (await client.get(f"{API}/tasks/task/{before.json()['id']}")).json()["status"] == "queued"
        await admin.config_set("maxmemory", "0")
        assert (await client.post(f"{API}/tasks/task", params={"message": "x"})).status_code == 201


async def test_a_worker_waits_while_redis_has_too_few_replicas(
    services: Services, own_valkey: ValkeyServer, admin: Redis, rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    """`min-replicas-to-write`: tasks that wait, that run and that are handed back are neither lost nor run twice."""
    settings = services.settings(
        REDIS_QUEUE_PORT=own_valkey.port, REDIS_QUEUE_PASSWORD="", TASK_RETRY_DELAY_SECONDS=0.01
    )
    may_end, ran = asyncio.Event(), Counter[str]()

    async def work(ctx: TaskContext, name: str) -> str:
        ran[name] += 1
        await may_end.wait()
        if name == "retried" and ctx.job_try == 1:
            raise ValueError(name)
        return name

    async with queue.open_queue(settings) as pool, tasks_worker.working(settings, work):
        early = [await pool.enqueue_job(work.__qualname__, name) for name in ["ends", "retried"]]
        later = await pool.enqueue_job(work.__qualname__, "later", _defer_by=0.5)
        await eventually(lambda: _has(ran, 2), 10)
        await admin.config_set("min-replicas-to-write", "1")
        with pytest.raises(ResponseError, match="NOREPLICAS"):
            await pool.enqueue_job(work.__qualname__, "refused")
        may_end.set()
        await asyncio.sleep(1)
        assert ran["later"] == 0
        await admin.config_set("min-replicas-to-write", "0")
        ids = [job.job_id for job in [*early, later] if job]

        async def are_complete() -> bool:
            states = await read_tasks(pool, ids)
            return [state and state.status for state in states] == [TaskStatus.COMPLETE] * 3

        await eventually(are_complete, 10)
    assert ran == {"ends": 1, "retried": 2, "later": 1}
    assert [text.split(",")[0] for text in caplog.messages if text.startswith("the queue is")] == [
        "the queue is unavailable",
        "the queue is available again",
    ]


async def _has(ran: Counter[str], count: int) -> bool:
    return ran.total() >= count
