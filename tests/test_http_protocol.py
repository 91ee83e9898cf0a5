"""Coalesced writes, on real sockets: a response leaves at once, and whatever else uvicorn promises holds."""

import asyncio
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from threading import Thread, Timer
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.core.http_protocol import CoalescingProtocol
from app.middleware import slow_clients
from tests.support.readme import ROOT

PIECE = b"0123456789abcdef" * 4096
PIECES = 200
DATA_SEGMENTS_RECEIVED = slice(152, 156)
"""Where Linux' `struct tcp_info` has them."""
KILLED = """
import os, signal, socket, sys, uvicorn

async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    os.kill(os.getpid(), signal.SIGKILL)

listening = socket.create_server(("127.0.0.1", 0))
print(listening.getsockname()[1], flush=True)
config = uvicorn.Config(app, http=sys.argv[1], lifespan="off", log_level="critical")
uvicorn.Server(config).run(sockets=[listening])
"""


class Application:
    """Responds as the path says; `continues` lets a stream end, and `sent` is the number of a large body's pieces."""

    def __init__(self) -> None:
        self.sent = 0
        self.loop: asyncio.AbstractEventLoop | None = None
        self.continues = asyncio.Event()

    def proceed(self) -> None:
        assert self.loop
        self.loop.call_soon_threadsafe(self.continues.set)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.loop = asyncio.get_running_loop()
        respond: Callable[[Any, Any, Any], Awaitable[None]] = getattr(self, scope["path"].strip("/"))
        await respond(scope, receive, send)

    async def small(self, scope: Any, receive: Any, send: Any) -> None:
        await start(send, 5)
        await send({"type": "http.response.body", "body": scope["query_string"] or b"hello"})

    async def echo(self, scope: Any, receive: Any, send: Any) -> None:
        body = (await receive())["body"]
        await start(send, len(body))
        await send({"type": "http.response.body", "body": body})

    async def stream(self, scope: Any, receive: Any, send: Any) -> None:
        await start(send, None)
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        await self.continues.wait()
        await send({"type": "http.response.body", "body": b"last"})

    async def large(self, scope: Any, receive: Any, send: Any) -> None:
        await start(send, PIECES * len(PIECE))
        for number in range(PIECES):
            await send({"type": "http.response.body", "body": PIECE, "more_body": number + 1 < PIECES})
            self.sent = number + 1

    async def unread(self, scope: Any, receive: Any, send: Any) -> None:
        await start(send, PIECES * len(PIECE))
        message = {"type": "http.response.body", "body": PIECE * PIECES}
        await slow_clients.send_patiently(receive, send, message)

    async def broken(self, scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError("before the response")

    async def cut(self, scope: Any, receive: Any, send: Any) -> None:
        await start(send, 5)
        raise RuntimeError("in the middle of the response")


async def start(send: Any, length: int | None) -> None:
    headers = [(b"content-length", b"%d" % length)] if length is not None else []
    await send({"type": "http.response.start", "status": 200, "headers": headers})


class Server:
    """uvicorn in a thread, with `protocol`."""

    def __init__(self, port: int, application: Application) -> None:
        self.port = port
        self.application = application

    def connect(self, request: bytes = b"") -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        connection.sendall(request)
        return connection


@contextmanager
def running(protocol: type[asyncio.Protocol], **options: Any) -> Iterator[Server]:
    application = Application()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(application, http=protocol, lifespan="off", log_config=None, **options)
        server = uvicorn.Server(config)
        thread = Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield Server(listening.getsockname()[1], application)
        finally:
            server.should_exit = True
            thread.join(10)


@pytest.fixture
def server() -> Iterator[Server]:
    with running(CoalescingProtocol) as server:
        yield server


def request(path: str, method: str = "GET", *fields: str) -> bytes:
    return "\r\n".join((f"{method} {path} HTTP/1.1", "Host: test", *fields, "", "")).encode()


def read_until(connection: socket.socket, end: bytes) -> bytes:
    received = b""
    while not received.endswith(end):
        piece = connection.recv(65536)
        assert piece, f"the connection was closed after {received!r}"
        received += piece
    return received


def read_all(connection: socket.socket) -> bytes:
    received = bytearray()
    while piece := connection.recv(65536):
        received += piece
    return bytes(received)


@pytest.mark.skipif(sys.platform != "linux", reason="counts the segments that Linux has received")
@pytest.mark.parametrize(("protocol", "writes"), [(HttpToolsProtocol, 2), (CoalescingProtocol, 1)])
def test_a_response_is_one_write(protocol: type[asyncio.Protocol], writes: int) -> None:
    """Each of a kept-alive connection's; uvicorn's own protocol writes twice."""
    with running(protocol) as server, server.connect() as connection:
        for number in range(1, 4):
            connection.sendall(request("/small"))
            read_until(connection, b"hello")
            info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192)
            assert int.from_bytes(info[DATA_SEGMENTS_RECEIVED], sys.byteorder) == number * writes


@pytest.mark.parametrize(("protocol", "is_cut"), [(HttpToolsProtocol, True), (CoalescingProtocol, False)])
def test_a_killed_server_has_sent_no_part_of_a_response(protocol: type[asyncio.Protocol], is_cut: bool) -> None:
    """With uvicorn's own protocol the client has the header by then."""
    name = f"{protocol.__module__}:{protocol.__name__}"
    command = [sys.executable, "-c", KILLED, name]
    with subprocess.Popen(command, cwd=ROOT / "src", stdout=subprocess.PIPE) as process:
        assert process.stdout
        with socket.create_connection(("127.0.0.1", int(process.stdout.readline())), timeout=10) as connection:
            connection.sendall(request("/"))
            received = read_all(connection)
        assert process.wait(10) == -signal.SIGKILL
    assert bool(received) == is_cut


def test_pipelined_requests_are_served_in_order(server: Server) -> None:
    with server.connect(b"".join(request(f"/small?part{number}") for number in range(5))) as connection:
        received = read_until(connection, b"part4")
    assert [part[-5:] for part in received.split(b"HTTP/1.1 200 OK")[1:]] == [b"part%d" % number for number in range(5)]


def test_a_stream_is_sent_as_it_comes(server: Server) -> None:
    with server.connect(request("/stream")) as connection:
        assert b"chunked" in read_until(connection, b"5\r\nfirst\r\n")
        server.application.proceed()
        assert read_until(connection, b"0\r\n\r\n") == b"4\r\nlast\r\n0\r\n\r\n"


def test_a_slow_client_gets_a_large_body_and_the_server_waits_for_it(server: Server) -> None:
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(10)
        connection.connect(("127.0.0.1", server.port))
        connection.sendall(request("/large", "GET", "Connection: close"))
        time.sleep(0.3)
        assert 0 < server.application.sent < PIECES
        _, _, body = read_all(connection).partition(b"\r\n\r\n")
    assert body == PIECE * PIECES


def test_a_client_that_reads_nothing_is_disconnected(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slow_clients, "SEND_TIMEOUT_SECONDS", 0.2)
    with server.connect(request("/unread")) as connection:
        time.sleep(0.6)
        assert len(read_all(connection)) < PIECES * len(PIECE)
    with server.connect(request("/small")) as connection:
        read_until(connection, b"hello")


def test_a_head_has_no_body_and_the_connection_remains(server: Server) -> None:
    with server.connect(request("/small", "HEAD")) as connection:
        assert b"content-length: 5" in read_until(connection, b"\r\n\r\n")
        connection.sendall(request("/small"))
        assert read_until(connection, b"hello").startswith(b"HTTP/1.1 200 OK")


def test_a_connection_is_closed_after_the_response(server: Server) -> None:
    with server.connect(request("/small", "GET", "Connection: close")) as connection:
        assert read_all(connection).endswith(b"\r\n\r\nhello")


def test_a_client_may_wait_for_100_continue(server: Server) -> None:
    with server.connect(request("/echo", "POST", "Expect: 100-continue", "Content-Length: 4")) as connection:
        assert read_until(connection, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"body")
        assert read_until(connection, b"body").startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize(
    ("path", "status", "end"), [("/broken", b"500", b"Server Error"), ("/cut", b"200", b"\r\n\r\n")]
)
def test_an_error_ends_the_response(server: Server, path: str, status: bytes, end: bytes) -> None:
    with server.connect(request(path)) as connection:
        received = read_all(connection)
    assert received[9:12] == status
    assert received.endswith(end)


def test_a_stopping_server_sends_the_response_under_way() -> None:
    with running(CoalescingProtocol) as server:
        connection = server.connect(request("/stream"))
        read_until(connection, b"first\r\n")
        Timer(0.3, server.application.proceed).start()
    with connection:
        assert read_all(connection) == b"4\r\nlast\r\n0\r\n\r\n"


def test_a_websocket_gets_the_servers_own_transport() -> None:
    class Upgraded(asyncio.Protocol):
        def __init__(self, **_: Any) -> None: ...

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            transport.write(type(transport).__module__.encode())
            transport.close()

    fields = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: x", "Sec-WebSocket-Version: 13")
    options: dict[str, Any] = {"ws": Upgraded, "loop": "asyncio"}
    with running(CoalescingProtocol, **options) as server, server.connect(request("/", "GET", *fields)) as connection:
        assert read_all(connection) == b"asyncio.selector_events"
