"""psql, connected to the database of this checkout's settings.

python -m dev.local.psql [arguments of psql]
"""

import os
import sys
from collections.abc import Sequence
from importlib import import_module

from dev.local.programs import ServiceError, postgres_package_programs
from dev.local.screen import say


def psql_command(arguments: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """The command line and the environment, in which the password is."""
    settings = import_module("src.app.core.config").settings
    hosts = settings.POSTGRES_HOSTS
    connection = {
        "PGHOST": ",".join(host.name for host in hosts),
        "PGPORT": ",".join(str(host.port) for host in hosts),
        "PGTARGETSESSIONATTRS": "read-write" if len(hosts) > 1 else "any",
        "PGUSER": settings.POSTGRES_USER,
        "PGPASSWORD": settings.POSTGRES_PASSWORD,
        "PGDATABASE": settings.POSTGRES_DB,
    }
    return [str(postgres_package_programs() / "psql"), *arguments], {**os.environ, **connection}


def main() -> int:
    """Returns the exit status; runs psql in place of this process."""
    try:
        command, environment = psql_command(sys.argv[1:])
        os.execve(command[0], command, environment)  # noqa: S606 - the developer's own command
    except (ServiceError, OSError) as error:
        say(str(error))
    return 1


if __name__ == "__main__":
    sys.exit(main())
