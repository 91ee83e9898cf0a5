"""Runs everything on this machine without Docker: PostgreSQL, Valkey, the API and the worker.

python -m dev.run [--host 127.0.0.1] [--port 8000] [--no-reload]
"""

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from dev.local.claim import check_port, claim
from dev.local.programs import ServiceError
from dev.local.screen import address, say
from dev.local.signals import StopRequested, StopSignals

PROJECT = Path(__file__).resolve().parents[1]


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError(f"{text} is no port, which is a number from 1 to 65535")
    return int(text)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m dev.run", description="Runs the API on this machine.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", default=8000, type=_port, help="port to listen on (%(default)s)")
    parser.add_argument("--no-reload", dest="reload", action="store_false", help="ignore changes of the code")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0 when the user stopped the run."""
    options = _parse(arguments)
    signals = StopSignals()
    from dev.local.run import LocalRun  # noqa: PLC0415 - slow to load, and Ctrl-C must work meanwhile

    try:
        with ExitStack() as stack:
            record = claim(PROJECT / ".local", stack)
            check_port(options.host, options.port)
            base = address(options.host, options.port)
            LocalRun(PROJECT, base, record, signals, stack).run(options.host, options.port, options.reload)
    except StopRequested:
        say("stopped")
    except (ServiceError, OSError) as error:
        say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
