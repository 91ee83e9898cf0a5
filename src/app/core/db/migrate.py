"""Brings the database's tables to the newest committed migration."""

from pathlib import Path

import asyncpg
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, pool, text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.core.config import PostgresSettings
from app.core.db.engine import create_engine
from app.core.db.errors import is_outage
from app.core.waiting import wait_for

ALEMBIC_INI = Path(__file__).resolve().parents[3] / "alembic.ini"
MIGRATION_LOCK = 0x6661737461706931
"""An arbitrary 64-bit key of PostgreSQL's advisory locks, the same in every process."""


def _upgrade(connection: Connection) -> None:
    config = Config(ALEMBIC_INI)
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _may_come_up(error: Exception) -> bool:
    # Waiting does not help against a wrong password or name.
    refused = (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError)
    return is_outage(error) and not isinstance(error.__cause__, refused)


async def _wait_for_database(engine: AsyncEngine, settings: PostgresSettings) -> None:
    async def probe() -> None:
        async with engine.connect():
            pass

    where = f"the database at {settings.POSTGRES_SERVER}:{settings.POSTGRES_PORT}"
    await wait_for(where, probe, settings.DATABASE_WAIT_SECONDS, _may_come_up)


async def apply_migrations(settings: PostgresSettings) -> None:
    """Upgrades to head, when the database is up.

    Any number of processes may call this at once: one migrates, the others wait for it.
    """
    engine = create_engine(settings, poolclass=pool.NullPool)
    try:
        await _wait_for_database(engine, settings)
        async with engine.begin() as connection:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
            await connection.run_sync(_upgrade)
    finally:
        await engine.dispose()
