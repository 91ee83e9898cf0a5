"""A database with data, that lives through versions of the code."""

import os
import secrets
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from dev.local.programs import postgres_package_programs
from dev.rehearsal.product import run
from dev.services import POSTGRES_FAST, PostgresServer, ValkeyServer, server_variables, temporary_folder

CALLS = Path(__file__).with_name("calls.py")


class Database:
    """The servers, and the settings with which each version of the code uses them."""

    def __init__(self, postgres: PostgresServer, valkey: ValkeyServer) -> None:
        self._postgres = postgres
        self._settings = {
            **{name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")},
            **server_variables(postgres, valkey),
            "ENV_FILE": os.devnull,
            "ENVIRONMENT": "local",
            "SECRET_KEY": secrets.token_hex(32),
            "ADMIN_PASSWORD": secrets.token_hex(8),
            "PASSWORD_HASH_ROUNDS": "4",
            "LOG_LEVEL": "WARNING",
        }

    def python(self, project: Path, *arguments: str, folder: str = ".", **variables: str) -> str:
        """The output of Python with the code of that project."""
        path = os.pathsep.join([str(project), str(project / "src")])
        environment = {**self._settings, "PYTHONPATH": path, "POSTGRES_DB": "shop", **variables}
        return run(project / folder, sys.executable, *arguments, environment=environment)

    def call(self, project: Path, action: str, token: str = "") -> str:
        return self.python(project, str(CALLS), action, ACCESS_TOKEN=token).strip()

    def migrate(self, project: Path, name: str = "shop") -> None:
        self.python(project, "-m", "alembic", "upgrade", "head", folder="src", POSTGRES_DB=name)

    def program(self, name: str, database: str, *arguments: str) -> str:
        """Runs one of PostgreSQL's programs on the database."""
        server = self._postgres
        address = {"PGHOST": server.host, "PGPORT": str(server.port), "PGUSER": server.user}
        environment = {**os.environ, **address, "PGPASSWORD": server.password}
        command = [str(postgres_package_programs() / name), *arguments, "--dbname", database]
        return run(Path.cwd(), *command, environment=environment)

    def query(self, database: str, sql: str) -> Sequence[str]:
        """The lines of the result."""
        return self.program(
            "psql", database, "--no-psqlrc", "--tuples-only", "--no-align", "--command", sql
        ).splitlines()

    def dump(self, database: str, file: Path) -> Path:
        self.program("pg_dump", database, "--file", str(file))
        return file


@contextmanager
def open_database() -> Iterator[Database]:
    with (
        temporary_folder() as folder,
        PostgresServer(folder / "postgres", password=secrets.token_hex(), options=POSTGRES_FAST) as postgres,
        ValkeyServer(folder / "valkey", password=secrets.token_hex()) as valkey,
    ):
        database = Database(postgres, valkey)
        for name in ("shop", "empty"):
            database.query("postgres", f"CREATE DATABASE {name}")
        yield database
