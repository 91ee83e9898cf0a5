"""Brings the database's tables to the newest committed migration."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, pool, text

from app.core.config import PostgresSettings
from app.core.db.database import create_engine

ALEMBIC_INI = Path(__file__).resolve().parents[3] / "alembic.ini"
MIGRATION_LOCK = 0x6661737461706931
"""An arbitrary 64-bit key of PostgreSQL's advisory locks, the same in every process."""


def _upgrade(connection: Connection) -> None:
    config = Config(ALEMBIC_INI)
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


async def apply_migrations(settings: PostgresSettings) -> None:
    """Upgrades to head. Any number of processes may call this at once: one migrates, the others wait for it."""
    engine = create_engine(settings, poolclass=pool.NullPool)
    try:
        async with engine.begin() as connection:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
            await connection.run_sync(_upgrade)
    finally:
        await engine.dispose()
