"""Deletes the local data, and ends what a killed run has left running; refuses while a run is active.

python -m dev.local.clean [--ask] [--everything]      (needs nothing installed)
"""

import argparse
import shutil
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from dev.local.claim import claim
from dev.local.remains import end_servers, find_servers
from dev.local.screen import say
from dev.services import ServiceError

LOCAL = Path(__file__).resolve().parents[2] / ".local"


def delete_data(local: Path) -> None:
    """Deletes databases, queues and server logs, but not the ports and passwords; raises `ServiceError` if in use."""
    if not local.exists():
        return
    with ExitStack() as stack:
        claim(local, stack)
        end_servers(local)
        for server in find_servers(local):
            shutil.rmtree(server.data)  # the folder itself where `.local` only has a link
        for path in local.iterdir():
            if path.is_symlink():
                path.unlink()


def _is_confirmed(local: Path) -> bool:
    try:
        return input(f"Delete the database and the queue of this checkout, in {local}? [y/N] ").strip().lower() == "y"
    except EOFError:
        print()
        return False


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m dev.local.clean", description="Deletes the local data.")
    parser.add_argument("--everything", action="store_true", help="also ports, passwords and notes")
    parser.add_argument("--ask", action="store_true", help="ask before")
    options = parser.parse_args(arguments)
    if options.ask and not _is_confirmed(LOCAL):
        say("nothing is deleted")
        return 1
    try:
        delete_data(LOCAL)
    except (ServiceError, OSError) as error:
        say(str(error))
        return 1
    if options.everything:
        shutil.rmtree(LOCAL, ignore_errors=True)
    elif options.ask:
        say("the local data are deleted; the next `make run` begins with an empty database")
    return 0


if __name__ == "__main__":
    sys.exit(main())
