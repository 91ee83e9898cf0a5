"""Brings the database's tables to the newest committed migration.

Alembic is imported only where something is to be migrated: every other start saves its time and 10 MB per process.
"""

import logging
import re
from pathlib import Path

import asyncpg
from sqlalchemy import Connection, pool, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.core.config import PostgresSettings
from app.core.db.engine import create_engine
from app.core.db.errors import is_outage
from app.core.waiting import wait_for

logger = logging.getLogger(__name__)
ALEMBIC_INI = Path(__file__).resolve().parents[3] / "alembic.ini"
MIGRATION_LOCK = 0x6661737461706931
"""An arbitrary 64-bit key of PostgreSQL's advisory locks, the same in every process."""


_ASSIGNMENT = re.compile(r"^(down_revision|revision)\b[^=\n]*=(.*)$", re.MULTILINE)
_ID = re.compile(r"""["'](\w+)["']""")
_OTHER_FOLDERS = re.compile(r"^version_locations", re.MULTILINE)


def _committed_revisions() -> dict[str, set[str]]:
    """Each `revision` and `down_revision` of the files; none if only Alembic can determine them."""
    found: dict[str, set[str]] = {"revision": set(), "down_revision": set()}
    if _OTHER_FOLDERS.search(ALEMBIC_INI.read_text(encoding="utf-8")):
        return found
    for file in (ALEMBIC_INI.parent / "migrations" / "versions").glob("*.py"):
        for name, value in _ASSIGNMENT.findall(file.read_text(encoding="utf-8")):
            found[name].update(_ID.findall(value))
    return found


async def _is_current(connection: AsyncConnection) -> bool:
    """Also if a later version of the code has migrated the database.

    Old and new code run side by side during a deploy, and an old process may have to start again.
    """
    if await connection.scalar(text("SELECT to_regclass('alembic_version')")) is None:
        return False
    applied = set(await connection.scalars(text("SELECT version_num FROM alembic_version")))
    committed = _committed_revisions()
    if committed["revision"] and (unknown := applied - committed["revision"]):
        logger.warning(
            "The database has the migration %s of another version of the code: none is applied.", ", ".join(unknown)
        )
        return True
    return bool(applied) and applied == committed["revision"] - committed["down_revision"]


def _upgrade(connection: Connection) -> None:
    from alembic import command  # noqa: PLC0415 - see above
    from alembic.config import Config  # noqa: PLC0415

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

    where = f"the database at {', '.join(map(str, settings.POSTGRES_HOSTS))}"
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
            if not await _is_current(connection):
                await connection.run_sync(_upgrade)
    finally:
        await engine.dispose()
