"""The command line of a local run."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """What to run, and where the API listens; `debug` names the program that gets the terminal, if any."""

    host: str = "127.0.0.1"
    port: int = 8000
    reload: bool = True
    debug: str | None = None
    only_servers: bool = False

    @property
    def address(self) -> str:
        """The base URL for a browser on this machine; a server that listens everywhere also listens here."""
        local_names = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "[::1]"}  # noqa: S104
        name = local_names.get(self.host, f"[{self.host}]" if ":" in self.host else self.host)
        return f"http://{name}:{self.port}"


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError(f"{text} is not a port, which is a number from 1 to 65535")
    return int(text)


def parse(arguments: Sequence[str] | None) -> Options:
    """Ends the process with a message if the arguments are wrong."""
    parser = argparse.ArgumentParser(prog="python -m dev.run", description="Runs the API on this machine.")
    parser.add_argument("--host", default=Options.host, help="address to listen on (%(default)s)")
    parser.add_argument("--port", default=Options.port, type=_port, help="port to listen on (%(default)s)")
    parser.add_argument("--no-reload", dest="reload", action="store_false", help="ignore changes of files")
    parser.add_argument("--debug", choices=("api", "worker"), help="give this program the terminal, for breakpoint()")
    parser.add_argument("--only-servers", action="store_true", help="start PostgreSQL and Valkey, not the API")
    values = parser.parse_args(arguments)
    reload = values.reload and not values.debug and not values.only_servers
    return Options(values.host, values.port, reload, values.debug, values.only_servers)
