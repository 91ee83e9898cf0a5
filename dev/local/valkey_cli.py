"""A small client for the Redis or Valkey of this checkout's settings.

python -m dev.local.valkey_cli [--part cache|queue|rate_limit] [command ...]

Without a command it reads commands from the terminal.
"""

import argparse
import contextlib
import shlex
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from redis import Redis, RedisError
from redis.cluster import ClusterNode, RedisCluster
from redis.sentinel import Sentinel

from dev.local.places import address_in

with contextlib.suppress(ImportError):
    import readline  # noqa: F401 - `input` keeps a history with it


def connect(url: str) -> Any:
    """A client for the server, or for the primary that the Sentinels name."""
    address = import_module("src.app.core.settings.redis_url").parse_redis_url(url)
    if address.nodes:
        return _connect_to_cluster(address)
    if address.sentinels:
        login = {"username": address.sentinel_user or None, "password": address.sentinel_password or None}
        options = {"ssl": address.tls, "ssl_check_hostname": address.tls, "socket_timeout": 5}
        sentinels: Any = Sentinel(address.sentinels, sentinel_kwargs=login | options)  # type: ignore[no-untyped-call] # redis is untyped here
        host, port = sentinels.discover_master(address.service)
        url = f"redis{'s' if address.tls else ''}://{host}:{port}/{address.database}"
    client: Any = Redis.from_url(
        url,
        username=address.user or None,
        password=address.password or None,
        decode_responses=True,
        encoding_errors="backslashreplace",
        socket_timeout=5,
        **({"ssl_check_hostname": True} if address.tls else {}),
    )
    client.response_callbacks.clear()  # as the server sends it
    return client


def _connect_to_cluster(address: Any) -> Any:
    """A client for all nodes of a Cluster; a command without a key goes to one of them, or to all primaries."""
    nodes = [ClusterNode(host, port) for host, port in address.nodes]  # type: ignore[no-untyped-call] # redis is untyped here
    login = {"username": address.user or None, "password": address.password or None}
    login |= {"ssl": address.tls, "ssl_check_hostname": address.tls}
    return RedisCluster(startup_nodes=nodes, decode_responses=True, encoding_errors="backslashreplace", **login)


def show(reply: Any, indent: str = "") -> str:
    """The reply as redis-cli shows it."""
    if isinstance(reply, list):
        lines = [f"{number}) {show(item, indent + '   ')}" for number, item in enumerate(reply, 1)]
        return f"\n{indent}".join(lines) or "(empty array)"
    if reply is None:
        return "(nil)"
    return f"(integer) {reply}" if isinstance(reply, int) else str(reply)


def run_command(client: "Redis", words: Sequence[str]) -> bool:
    """Prints the reply or the error; whether it was a reply."""
    try:
        print(show(client.execute_command(*words)))  # type: ignore[no-untyped-call] # redis is untyped here
        return True
    except RedisError as error:
        print(f"(error) {error}")
        return False


def read_commands(client: "Redis", prompt: str) -> None:
    """Runs what the user types, until `quit` or the end of the input."""
    with contextlib.suppress(EOFError, KeyboardInterrupt):
        while True:
            line = input(prompt)
            try:
                words = shlex.split(line)
            except ValueError as error:
                print(f"(error) {error}")
                continue
            if words and words[0].lower() in ("quit", "exit"):
                return
            if words:
                run_command(client, words)


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: 1 if the command given on the command line fails."""
    parser = argparse.ArgumentParser(prog="python -m dev.local.valkey_cli")
    parser.add_argument("--part", choices=["cache", "queue", "rate_limit"], default="cache")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="for example: GET key")
    options = parser.parse_args(arguments)
    settings = import_module("src.app.core.config").settings
    url = getattr(settings, f"REDIS_{options.part.upper()}_URL")
    with connect(url) as client:
        if options.command:
            return 0 if run_command(client, options.command) else 1
        read_commands(client, f"{address_in(url)}> ")
    return 0


if __name__ == "__main__":
    sys.exit(main())
