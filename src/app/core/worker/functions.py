"""Background tasks: plain async functions; `ctx` is the worker's context."""

import asyncio
from typing import Any


async def sample_background_task(ctx: dict[str, Any], name: str) -> str:
    await asyncio.sleep(5)
    return f"Task {name} is complete!"
