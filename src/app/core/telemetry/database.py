"""Telemetry of the database: single statements, those of sessions, and the pool."""

from collections.abc import Iterable
from time import perf_counter
from typing import Any

from opentelemetry.metrics import CallbackOptions, Meter, Observation
from sqlalchemy import event

from app.core.db.database import Database
from app.core.db.read_database import ReadDatabase
from app.core.telemetry.sql import shown
from app.core.telemetry.wrapping import QUICK, Attributes, Operations, error_type, replace_method

_SYSTEM: Attributes = {"db.system.name": "postgresql"}
_STACK = "telemetry"


class _Statement:
    """One statement on its way."""

    def __init__(self, operations: Operations, sql: str) -> None:
        found = shown(sql)
        measured = _SYSTEM | {"db.operation.name": found.operation, "db.query.summary": found.summary}
        self.running = operations.run(found.summary, measured, {"db.query.text": found.text})


def observe_database(database: Database, operations: Operations, meter: Meter) -> None:
    _observe_statements(database, operations)
    _observe_sessions(database, operations)
    _observe_pool(database, meter)


def observe_replica(database: Database | None, operations: Operations) -> None:
    """The statements of the replica, if there is one; a read that fails there is run on the primary, too."""
    if isinstance(database, ReadDatabase):
        _observe_statements(database.replica.database, operations)


def _observe_statements(database: Database, operations: Operations) -> None:
    def observed(execute: Any) -> Any:
        async def run(statement: Any, parameters: Any = None, check: Any = None) -> Any:
            with _Statement(operations, database.sql(statement, parameters)).running:
                return await execute(statement, parameters, check)

        return run

    replace_method(database, "execute", observed)


def _observe_sessions(database: Database, operations: Operations) -> None:
    engine = database.engine.sync_engine

    @event.listens_for(engine, "before_cursor_execute")
    def _begin(connection: Any, cursor: Any, sql: str, *_: Any) -> None:
        running = _Statement(operations, sql).running
        running.__enter__()
        connection.info.setdefault(_STACK, []).append(running)

    @event.listens_for(engine, "after_cursor_execute")
    def _end(connection: Any, *_: Any) -> None:
        connection.info[_STACK].pop().__exit__(None, None, None)

    @event.listens_for(engine, "handle_error")
    def _fail(context: Any) -> None:
        stack = context.connection.info.get(_STACK) if context.connection else None
        error = context.original_exception
        if stack:
            stack.pop().__exit__(type(error), error, error.__traceback__)


def _observe_pool(database: Database, meter: Meter) -> None:
    pool = database.pool
    wait_time = meter.create_histogram(
        "db.client.connection.wait_time",
        "s",
        "Waits for a connection, or to make one.",
        explicit_bucket_boundaries_advisory=QUICK,
    )

    def observed(acquire: Any) -> Any:
        async def run() -> Any:
            began, attributes = perf_counter(), {}
            try:
                return await acquire()
            except BaseException as error:
                attributes["error.type"] = error_type(error)
                raise
            finally:
                wait_time.record(perf_counter() - began, attributes)

        return run

    replace_method(pool, "acquire", observed)

    def count(_: CallbackOptions) -> Iterable[Observation]:
        yield Observation(pool.checkedout(), {"db.client.connection.state": "used"})
        yield Observation(pool.checkedin(), {"db.client.connection.state": "idle"})

    meter.create_observable_up_down_counter(
        "db.client.connection.count", [count], "{connection}", "Connections of the pool."
    )
    meter.create_observable_up_down_counter(
        "db.client.connection.max", [lambda _: [Observation(pool.size)]], "{connection}", "The most there may be."
    )
    meter.create_observable_up_down_counter(
        "db.client.connection.pending_requests",
        [lambda _: [Observation(pool.waiting)]],
        "{request}",
        "Callers that wait for a connection.",
    )
