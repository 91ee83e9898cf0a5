"""Creates the role and the database that the settings name in the local PostgreSQL, also after they have changed."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from dev.services import PostgresServer, ServiceError

ADMINISTRATOR = "local administrator"
"""The superuser of the local server; a name that no application's role has."""


@asynccontextmanager
async def _connected(server: PostgresServer, database: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(
        host=server.host,
        port=server.port,
        user=server.user,
        password=server.password,
        database=database,
        ssl=False,  # otherwise the user's certificates are looked for
        timeout=10,
    )
    try:
        yield connection
    finally:
        await connection.close()


async def _execute(connection: asyncpg.Connection, statement: str, *values: str) -> None:
    """Runs a statement that takes no parameters, its values quoted by the server (%I a name, %L a text)."""
    placeholders = ", ".join(f"${position}::text" for position in range(1, len(values) + 1))
    await connection.execute(await connection.fetchval(f"SELECT format('{statement}', {placeholders})", *values))


async def _ensure_role(connection: asyncpg.Connection, role: str, password: str) -> None:
    known = await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", role)
    await _execute(connection, f"{'ALTER' if known else 'CREATE'} ROLE %I LOGIN CREATEDB PASSWORD %L", role, password)


async def prepare_database(server: PostgresServer, role: str, password: str, database: str) -> None:
    """Sets role, password, database and its owner; the new role gets what an earlier one owns in the database."""
    try:
        async with _connected(server, "template1") as connection:
            await _ensure_role(connection, role, password)
            query = "SELECT rolname FROM pg_database JOIN pg_roles ON pg_roles.oid = datdba WHERE datname = $1"
            owner = await connection.fetchval(query, database)
            if owner is None:
                await _execute(connection, "CREATE DATABASE %I OWNER %I", database, role)
            elif owner != role:
                await _execute(connection, "ALTER DATABASE %I OWNER TO %I", database, role)
        if owner not in (None, role, server.user):
            async with _connected(server, database) as connection:
                await _execute(connection, "REASSIGN OWNED BY %I TO %I", owner, role)
    except (OSError, asyncpg.PostgresError) as error:
        raise ServiceError(f"The local PostgreSQL cannot be prepared: {error}.") from error
