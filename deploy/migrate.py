"""Applies the migrations that are missing, unless `CREATE_TABLES_ON_START` is false.

For a server that reloads: it would otherwise apply a new migration as soon as its file is saved.
"""

import asyncio

from app.core.config import PostgresSettings, settings
from app.core.db.migrate import apply_migrations
from app.core.settings.base import SettingsBase


def main(settings: SettingsBase) -> None:
    if isinstance(settings, PostgresSettings) and settings.CREATE_TABLES_ON_START:
        asyncio.run(apply_migrations(settings))


if __name__ == "__main__":
    main(settings)
