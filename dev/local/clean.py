"""Removes the local data with everything that a killed run has left; refuses while a run is alive.

python -m dev.local.clean      (needs nothing installed)
"""

import shutil
import sys
from contextlib import ExitStack
from pathlib import Path

from dev.local.claim import claim
from dev.local.screen import say
from dev.services import PostgresServer, ServiceError, ValkeyServer


def remove_local_data(local: Path) -> None:
    """Raises `ServiceError` if somebody uses them."""
    if not local.exists():
        return
    with ExitStack() as stack:
        claim(local, stack)
        for server in (PostgresServer(local / "postgres", password=""), ValkeyServer(local / "valkey")):
            server.recover()
            stack.callback(server.stop)
            shutil.rmtree(server.data)  # the folder itself where `.local` only has a link
        shutil.rmtree(local)


def main() -> int:
    """Returns the exit status."""
    try:
        remove_local_data(Path(__file__).resolve().parents[2] / ".local")
    except (ServiceError, OSError) as error:
        say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
