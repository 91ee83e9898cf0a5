"""The load generator for machines without `wrk`; the arguments and the line it prints are those of `load`.

python -m benchmarks.compare.clients FILE PORT CONNECTIONS SECONDS STATUS CACHED
"""

import asyncio
import re
import sys
import time
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import uvloop

_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)\r\n", re.IGNORECASE)
_HIT = re.compile(rb"\r\nx-cache: *hit\r\n", re.IGNORECASE)


class Client(asyncio.Protocol):
    """One connection. `latencies` in seconds."""

    def __init__(self, requests: Iterator[bytes], status: bytes, is_cached: bool, until: float) -> None:
        self.latencies: list[float] = []
        self.wrong: list[bytes] = []
        self.ended = asyncio.get_running_loop().create_future()
        self._requests, self._status, self._is_cached, self._until = requests, status, is_cached, until
        self._received = b""
        self._sent = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head + b"\r\n")
        if not found or not length or len(body) < int(length[1]):
            return
        now = time.perf_counter()
        self.latencies.append(now - self._sent)
        if head[9:12] != self._status or (self._is_cached and not _HIT.search(head + b"\r\n")):
            self.wrong.append(self._received[:500])
        if now < self._until:
            self._send()
        else:
            self._transport.close()

    def connection_lost(self, exception: Exception | None) -> None:
        self.ended.set_result(time.perf_counter() < self._until)

    def _send(self) -> None:
        self._received = b""
        self._sent = time.perf_counter()
        self._transport.write(next(self._requests))


async def run(
    requests: Iterator[bytes], port: int, connections: int, seconds: float, status: bytes, is_cached: bool
) -> str:
    began = time.perf_counter()
    until = began + seconds
    loop = asyncio.get_running_loop()
    pairs = [
        await loop.create_connection(lambda: Client(requests, status, is_cached, until), "127.0.0.1", port)
        for _ in range(connections)
    ]
    broken = sum([await client.ended for _, client in pairs])
    took = time.perf_counter() - began
    latencies = sorted(seconds for _, client in pairs for seconds in client.latencies)
    wrong = [text for _, client in pairs for text in client.wrong]
    p50, p99 = (latencies[int(len(latencies) * share)] * 1e6 if latencies else 0 for share in (0.5, 0.99))
    first = wrong[0].decode(errors="replace").replace("\r\n", " | ") if wrong else ""
    return f"RESULT {len(latencies)} {took * 1e6:.0f} {p50:.0f} {p99:.0f} {len(wrong)} {broken} {first}"


def main(file: str, port: str, connections: str, seconds: str, status: str, cached: str) -> None:
    requests = cycle(Path(file).read_bytes().split(b"\0"))
    job = run(requests, int(port), int(connections), float(seconds), status.encode(), cached == "1")
    print(uvloop.run(job))


if __name__ == "__main__":
    main(*sys.argv[1:])
