"""An event loop that other work keeps busy: what waits in it must not take that for an outage of a server."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


def block_the_loop(seconds: float) -> None:
    time.sleep(seconds)


@asynccontextmanager
async def busy_loop(seconds: float) -> AsyncIterator[None]:
    """Meanwhile every turn of the loop takes so long."""
    is_over = False

    async def burn() -> None:
        while not is_over:
            block_the_loop(seconds)
            await asyncio.sleep(0)

    burning = asyncio.create_task(burn())
    try:
        yield
    finally:
        is_over = True
        await burning
