"""NGINX, two gunicorn servers and a worker as in production: what clients receive while servers start and stop."""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest

from tests.conftest import Services
from tests.helper import API, PLAIN_HTTP, Rows
from tests.support.load import CUT, load

if sys.platform != "linux":
    pytest.skip("needs the addresses 127.0.1.x and NGINX's package", allow_module_level=True)

from tests.support.topology import Topology

GRACEFUL_SECONDS = 4
READ = f"{API}/users"
WRITE = f"{API}/tasks/task?message=load"


@pytest.fixture(scope="module")
def topology(services: Services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Topology]:
    folder: Path = tmp_path_factory.mktemp("production")
    environment = services.environment(
        DEFAULT_RATE_LIMIT_LIMIT="1000000",
        PASSWORD_HASH_ROUNDS="12",
        GRACEFUL_TIMEOUT_SECONDS=str(GRACEFUL_SECONDS),
    )
    with Topology(folder, environment) as topology:
        yield topology


@pytest.fixture
async def web(topology: Topology) -> AsyncIterator[httpx.AsyncClient]:
    """A caller from outside."""
    async with httpx.AsyncClient(base_url=topology.url, timeout=15, verify=PLAIN_HTTP) as client:
        yield client


def caller_at(topology: Topology, address: str) -> httpx.AsyncClient:
    """A caller whose connections come from this address."""
    transport = httpx.AsyncHTTPTransport(verify=PLAIN_HTTP, local_address=address)
    return httpx.AsyncClient(base_url=topology.url, transport=transport, timeout=15)


async def replace(topology: Topology, old: str) -> int:
    """The exit status of the old server, which gets SIGTERM when NGINX knows the new one."""
    await asyncio.to_thread(topology.start_server)
    await asyncio.to_thread(topology.wait_until_announced)
    server = topology.server(old)
    server.terminate()
    status = await asyncio.to_thread(server.wait)
    topology.remove_server(old)
    return status


async def test_a_rolling_replacement_of_both_servers_loses_no_request(topology: Topology, rows: Rows) -> None:
    async with (
        load(f"{topology.url}{READ}") as reads,
        load(f"{topology.url}{WRITE}", "POST", callers=2) as writes,
    ):
        statuses = [await replace(topology, old) for old in topology.addresses]
    print("\nrolling replacement: GET", reads.line(), "| POST", writes.line())
    assert reads.failed == {}, topology.nginx_errors()
    # A POST that a stopping server had taken but not begun is not sent again: the caller must know.
    assert set(writes.failed) <= {"503"}
    assert statuses == [0, 0]
    assert len(reads.seconds) > 200


async def test_a_killed_server_loses_no_read(topology: Topology, rows: Rows) -> None:
    """SIGKILL for master and workers of one of two; its address stays announced for a while, as it would in reality.

    A response whose beginning NGINX has already passed on is cut.
    """
    victim = topology.addresses[0]
    async with (
        load(f"{topology.url}{READ}") as reads,
        load(f"{topology.url}{WRITE}", "POST", callers=2) as writes,
    ):
        topology.server(victim).kill()
        await asyncio.sleep(1)
        topology.remove_server(victim)
        await asyncio.sleep(1)
    await asyncio.to_thread(topology.start_server)
    await asyncio.to_thread(topology.wait_until_announced)
    print("\ndeath of a server: GET", reads.line(), "| POST", writes.line())
    assert set(reads.failed) <= {CUT}, topology.nginx_errors()
    assert reads.responses[CUT] <= 2
    assert set(writes.failed) <= {"503"}


async def test_a_read_gets_a_second_attempt_and_a_write_does_not(topology: Topology, web: httpx.AsyncClient) -> None:
    """Four of six addresses are dead, so that the four tries of one attempt often find none of the two others."""
    await asyncio.to_thread(topology.wait_until_announced, *(f"127.0.2.{number}" for number in range(1, 5)))

    reads = [await web.get(READ) for _ in range(20)]
    writes = [await web.post(WRITE) for _ in range(20)]
    await asyncio.to_thread(topology.wait_until_announced)

    assert {response.status_code for response in reads} == {200}
    assert {response.headers["Content-Type"] for response in reads} == {"application/json"}
    failed = [response for response in writes if response.status_code != 201]
    assert failed
    assert {(response.status_code, response.headers["Retry-After"]) for response in failed} == {(503, "1")}


async def test_a_reload_of_the_workers_loses_no_read(topology: Topology, rows: Rows) -> None:
    """SIGHUP, gunicorn's reload in place, for both servers."""
    async with (
        load(f"{topology.url}{READ}") as reads,
        load(f"{topology.url}{WRITE}", "POST", callers=2) as writes,
    ):
        for address in topology.addresses:
            topology.server(address).reload()
            await asyncio.sleep(2)
    print("\nreload: GET", reads.line(), "| POST", writes.line())
    assert reads.failed == {}, topology.nginx_errors()
    assert set(writes.failed) <= {"503"}


async def test_a_stopping_server_ends_the_requests_in_flight_but_waits_no_longer_than_its_limit(
    topology: Topology, rows: Rows
) -> None:
    """Slow requests get their responses; a request that is never complete does not delay the stop."""
    address = await asyncio.to_thread(topology.start_server)
    url = httpx.URL(topology.direct_url(address))
    _, endless = await asyncio.open_connection(address, url.port)
    endless.write(f"POST {API}/user HTTP/1.1\r\nHost: {address}\r\nContent-Length: 100\r\n\r\n{{".encode())
    users = [
        {"name": "Some One", "username": f"inflight{n}", "email": f"inflight{n}@example.com", "password": "a password"}
        for n in range(4)
    ]
    async with AsyncExitStack() as stack:
        stack.callback(endless.close)
        clients = [await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=15)) for _ in users]
        for client in clients:  # so that the server has accepted the connections
            await client.get(f"{API}/health")
        requests = [
            asyncio.create_task(client.post(f"{API}/user", json=user))
            for client, user in zip(clients, users, strict=True)
        ]
        await asyncio.sleep(0.3)
        topology.server(address).terminate()
        responses = await asyncio.gather(*requests)
        status = await asyncio.to_thread(topology.remove_server(address).wait, GRACEFUL_SECONDS + 4)
    assert status == 0
    assert [response.status_code for response in responses] == [201] * len(users)


async def test_the_clients_address_is_the_one_it_calls_from(topology: Topology, rows: Rows) -> None:
    """Failed logins lock out one address, and a header of the client's own changes nothing about that."""
    account = await rows.user()

    async def fail(caller: httpx.AsyncClient, claim: str) -> int:
        form = {"username": account.username, "password": "a wrong password"}
        response = await caller.post(f"{API}/login", data=form, headers={"X-Forwarded-For": claim, "X-Real-IP": claim})
        return response.status_code

    async with caller_at(topology, "127.0.0.5") as guesser, caller_at(topology, "127.0.0.6") as somebody:
        assert [await fail(guesser, f"203.0.113.{n}") for n in range(5)] == [401] * 5
        assert await fail(guesser, "127.0.0.6") == 429
        assert await fail(somebody, "127.0.0.5") == 401


async def test_a_task_that_came_through_nginx_is_run_by_the_worker(
    topology: Topology, rows: Rows, web: httpx.AsyncClient
) -> None:
    task = (await web.post(f"{API}/tasks/task", params={"message": "hello"})).json()["id"]
    for _ in range(60):
        await asyncio.sleep(0.25)
        response = (await web.get(f"{API}/tasks/task/{task}")).json()
        if response["status"] == "complete":
            break
    assert response["result"] == "Task hello is complete!"


@pytest.mark.parametrize("path", ["/metrics", "/api/v1/metrics", "/metrics/", "/%6detrics"])
async def test_metrics_are_not_public(topology: Topology, rows: Rows, web: httpx.AsyncClient, path: str) -> None:
    response = await web.get(path)
    assert (response.status_code, response.json()) == (404, {"detail": "Not Found"})


async def test_large_responses_are_compressed(topology: Topology, rows: Rows, web: httpx.AsyncClient) -> None:
    response = await web.get("/openapi.json", headers={"Accept-Encoding": "gzip"})
    assert response.headers["content-encoding"] == "gzip"


async def test_a_body_that_is_far_too_large_is_refused_in_the_apis_form(
    topology: Topology, rows: Rows, web: httpx.AsyncClient
) -> None:
    response = await web.post(f"{API}/user", content=b" " * (3 << 20))
    assert response.status_code == 413
    assert "detail" in response.json()


async def test_without_any_server_the_response_has_retry_after(services: Services, tmp_path: Path) -> None:
    with Topology(tmp_path, services.environment(), servers=0) as empty:
        async with httpx.AsyncClient(base_url=empty.url, timeout=15) as client:
            response = await client.get(READ)
    assert (response.status_code, response.json()) == (503, {"detail": "Service unavailable, try again."})
    assert response.headers["retry-after"] == "1"
