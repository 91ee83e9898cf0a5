"""Telemetry of Redis: the commands of the process's pipelining connections, and those of redis-py's clients.

Keys and arguments are not exported: they contain names.
"""

from typing import Any

from app.core.redis import Connection
from app.core.telemetry.wrapping import Attributes, Operations, replace_method


def _attributes(server: str, command: object) -> Attributes:
    return {"db.system.name": "redis", "db.operation.name": str(command), "app.redis.server": server}


def observe_connection(connection: Connection, server: str, operations: Operations) -> None:
    """`server` says what it is for: cache, queue or limits."""

    def observed(execute: Any) -> Any:
        async def run(*command: Any) -> Any:
            with operations.run(str(command[0]), _attributes(server, command[0]), {}):
                return await execute(*command)

        return run

    replace_method(connection, "execute", observed)


def observe_client(client: Any, server: str, operations: Operations) -> None:
    """A client of redis-py; a pipeline is one operation."""

    def observed(execute: Any) -> Any:
        async def run(*command: Any, **options: Any) -> Any:
            with operations.run(str(command[0]), _attributes(server, command[0]), {}):
                return await execute(*command, **options)

        return run

    def observed_execution(execute: Any) -> Any:
        async def run(*arguments: Any, **options: Any) -> Any:
            with operations.run("PIPELINE", _attributes(server, "PIPELINE"), {}):
                return await execute(*arguments, **options)

        return run

    def observed_pipeline(make: Any) -> Any:
        def pipeline(*arguments: Any, **options: Any) -> Any:
            made = make(*arguments, **options)
            replace_method(made, "execute", observed_execution)
            return made

        return pipeline

    replace_method(client, "execute_command", observed)
    replace_method(client, "pipeline", observed_pipeline)
