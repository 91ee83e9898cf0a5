"""The statements that reach PostgreSQL during a test, whichever way they went."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import asyncpg
from sqlalchemy import event

from app.core.db.database import Database

_BACKGROUND = "cache_epoch"
"""In the statements that processes send in the background, whatever the requests do."""


@contextmanager
def recorded_statements(database: Database) -> Iterator[list[str]]:
    """The list of what is executed meanwhile, in sessions and as single statements."""
    statements: list[str] = []
    fetch = asyncpg.Connection.fetch

    def record(statement: str) -> None:
        if _BACKGROUND not in statement:
            statements.append(statement)

    def recorded_fetch(connection: Any, statement: str, *arguments: Any, **options: Any) -> Any:
        record(statement)
        return fetch(connection, statement, *arguments, **options)

    def listener(*arguments: Any) -> None:
        record(arguments[2])

    engine = database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", listener)
    try:
        with patch.object(asyncpg.Connection, "fetch", recorded_fetch):
            yield statements
    finally:
        event.remove(engine, "before_cursor_execute", listener)
