"""Steady load through NGINX while something happens behind it."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx

from tests.helper import PLAIN_HTTP

PAUSE_SECONDS = 0.03
CUT = "cut"
"""A response of which only the beginning has come."""
_CUT_MESSAGE = "without sending complete message body"


@dataclass
class Report:
    """The responses that the callers received."""

    responses: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)

    @property
    def failed(self) -> dict[str, int]:
        """Responses other than a success, and connections without one."""
        return {response: count for response, count in self.responses.items() if not response.startswith("2")}

    def line(self) -> str:
        """Requests, failures and the 99th percentile, as docs/production.md shows them."""
        p99 = sorted(self.seconds)[int(len(self.seconds) * 0.99)] * 1000
        return f"{len(self.seconds)} requests, {sum(self.failed.values())} failed, p99 {p99:.0f} ms"


@asynccontextmanager
async def load(
    url: str, method: str = "GET", *, callers: int = 6, headers: Mapping[str, str] | None = None
) -> AsyncIterator[Report]:
    """Callers that send the request again and again, over connections that they keep, until the block ends."""
    report = Report()
    enough = asyncio.Event()

    async def call() -> None:
        async with httpx.AsyncClient(timeout=15, headers=headers, verify=PLAIN_HTTP) as client:
            while not enough.is_set():
                begin = time.monotonic()
                try:
                    response = await client.request(method, url)
                    report.responses[str(response.status_code)] += 1
                except httpx.HTTPError as error:
                    report.responses[CUT if _CUT_MESSAGE in str(error) else repr(error)] += 1
                report.seconds.append(time.monotonic() - begin)
                await asyncio.sleep(PAUSE_SECONDS)

    async with asyncio.TaskGroup() as group:
        for _ in range(callers):
            group.create_task(call())
        await asyncio.sleep(0.5)
        yield report
        await asyncio.sleep(0.5)
        enough.set()
