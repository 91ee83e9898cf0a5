"""NGINX's own errors have the form and the headers of the API's, and no client takes more than its share."""

import asyncio
import json
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from urllib.parse import urlsplit

import httpx
import pytest

from tests.conftest import Services
from tests.helper import API, Rows

if sys.platform != "linux":
    pytest.skip("needs the addresses 127.0.1.x and NGINX's package", allow_module_level=True)

from tests.support.readme import ROOT
from tests.support.topology import Topology

HEADERS = ("X-Content-Type-Options", "X-Frame-Options", "Referrer-Policy", "Content-Security-Policy", "X-Request-ID")


@pytest.fixture(scope="module")
def topology(services: Services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Topology]:
    with Topology(tmp_path_factory.mktemp("errors"), services.environment(), servers=1, send_timeout="1s") as topology:
        yield topology


def _exchange(url: str, request: bytes) -> tuple[int, httpx.Headers, bytes]:
    """The response to these bytes, which no client library would send."""
    where = urlsplit(url)
    with socket.create_connection((where.hostname, where.port), timeout=10) as connection:
        connection.sendall(request)
        received = b""
        while part := connection.recv(65536):
            received += part
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    return (
        int(first.split()[1]),
        httpx.Headers([(name, value) for name, _, value in (line.partition(": ") for line in lines)]),
        body,
    )


def _get(path: str, *lines: str) -> bytes:
    return "\r\n".join((f"GET {path} HTTP/1.1", "Host: test", "Connection: close", *lines, "", "")).encode()


REQUESTS = {
    "not HTTP": (b"nonsense\r\n\r\n", {400}),
    "no host": (b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n", {400}),
    "two lengths": (_get("/", "Content-Length: 1", "Content-Length: 2"), {400}),
    "long target": (_get("/" + "a" * 40_000), {414}),
    "long header": (_get("/", "X-Long: " + "a" * 40_000), {400, 431}),
    "method": (b"TRACE / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n", {405}),
    "large body": (_get("/", "Content-Length: 99999999"), {413}),
    "internal path": (_get("/nginx/503"), {404}),
    "metrics": (_get(f"{API}/metrics"), {404}),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_nginxs_own_errors_are_json_with_the_security_headers(topology: Topology, name: str) -> None:
    request, statuses = REQUESTS[name]
    status, headers, body = _exchange(topology.url, request)
    assert status in statuses
    assert set(json.loads(body)) == {"detail"}
    assert headers["Content-Type"] == "application/json"
    assert headers["Cache-Control"] == "no-store"
    for field in HEADERS:
        assert len(headers.get_list(field)) == 1, field


async def test_headers_of_the_api_are_not_doubled(topology: Topology, rows: Rows) -> None:
    async with httpx.AsyncClient(base_url=topology.url) as client:
        for path, status in ((f"{API}/users", 200), ("/nowhere", 404)):
            response = await client.get(path)
            assert response.status_code == status
            for field in (*HEADERS, "Cache-Control"):
                assert len(response.headers.get_list(field)) == 1, field


async def test_one_client_has_a_bounded_number_of_connections(topology: Topology, rows: Rows) -> None:
    """An unfinished body occupies a connection; another address is not affected."""
    where = urlsplit(topology.url)
    with ExitStack() as stack:
        for _ in range(200):
            connection = stack.enter_context(socket.create_connection((where.hostname, where.port), timeout=10))
            connection.sendall(b"POST /api/v1/login HTTP/1.1\r\nHost: test\r\nContent-Length: 100\r\n\r\nx")
        await asyncio.sleep(0.5)
        status, headers, body = await asyncio.to_thread(_exchange, topology.url, _get(f"{API}/users"))
        assert (status, json.loads(body)) == (429, {"detail": "Too many connections."})
        assert headers["Retry-After"] == "1"
        transport = httpx.AsyncHTTPTransport(local_address="127.0.0.2")
        async with httpx.AsyncClient(base_url=topology.url, transport=transport) as client:
            assert (await client.get(f"{API}/users")).status_code == 200


async def test_a_client_that_reads_nothing_is_disconnected(topology: Topology, rows: Rows) -> None:
    author = await rows.user("author")
    for _ in range(9):
        await rows.post(author, text="\N{GRINNING FACE}" * 63_206)
    target = f"{API}/author/posts?items_per_page=100"
    async with httpx.AsyncClient(base_url=topology.url) as client:
        page = await client.get(target)
    where = urlsplit(topology.url)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(20)
        connection.connect((where.hostname, where.port))
        connection.sendall(_get(target))
        await asyncio.sleep(3)
        received = 0
        with suppress(ConnectionResetError):
            while part := connection.recv(65536):
                received += len(part)
    assert received < len(page.content) / 2


def test_what_nginx_keeps_of_a_response_is_bounded() -> None:
    """256 KiB in memory and 8 MiB in a file, more than the largest page."""
    directives = (ROOT / "default.conf").read_text(encoding="utf-8")
    for directive in ("proxy_buffers 16 16k;", "proxy_max_temp_file_size 8m;", "send_timeout 15s;"):
        assert directive in directives


async def test_unavailable_servers_are_503_with_retry_after(topology: Topology) -> None:
    """The last test here: it stops the only server."""
    server = topology.server(topology.addresses[0])
    server.kill()
    async with httpx.AsyncClient(base_url=topology.url, timeout=20) as client:
        response = await client.get(f"{API}/users")
    assert (response.status_code, response.headers["Retry-After"]) == (503, "1")
    assert response.json() == {"detail": "Service unavailable, try again."}
    assert response.headers["X-Frame-Options"] == "DENY"
