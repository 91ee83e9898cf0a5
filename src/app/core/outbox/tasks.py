"""A task on its way into the outbox, with everything that is refused before the commit."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from app.core.outbox.table import MAX_JOB_ID, MAX_KEY
from app.core.queue.jobs import PackedTask
from app.core.trace_context import REQUEST_ID, TRACEPARENT, carried

TaskFunction = Callable[..., Any] | str
"""A function of the worker, what `limited` makes of one, or its name."""


class TaskRefusedError(ValueError):
    """A task that no worker could run, or that is too large; nothing was stored."""


def name_of(function: TaskFunction) -> str:
    """The name under which the worker registers the function."""
    if isinstance(function, str):
        return function
    name = getattr(function, "name", None) or getattr(function, "__qualname__", None)
    if not isinstance(name, str):
        raise TaskRefusedError(f"{function!r} is not a function of the worker, or its name")
    return name


@dataclass(frozen=True, slots=True)
class NewTask:
    """A call of a worker's function, not yet stored.

    `job_id`, `defer_by` (seconds or a timedelta) and `defer_until` are as for `enqueue_job`; `after` is the key whose
    earlier tasks have to end first.
    """

    function: TaskFunction
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    job_id: str | None = None
    defer_by: float | timedelta | None = None
    defer_until: datetime | None = None
    after: str | None = None

    @property
    def name(self) -> str:
        return name_of(self.function)

    def check(self) -> None:
        """Raises `TaskRefusedError` for an id or a key that does not fit its column."""
        for what, value, limit in (("_job_id", self.job_id, MAX_JOB_ID), ("_after", self.after, MAX_KEY)):
            if value is not None and not _is_name(value, limit):
                raise TaskRefusedError(f"{what} is a text of 1 to {limit} printable characters: {value!r:.120}")


def _is_name(value: object, limit: int) -> bool:
    """Other characters cannot be stored (NUL, a lone surrogate), or not be read in a log line."""
    return isinstance(value, str) and 0 < len(value) <= limit and value.isprintable()


def row_values(task: NewTask, packed: PackedTask) -> dict[str, Any]:
    """The row's values, as the parameters of a statement of `writes`."""
    context = carried()
    return {
        "task_job_id": packed.job_id,
        "task_function": task.name,
        "task_packed": packed.packed,
        "task_due_at": datetime.fromtimestamp(packed.due / 1000, UTC),
        "task_order_key": task.after,
        "task_request_id": context.get(REQUEST_ID),
        "task_traceparent": context.get(TRACEPARENT),
    }
