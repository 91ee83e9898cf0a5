"""Deletes the expired rows of `token_blacklist`: by a task of the worker, or without a queue by each web process."""

import asyncio
import logging
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.core.db.crud_token_blacklist import crud_token_blacklist
from app.core.db.database import Database

logger = logging.getLogger(__name__)

BATCH = 1000
FIRST_SECONDS = 60.0
INTERVAL_SECONDS = 3600.0


async def purge_token_blacklist(database: Database) -> int:
    """Deletes the entries of revoked tokens that have expired; returns how many.

    Each batch is one transaction, so that no login waits for a long one. Rows that another process deletes are skipped.
    """
    purged, batch = 0, BATCH
    while batch == BATCH:
        batch = await crud_token_blacklist.purge_expired(database, limit=BATCH)
        purged += batch
    logger.info("purged %d expired rows of token_blacklist", purged)
    return purged


async def _purge_regularly(database: Database) -> None:
    delay = FIRST_SECONDS
    while True:
        await asyncio.sleep(delay * random.uniform(0.5, 1))  # noqa: S311 - jitter
        delay = INTERVAL_SECONDS
        try:
            await purge_token_blacklist(database)
        except Exception as error:  # noqa: BLE001 - it tries again
            logger.warning("expired rows of token_blacklist cannot be deleted: %r", error)


@asynccontextmanager
async def purging(database: Database) -> AsyncIterator[None]:
    """Meanwhile expired rows are deleted, a minute after the start and then about every hour."""
    running = asyncio.create_task(_purge_regularly(database))
    try:
        yield
    finally:
        running.cancel()
        await asyncio.wait({running})
