"""Waiting, at start-up, for a server that is not available yet."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

logger = logging.getLogger(__name__)

PAUSE_SECONDS = 0.5
REPORT_SECONDS = 5.0


async def wait_for(
    what: str, probe: Callable[[], Awaitable[object]], seconds: float, is_worth_waiting: Callable[[Exception], bool]
) -> None:
    """Probes until the server responds, and logs the wait.

    The probe's error is raised if waiting cannot help, or when the seconds are over.
    """
    begin = reported = time.monotonic()
    while True:
        try:
            await probe()
        except Exception as error:
            now = time.monotonic()
            if not is_worth_waiting(error) or now - begin >= seconds:
                raise
            if reported == begin or now - reported >= REPORT_SECONDS:
                logger.warning("waiting up to %.0f s for %s: %s", seconds, what, error)
                reported = now
        else:
            if reported != begin:
                logger.info("%s is available after %.1f s", what, time.monotonic() - begin)
            return
        await asyncio.sleep(PAUSE_SECONDS)
