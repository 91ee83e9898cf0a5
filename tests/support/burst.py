"""Many requests at the same moment, each on its own connection."""

import asyncio
import json
import resource
from collections.abc import Iterable, Mapping
from contextlib import suppress
from urllib.parse import urlencode, urlsplit

import httpx

CONNECT_AT_ONCE = 100
"""So that the kernel's queue of new connections does not overflow; the requests follow when all are connected."""


def allow_connections(number: int) -> None:
    """Raises this process's limit of open files, and that of the processes it starts, as far as the system permits."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = number if hard == resource.RLIM_INFINITY else min(number, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def request(method: str, target: str, *, form: Mapping[str, str] | None = None, body: object = None) -> bytes:
    """The bytes of an HTTP request with a form or a JSON body."""
    kind, content = "application/json", b"" if body is None else json.dumps(body).encode()
    if form is not None:
        kind, content = "application/x-www-form-urlencoded", urlencode(form).encode()
    head = f"{method} {target} HTTP/1.1\r\nHost: testserver\r\nContent-Type: {kind}\r\nConnection: close\r\n"
    return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content


async def _response(reader: asyncio.StreamReader) -> httpx.Response | None:
    """None if the server closed the connection without a response."""
    with suppress(OSError):
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        first, *fields = head.decode("latin-1").split("\r\n")
        if len(first.split(" ")) > 1:
            headers = [(name, value.strip()) for name, _, value in (field.partition(":") for field in fields)]
            return httpx.Response(int(first.split(" ")[1]), headers=headers, content=body)
    return None


async def _connect(addresses: list[str]) -> list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    slots = asyncio.Semaphore(CONNECT_AT_ONCE)

    async def connect(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        parts = urlsplit(address)
        async with slots:
            return await asyncio.open_connection(parts.hostname, parts.port)

    return list(await asyncio.gather(*(connect(address) for address in addresses)))


async def send_all(requests: Iterable[tuple[str, bytes]], *, hang_up: bool = False) -> list[httpx.Response]:
    """The responses to (address, request) pairs that are sent together; none if the clients hang up after sending."""
    pairs = list(requests)
    connections = await _connect([address for address, _ in pairs])
    for (_, writer), (_, content) in zip(connections, pairs, strict=True):
        writer.write(content)
    responses = [] if hang_up else await asyncio.gather(*(_response(reader) for reader, _ in connections))
    for _, writer in connections:
        writer.close()
    await asyncio.gather(*(writer.wait_closed() for _, writer in connections), return_exceptions=True)
    return [response for response in responses if response]
