"""Clients that do not read, on real sockets of plain uvicorn: the process keeps little for them, and not for long."""

import asyncio
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest

from dev.local.ports import free_port
from tests.conftest import Services
from tests.helper import API, Rows
from tests.support.processes import API_HEALTH, Program, program, wait_until_ready

CLIENTS = 40
TIMEOUT_SECONDS = 1
WARNING = "a client has read nothing for 1 s, its connection is closed"
PAGE = f"{API}/author/posts?items_per_page=100"
START = f"""
import socket, uvicorn
from app.middleware import slow_clients
slow_clients.SEND_TIMEOUT_SECONDS = {TIMEOUT_SECONDS}
# Connections have the same buffer. The system's own is as large as the page on loopback, but not in a slow network.
listening = socket.socket()
listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
listening.bind(("127.0.0.1", {{port}}))
listening.listen(100)
config = uvicorn.Config("app.main:app", log_level="warning", access_log=False)
uvicorn.Server(config).run(sockets=[listening])
"""


class Server:
    """The application with a short timeout, in a process of its own."""

    def __init__(self, process: Program, port: int) -> None:
        self._process = process
        self.where = ("127.0.0.1", port)
        self.url = f"http://127.0.0.1:{port}"

    @property
    def output(self) -> str:
        return self._process.output

    @property
    def megabytes(self) -> float:
        """What the process has in memory."""
        status = Path(f"/proc/{self._process.pid}/status").read_text(encoding="ascii")
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    def ask(self, target: str = PAGE, room: int = 4096) -> socket.socket:
        """A connection that has sent a request, with room for this many bytes of the response."""
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
        connection.settimeout(20)
        connection.connect(self.where)
        connection.sendall(f"GET {target} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
        return connection


@pytest.fixture(scope="module")
def server(services: Services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if sys.platform != "linux":
        pytest.skip("reads the memory of a process in /proc")
    port = free_port()
    environment = services.environment(PYTHONPATH="src")
    command = [sys.executable, "-c", START.format(port=port)]
    with program(command, tmp_path_factory.mktemp("server") / "log", environment) as process:
        server = Server(process, port)
        wait_until_ready(server.url + API_HEALTH, process)
        yield server


@pytest.fixture
async def page(server: Server, rows: Rows) -> httpx.Response:
    """The largest page that there is, about 2 MB."""
    author = await rows.user("author")
    for _ in range(9):
        await rows.post(author, text="\N{GRINNING FACE}" * 63_206)
    async with httpx.AsyncClient() as client:
        response = await client.get(server.url + PAGE)
    assert 1_500_000 < len(response.content) < 2_100_000
    return response


def _receive(connection: socket.socket) -> int:
    """How many bytes arrive until the server has closed the connection."""
    received = 0
    with suppress(ConnectionResetError):
        while part := connection.recv(65536):
            received += len(part)
    return received


async def test_clients_that_do_not_read_are_disconnected(server: Server, page: httpx.Response) -> None:
    """Others are served meanwhile, and later attacks find the memory of the first one free again."""
    memory: list[float] = []
    async with httpx.AsyncClient(base_url=server.url) as client:
        with ExitStack() as stack:
            for attack in (1, 2, 3):
                connections = [stack.enter_context(server.ask()) for _ in range(CLIENTS)]
                end = time.monotonic() + 30
                while server.output.count(WARNING) < attack * CLIENTS:
                    assert time.monotonic() < end, server.output
                    assert (await client.get(API_HEALTH)).status_code == 200
                    await asyncio.sleep(0.1)
                memory.append(server.megabytes)
            received = [_receive(connection) for connection in connections]
    assert max(received) < len(page.content) / 4
    # If the responses stayed in memory, it would be twice as much.
    assert memory[2] - memory[0] < CLIENTS * len(page.content) / 1e6
    assert "ASGI" not in server.output, "uvicorn has logged an error"


async def test_a_client_that_reads_slowly_gets_everything(server: Server, page: httpx.Response) -> None:
    """It takes longer than the timeout for the whole page, and less for each piece."""
    begin, received = time.monotonic(), b""
    with server.ask(room=65536) as connection:
        while not received.endswith(page.content[-100:]):
            await asyncio.sleep(0.04)
            part = await asyncio.to_thread(connection.recv, 32768)
            assert part, "the server has closed the connection"
            received += part
    assert received.partition(b"\r\n\r\n")[2] == page.content
    assert time.monotonic() - begin > 1.5 * TIMEOUT_SECONDS


async def test_small_responses_to_a_client_that_does_not_read_are_bounded(server: Server, rows: Rows) -> None:
    """One request after the other on one connection, until the server takes no more."""
    await rows.user("author")
    request = f"GET {API}/user/author HTTP/1.1\r\nHost: test\r\n\r\n".encode()
    before = server.megabytes
    with server.ask(f"{API}/user/author") as connection:
        connection.setblocking(False)
        end = time.monotonic() + 3
        while time.monotonic() < end:
            with suppress(BlockingIOError):
                connection.send(request)
            await asyncio.sleep(0.0005)
        assert server.megabytes - before < 10
    async with httpx.AsyncClient(base_url=server.url) as client:
        assert (await client.get(API_HEALTH)).status_code == 200
