"""Addresses with a user: each of cache, queue and limits works with the rights that docs/scaling.md gives it."""

import re
from collections.abc import Iterator

import pytest
from redis.asyncio import Redis

from app.api import router
from app.core.config import Settings
from app.core.redis import open_any_connection
from app.core.setup import create_application
from app.core.worker.runtime.context import TaskContext
from dev.services import ValkeyServer, temporary_folder
from tests.conftest import Services
from tests.helper import API, Rows, running
from tests.support import tasks_worker
from tests.support.cluster import PRIMARIES, SLOTS, cluster
from tests.support.readme import ROOT

SCALING = (ROOT / "docs" / "scaling.md").read_text()
USERS = dict(re.findall(r"^user (\w+) (.*)$", SCALING, re.MULTILINE))
IN_A_CLUSTER = re.findall(r"Its users need\s+`(.*)` too", SCALING)[0]
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


@pytest.mark.long
async def test_in_a_cluster_the_documented_rights_suffice_and_none_is_unused(services: Services, rows: Rows) -> None:
    with cluster() as nodes:
        everywhere = range(len(nodes.nodes))
        for node in everywhere:
            for user, rules in USERS.items():
                words = ["on", ">p@ss", *PASSWORD.sub("", rules).split(), *IN_A_CLUSTER.split()]
                nodes.send(node, "ACL", "SETUSER", user, "reset", *words)
            nodes.send(node, "CONFIG", "RESETSTAT")
        names = [("CACHE", "cache"), ("RATE_LIMIT", "limits")]
        urls = {f"REDIS_{name}_URL": nodes.url_of(user) for name, user in names}
        limits = {"TASK_RETRY_DELAY_SECONDS": 0.01, "LOGIN_MAX_FAILURES": 2, "DEFAULT_RATE_LIMIT_LIMIT": 2}
        await use_everything(services.settings(**urls, **limits), rows)
        slot = int(nodes.send(0, "CLUSTER", "KEYSLOT", "rate_limit:moves"))
        owner = slot // (SLOTS // PRIMARIES + 1)
        nodes.begin_to_move(slot, owner, (owner + 1) % PRIMARIES)
        async with open_any_connection(nodes.url_of("limits"), name="test", timeout_seconds=1) as connection:
            assert await connection.execute("SET", "rate_limit:moves", "1")
        denied = [each for node in everywhere for each in nodes.send(node, "ACL", "LOG")]
        assert denied == []
        used = {
            name.removeprefix("cmdstat_") for node in everywhere for name in nodes.send(node, "INFO", "commandstats")
        }
    assert set(re.findall(r"\+(\S+)", IN_A_CLUSTER)) <= used
