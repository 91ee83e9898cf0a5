"""Addresses with a user: each of cache, queue and limits works with the rights that docs/scaling.md gives it."""

import re
from collections.abc import Iterator

import pytest
from redis.asyncio import Redis

from app.api import router
from app.core.config import Settings
from app.core.setup import create_application
from app.core.worker.runtime.context import TaskContext
from dev.services import ValkeyServer, temporary_folder
from tests.conftest import Services
from tests.helper import API, Rows, running
from tests.support import tasks_worker
from tests.support.readme import ROOT

USERS = dict(re.findall(r"^user (\w+) (.*)$", (ROOT / "docs" / "scaling.md").read_text(), re.MULTILINE))
PASSWORD = re.compile(r">\w+")
RARE = {"append", "lpop", "ltrim", "strlen", "unwatch"}
"""What this test may not lead to: drops of a part of a family, and admissions that are an hour old."""


async def sample_background_task(ctx: TaskContext, name: str) -> str:
    """A quick one with the name of the worker's; its first try fails."""
    if ctx.job_try == 1:
        raise ValueError(name)
    return name


@pytest.fixture
def valkey() -> Iterator[ValkeyServer]:
    with temporary_folder() as folder:
        options = ("--unixsocket", str(folder / "socket"), "--unixsocketperm", "700")
        with ValkeyServer(folder / "valkey", password="of the administrator", options=options) as server:
            yield server


@pytest.fixture
def settings_with_users(services: Services, valkey: ValkeyServer) -> Settings:
    """One server, three users: one comes by its Unix socket."""
    return services.settings(
        REDIS_CACHE_URL=f"unix://cache:p%40ss%2F@{valkey.data.parent}/socket?db=1",
        REDIS_QUEUE_URL=f"redis://queue:p%40ss%2F@127.0.0.1:{valkey.port}/2",
        REDIS_RATE_LIMIT_URL=f"redis://limits:p%40ss%2F@127.0.0.1:{valkey.port}",
        TASK_RETRY_DELAY_SECONDS=0.01,
        LOGIN_MAX_FAILURES=2,
        DEFAULT_RATE_LIMIT_LIMIT=2,
    )


async def use_everything(settings: Settings, rows: Rows) -> None:
    """Reads, writes, limited requests, failed logins, and tasks with their lists."""
    author, superuser = await rows.user(), await rows.superuser()
    app = create_application(router=router, settings=settings)
    async with running(app) as client:
        path = f"{API}/{author.username}/posts?page=1&items_per_page=10"
        body = {"title": "A title", "text": "A text"}
        url = f"{API}/{author.username}/post"
        assert (await client.post(url, json=body, headers=author.headers)).status_code == 201
        assert [(await client.get(path)).headers["X-Cache"] for _ in range(2)] == ["miss", "hit"]
        rename = client.patch(f"{API}/user/{author.username}", json={"username": "other"}, headers=author.headers)
        assert (await rename).status_code == 200
        assert (await client.get(f"{API}/ready")).status_code == 200
        logins = [await client.post(f"{API}/login", data={"username": "x", "password": "y"}) for _ in range(3)]
        assert [response.status_code for response in logins] == [401, 401, 429]
        right = {"username": "other", "password": "correct horse battery staple"}
        assert (await client.post(f"{API}/login", data=right)).status_code == 200
        tasks = [await client.post(f"{API}/tasks/task", params={"message": "x"}) for _ in range(3)]
        assert [response.status_code for response in tasks] == [201, 201, 429]
        await tasks_worker.run_tasks(settings, sample_background_task)
        shown = await client.get(f"{API}/tasks/task/{tasks[0].json()['id']}")
        assert shown.json()["status"] == "complete"
        listed = await client.get(f"{API}/tasks", headers=superuser.headers)
        assert listed.status_code == 200


async def test_the_documented_rights_suffice_and_none_is_unused(
    settings_with_users: Settings, valkey: ValkeyServer, rows: Rows
) -> None:
    async with Redis(port=valkey.port, password=valkey.password) as administrator:
        for user, rules in USERS.items():
            words = ["on", ">p@ss/", *PASSWORD.sub("", rules).split()]
            await administrator.execute_command("ACL", "SETUSER", user, "reset", *words)  # type: ignore[no-untyped-call] # redis is untyped here
        await use_everything(settings_with_users, rows)
        denied = await administrator.acl_log()
        assert [(each["username"], each["object"]) for each in denied] == []
        used = {name.removeprefix("cmdstat_") for name in await administrator.info("commandstats")}
    granted = set(re.findall(r"\+(\S+)", " ".join(USERS.values())))
    assert granted - used <= RARE
