"""Upgrades an empty PostgreSQL to the newest migration, compares it with the models, and downgrades it again.

python -m dev.check_migrations
"""

import os
import secrets
import sys
from pathlib import Path

from alembic.config import main as alembic

from dev.services import POSTGRES_FAST, PostgresServer, ServiceError, temporary_folder

STEPS = (["upgrade", "head"], ["check"], ["downgrade", "base"], ["upgrade", "head"])


def check(server: PostgresServer) -> None:
    """Runs the steps as Alembic's command line does; a step that fails ends the process."""
    os.environ |= {
        "ENVIRONMENT": "local",
        "POSTGRES_SERVER": server.host,
        "POSTGRES_PORT": str(server.port),
        "POSTGRES_USER": server.user,
        "POSTGRES_PASSWORD": server.password,
        "POSTGRES_DB": "postgres",
    }
    ini = Path(__file__).resolve().parents[1] / "src" / "alembic.ini"
    for step in STEPS:
        print("alembic", *step, flush=True)
        alembic(["-c", str(ini), *step])


def main() -> int:
    """Returns the exit status."""
    try:
        with (
            temporary_folder() as folder,
            PostgresServer(folder / "postgres", password=secrets.token_hex(), options=POSTGRES_FAST) as server,
        ):
            check(server)
    except ServiceError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
