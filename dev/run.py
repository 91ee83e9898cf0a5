"""Runs everything on this machine without Docker: PostgreSQL, Valkey, the API and the worker.

python -m dev.run [--host 127.0.0.1] [--port 8000] [--no-reload] [--debug api|worker] [--only-servers]
"""

import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from dev.local.claim import AlreadyRunningError, check_port, claim
from dev.local.options import Options, parse
from dev.local.programs import ServiceError
from dev.local.screen import say
from dev.local.signals import RestartRequested, StopRequested, StopSignals
from dev.local.terminal import restored_terminal

PROJECT = Path(__file__).resolve().parents[1]


def _run(options: Options, signals: StopSignals) -> None:
    from dev.local.run import LocalRun  # noqa: PLC0415 - slow to import, and Ctrl-C must work meanwhile

    with ExitStack() as stack:
        record = claim(PROJECT / ".local", stack)
        if options.debug:
            stack.enter_context(restored_terminal())
        if not options.only_servers:
            check_port(options.host, options.port)
        LocalRun(PROJECT, options, record, signals, stack).run()


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0 when the user stopped the run."""
    options = parse(arguments)
    try:
        _run(options, StopSignals())
    except StopRequested:
        say("stopped")
    except RestartRequested:
        os.execv(sys.executable, sys.orig_argv)  # noqa: S606 - the same command again
    except AlreadyRunningError as error:
        say(str(error))
        return 0 if options.only_servers else 1  # its servers are the ones that are wanted
    except (ServiceError, OSError) as error:
        say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
