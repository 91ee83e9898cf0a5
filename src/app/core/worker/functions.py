"""Background tasks: plain async functions that may run more than once; `ctx` is the worker's context."""

import asyncio
import logging
from uuid import UUID

from sqlalchemy import bindparam, select

from app.core.db import purge
from app.core.worker.runtime.context import TaskContext
from app.models.user import User

logger = logging.getLogger(__name__)

_BY_UUID = select(User.username).where(User.uuid == bindparam("uuid"))


async def sample_background_task(ctx: TaskContext, name: str) -> str:
    await asyncio.sleep(5)
    return f"Task {name} is complete!"


async def send_welcome(ctx: TaskContext, user_uuid: UUID) -> str:
    """Logs a welcome note to a new user, where a product sends an email."""
    user = await ctx.database.fetch_one(_BY_UUID, {"uuid": user_uuid})
    if user is None:
        return "the user is deleted"
    logger.info("welcome, %s", user.username)
    return f"welcomed {user.username}"


async def purge_token_blacklist(ctx: TaskContext) -> int:
    """Deletes the entries of revoked tokens that have expired. After a timeout the next try deletes the rest."""
    return await purge.purge_token_blacklist(ctx.database)
