"""The cache of several processes: races, and a Redis that is killed, frozen or disconnected."""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import httpx
import pytest

from app.core.config import Settings
from app.core.db.database import open_database
from dev.local.ports import free_port
from dev.services import POSTGRES_FAST, PostgresServer, ValkeyServer, temporary_folder
from tests.conftest import Services
from tests.helper import API, Account, Rows, unique
from tests.support.processes import web_servers

ROUNDS = int(os.environ.get("CACHE_RACE_ROUNDS", "300"))
RETURN_SECONDS = 2.0
SLACK_SECONDS = 0.1
"""For a busy machine, on top of what is promised."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Two processes on the same servers, and a third whose Redis address is unreachable."""

    services: Services
    addresses: tuple[str, str]
    cut_off: str


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(temporary_folder())
        postgres = PostgresServer(folder / "postgres", password="x", options=POSTGRES_FAST)
        services = Services(stack.enter_context(postgres), stack.enter_context(ValkeyServer(folder / "valkey")))
        normal, cut_off = services.environment(), services.environment(REDIS_CACHE_PORT=str(free_port()))
        first, second, third = stack.enter_context(web_servers(normal, normal, cut_off))
        yield Stage(services, (f"{first}{API}", f"{second}{API}"), f"{third}{API}")


@pytest.fixture
async def http(anyio_backend: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=10, limits=httpx.Limits(max_connections=200)) as client:
        yield client


@pytest.fixture
async def author(stage: Stage) -> Account:
    settings: Settings = stage.services.settings()
    async with open_database(settings) as database:
        return await Rows(database, settings).user(unique("author"))


async def timed(http: httpx.AsyncClient, url: str) -> tuple[float, httpx.Response]:
    began = time.perf_counter()
    response = await http.get(url)
    return time.perf_counter() - began, response


async def rename(http: httpx.AsyncClient, address: str, author: Account, name: str) -> None:
    url = f"{address}/user/{author.username}"
    assert (await http.patch(url, json={"name": name}, headers=author.headers)).status_code == 200


async def name_at(http: httpx.AsyncClient, address: str, author: Account) -> str:
    return str((await http.get(f"{address}/user/{author.username}")).json()["name"])


async def wait_for_hits(http: httpx.AsyncClient, address: str, author: Account) -> float:
    began = time.monotonic()
    while time.monotonic() - began < 10:
        response = await http.get(f"{address}/user/{author.username}")
        if response.headers["X-Cache"] == "hit":
            return time.monotonic() - began
        await asyncio.sleep(0.02)
    raise TimeoutError("nothing is cached any more")


async def test_no_read_after_a_write_is_stale(stage: Stage, http: httpx.AsyncClient, author: Account) -> None:
    """Two reading processes and one writer: a read that begins after a write's response never returns older data."""
    path = f"{author.username}/post"
    values = {"title": "0000", "text": "text"}
    created = await http.post(f"{stage.addresses[0]}/{path}", json=values, headers=author.headers)
    written, done, reads = 0, False, 0

    async def read(url: str) -> None:
        nonlocal reads
        while not done:
            least = written
            body = (await http.get(url)).json()
            seen = int((body["data"][0] if "data" in body else body)["title"])
            assert seen >= least, url
            reads += 1

    async def write() -> None:
        nonlocal written, done
        try:
            for number in range(1, ROUNDS + 1):
                url = f"{stage.addresses[number % 2]}/{path}/{created.json()['id']}"
                response = await http.patch(url, json={"title": f"{number:04}"}, headers=author.headers)
                assert response.status_code == 200
                written = number
                await asyncio.sleep(0)
        finally:
            done = True

    urls = [f"{each}/{part}" for each in stage.addresses for part in (f"{path}/{created.json()['id']}", f"{path}s")]
    await asyncio.gather(write(), *(read(url) for url in urls))
    assert reads >= ROUNDS


async def test_a_rename_during_another_write_leaves_no_entry_of_another_user(
    stage: Stage, http: httpx.AsyncClient
) -> None:
    """Each response of both processes is the database's state after all writes, under every name.

    While readers fill the cache under both names, the user is renamed twice at once, changed and given a post.
    """
    settings: Settings = stage.services.settings()
    one, two = stage.addresses
    async with open_database(settings) as database:
        rows = Rows(database, settings)
        for number in range(max(10, ROUNDS // 20)):
            account = await rows.user()
            post = await rows.post(account)
            old, names = account.username, [f"{account.username}x{each}" for each in "ab"]
            kinds = ("user/{}", "{}/posts", f"{{}}/post/{post.id}")
            paths = [kind.format(name) for name in (old, *names) for kind in kinds]
            done = asyncio.Event()
            readers = [
                asyncio.create_task(_read_until(done, http, f"{address}/{path}"))
                for address in (one, two)
                for path in paths
            ]
            await asyncio.sleep(0.005 * (number % 3))
            changes = [
                http.patch(f"{one}/user/{old}", json={"username": names[0]}, headers=account.headers),
                http.patch(f"{two}/user/{old}", json={"username": names[1]}, headers=account.headers),
                http.patch(f"{two}/user/{old}", json={"name": "Changed"}, headers=account.headers),
                http.post(f"{one}/{old}/post", json={"title": "New", "text": "text"}, headers=account.headers),
            ]
            responses = await asyncio.gather(*changes)
            assert {response.status_code for response in responses} <= {200, 201, 403, 404, 503}
            done.set()
            await asyncio.gather(*readers)
            for path in paths:
                truth = await http.get(f"{stage.cut_off}/{path}")
                for address in (one, two):
                    seen = await http.get(f"{address}/{path}")
                    assert (seen.status_code, seen.content) == (truth.status_code, truth.content), path


async def _read_until(done: asyncio.Event, http: httpx.AsyncClient, url: str) -> None:
    while not done.is_set():
        await http.get(url)


@pytest.mark.alone
async def test_simultaneous_misses_on_two_processes_run_once(
    stage: Stage, http: httpx.AsyncClient, author: Account
) -> None:
    """Of 100 cold requests one or two are misses, and the others get what those stored."""
    urls = [f"{stage.addresses[number % 2]}/user/{author.username}" for number in range(100)]
    responses = await asyncio.gather(*map(http.get, urls))
    assert 1 <= [response.headers["X-Cache"] for response in responses].count("miss") <= 2


async def test_a_write_that_cannot_reach_redis_is_respected_by_all(
    stage: Stage, http: httpx.AsyncClient, author: Account
) -> None:
    """Only the writer is disconnected from Redis; the others serve nothing older after its response."""
    for number in range(10):
        for address in stage.addresses:
            await wait_for_hits(http, address, author)
        await rename(http, stage.cut_off, author, f"Name {number}")
        names = await asyncio.gather(*(name_at(http, address, author) for address in stage.addresses))
        assert set(names) == {f"Name {number}"}


@pytest.mark.alone
@pytest.mark.parametrize(("outage", "bound"), [("killed", 0.05), ("frozen", 0.3)])
async def test_an_outage(stage: Stage, http: httpx.AsyncClient, author: Account, outage: str, bound: float) -> None:
    """Reads go on within the bound, writes succeed, and afterwards hits return soon, with nothing from before."""
    valkey = stage.services.valkey
    one, two = stage.addresses
    url = f"{one}/user/{author.username}"
    await wait_for_hits(http, one, author)
    await wait_for_hits(http, two, author)
    usual, _ = await timed(http, f"{stage.cut_off}/user/{author.username}")
    valkey.kill() if outage == "killed" else valkey.pause()
    try:
        slowest = 0.0
        for _ in range(20):
            seconds, response = await timed(http, url)
            assert response.status_code == 200
            slowest = max(slowest, seconds)
        assert slowest <= usual + bound + SLACK_SECONDS
        await rename(http, one, author, f"During {outage}")
    finally:
        valkey.start() if outage == "killed" else valkey.resume()
    # The second process used nothing during the outage, and so did not notice it.
    assert await name_at(http, two, author) == f"During {outage}"
    assert await wait_for_hits(http, one, author) <= RETURN_SECONDS + SLACK_SECONDS
    assert await wait_for_hits(http, two, author) <= RETURN_SECONDS + SLACK_SECONDS
    assert await name_at(http, two, author) == f"During {outage}"
