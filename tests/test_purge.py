"""Expired rows of `token_blacklist` are deleted: by the worker's task, or without a queue by each web process."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select

from app.api import router
from app.core import lifespan
from app.core.config import AppSettings, CryptSettings, EnvironmentSettings, PostgresSettings, Settings
from app.core.db import purge
from app.core.db.database import Database
from app.core.db.token_blacklist import TokenBlacklist
from app.core.setup import create_application
from tests.helper import Rows, running

HOUR = timedelta(hours=1)


class WithoutQueue(AppSettings, CryptSettings, PostgresSettings, EnvironmentSettings):
    """No Redis, and so no worker."""


@pytest.fixture
async def database(rows: Rows) -> Database:
    """With 35 expired rows and 3 others."""
    now = datetime.now(UTC)
    async with rows.database.sessions() as db:
        db.add_all([TokenBlacklist(token=f"old {n}", expires_at=now - HOUR) for n in range(35)])
        db.add_all([TokenBlacklist(token=f"new {n}", expires_at=now + HOUR) for n in range(3)])
        await db.commit()
    return rows.database


async def count(database: Database) -> int:
    row = await database.fetch_one(select(func.count()).select_from(TokenBlacklist))
    return int(row[0]) if row else 0


async def test_only_expired_entries_are_deleted_in_batches(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purge, "BATCH", 10)
    assert await purge.purge_token_blacklist(database) == 35
    assert await count(database) == 3


async def test_a_web_process_without_a_queue_deletes_them(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purge, "FIRST_SECONDS", 0.02)
    lean = WithoutQueue.model_validate(settings.model_dump(exclude_unset=True))
    async with running(create_application(router=router, settings=lean)), asyncio.timeout(10):
        while await count(database) > 3:  # noqa: ASYNC110 - the application's own task deletes them
            await asyncio.sleep(0.02)


async def test_a_web_process_with_a_queue_leaves_them_to_the_worker(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifespan, "purging", None)  # an error, if it is called
    async with running(create_application(router=router, settings=settings)):
        assert await count(database) == 38
