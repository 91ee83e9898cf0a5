"""What the scripts that create the first rows have in common."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping

from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError, IntegrityError

from app.core.config import settings
from app.core.db.database import Database, open_database
from app.core.db.errors import is_outage
from app.core.db.migrate import apply_migrations

PLACEHOLDERS = frozenset({"your_name", "your_email", "your_username", "your_password"})
"""The example values of the README: valid settings, but not the name of a real user."""

LONGEST_WAIT_SECONDS = 11
"""How long a script waits for the database, whatever the settings are, because a user waits for it."""


class ScriptError(Exception):
    """Why the script cannot do its work, in one line."""


def refuse_placeholders(variables: Mapping[str, str]) -> None:
    """Raises `ScriptError` if a variable still has the value that the README shows."""
    found = [name for name, value in variables.items() if value in PLACEHOLDERS]
    if found:
        raise ScriptError(f"{', '.join(found)}: replace the placeholder in src/.env")


def explain(error: ValidationError, prefix: str) -> ScriptError:
    """The error with the names of variables instead of fields."""
    problems = (f"{prefix}{str(e['loc'][0]).upper()}: {e['msg']}" for e in error.errors())
    return ScriptError("; ".join(problems))


def _database_name() -> str:
    return f"database {settings.POSTGRES_DB} at {', '.join(map(str, settings.POSTGRES_HOSTS))}"


async def _prepare_and(create: Callable[[Database], Awaitable[str]]) -> str:
    wait = min(settings.DATABASE_WAIT_SECONDS, LONGEST_WAIT_SECONDS)
    await apply_migrations(settings.model_copy(update={"DATABASE_WAIT_SECONDS": wait}))
    async with open_database(settings) as database:
        return await create(database)


def run(create: Callable[[Database], Awaitable[str]]) -> int:
    """Applies the migrations, creates the rows, prints one line that names the database; returns the exit status."""
    try:
        print(f"{asyncio.run(_prepare_and(create))} ({_database_name()})")
        return 0
    except ScriptError as error:
        print(f"error: {error}", file=sys.stderr)
    except IntegrityError as error:
        print(f"error: the database refused the row: {error.orig} ({_database_name()})", file=sys.stderr)
    except Exception as error:
        if not is_outage(error) and not isinstance(error, DBAPIError):
            raise
        print(f"error: {str(error).splitlines()[0]} ({_database_name()})", file=sys.stderr)
    return 1
