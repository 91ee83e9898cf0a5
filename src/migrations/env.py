"""Alembic's entry point: the tables of the models, and the connection to the database."""

import asyncio
import importlib
import pkgutil
from logging.config import fileConfig

from alembic import context
from sqlalchemy import Connection, UniqueConstraint, pool, text
from sqlalchemy.schema import SchemaItem

import app.models
from app.core.config import settings
from app.core.db import row_count, token_blacklist  # noqa: F401 - tables of the core
from app.core.db.database import Base
from app.core.db.engine import create_engine, server_timeouts
from app.core.outbox import table  # noqa: F401 - the same

for module in pkgutil.iter_modules(app.models.__path__):
    importlib.import_module(f"app.models.{module.name}")


def include_object(element: SchemaItem, name: str | None, kind: str, reflected: bool, other: SchemaItem | None) -> bool:
    """Leaves out `unique=True` on a primary key: PostgreSQL makes one constraint of the two."""
    if not isinstance(element, UniqueConstraint) or reflected:
        return True
    return set(element.columns) != set(element.table.primary_key.columns)


def migrate(connection: Connection) -> None:
    # A statement that waits for a table makes all later ones wait behind it: better that the migration fails.
    connection.execute(text(f"SET lock_timeout = {server_timeouts(settings)['lock_timeout']}"))
    context.configure(
        connection=connection, target_metadata=Base.metadata, compare_type=True, include_object=include_object
    )
    with context.begin_transaction():
        context.run_migrations()


async def connect_and_migrate() -> None:
    engine = create_engine(settings, poolclass=pool.NullPool)
    async with engine.connect() as connection:
        await connection.run_sync(migrate)
        await connection.commit()
    await engine.dispose()


def print_sql() -> None:
    context.configure(
        url=settings.POSTGRES_URL,
        target_metadata=Base.metadata,
        literal_binds=True,
        dialect_opts={"paramstyle": "named"},
    )
    with context.begin_transaction():
        context.run_migrations()


given_connection: Connection | None = context.config.attributes.get("connection")
if given_connection is not None:
    migrate(given_connection)
else:
    if context.config.config_file_name is not None:
        fileConfig(context.config.config_file_name, disable_existing_loggers=False)
    if context.is_offline_mode():
        print_sql()
    else:
        asyncio.run(connect_and_migrate())
