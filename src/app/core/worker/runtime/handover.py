"""Tasks that this worker cannot run, because it does not have their function or cannot read their data.

While a deploy replaces workers, old and new ones share the queue, and an old one may claim a task that only the new
code has. It returns such a task to the queue, with growing delays and without counting a try, until a worker that has
the function takes it. After `HAND_BACK_SECONDS` the task is kept as failed. Data that cannot be read fail at once.

arq ends both kinds of tasks before it calls any of our hooks. So the worker's deserializer replaces them by a task
that does the above, and its serializer writes their results under the original name. arq names the two functions of
these tasks, `_hand_back` and `_report_unreadable`, among those of the worker in its first log line.
"""

import logging
import time
from collections.abc import Collection
from typing import Any

from arq.worker import Retry, func

from app.core.queue.codec import CONTEXT, dumps, loads
from app.core.trace_context import resume
from app.core.worker.runtime.context import TaskContext
from app.core.worker.runtime.retries import SUCCESS

logger = logging.getLogger(__name__)

HAND_BACK_SECONDS = 3600.0
FIRST_DELAY_SECONDS = 1.0
MAX_DELAY_SECONDS = 30.0
FIRST_SEEN_KEY_PREFIX = "arq:unknown-since:"
_HAND_BACK = "_hand_back"
_REPORT_UNREADABLE = "_report_unreadable"
_UNKNOWN = "<unknown>"


class UnknownFunctionError(Exception):
    """No worker had the task's function for `HAND_BACK_SECONDS`."""


class UnreadableTaskError(Exception):
    """The task's data are not what this project writes into the queue."""


async def _hand_back(ctx: dict[Any, Any], *args: Any, **_: Any) -> None:
    function, context, now = args[0], TaskContext(ctx), time.time()
    key = FIRST_SEEN_KEY_PREFIX + context.job_id
    first_seen = await context.worker_queue.set(key, now, nx=True, get=True, ex=int(2 * HAND_BACK_SECONDS))
    waited = now - float(first_seen) if first_seen else 0.0
    if waited >= HAND_BACK_SECONDS:
        ctx[SUCCESS] = False
        raise UnknownFunctionError(f"no worker has the function {function!r}")
    if not first_seen:
        logger.warning(
            "%s: this worker has no function %r, the task is returned to the queue", context.job_id, function
        )
    raise Retry(defer=min(max(waited, FIRST_DELAY_SECONDS), MAX_DELAY_SECONDS))


async def _report_unreadable(ctx: dict[Any, Any], *args: Any, **_: Any) -> None:
    ctx[SUCCESS] = False
    raise UnreadableTaskError(*args)


HANDOVER_FUNCTIONS = (func(_hand_back, name=_HAND_BACK), func(_report_unreadable, name=_REPORT_UNREADABLE))


class WorkerCodec:
    """The queue's codec for a worker that has the functions of these names."""

    def __init__(self, functions: Collection[str]) -> None:
        self._functions = frozenset(functions)

    def loads(self, packed: bytes) -> dict[str, Any]:
        """arq's record of a task, or that of the handover that is run instead.

        arq reads a record in the asyncio task that runs it: from here on the log lines of the run name its request.
        """
        try:
            entry = loads(packed)
            name, args, kwargs = entry["f"], entry["a"], entry["k"]
            resume(entry.get(CONTEXT, {}))
        except Exception as error:  # noqa: BLE001 - the data may be anything
            return {"t": None, "f": _REPORT_UNREADABLE, "a": (repr(error),), "k": {}, "et": 0}
        return entry if name in self._functions else entry | {"f": _HAND_BACK, "a": (name, args, kwargs), "k": {}}

    def dumps(self, entry: dict[str, Any]) -> bytes:
        """arq's record of a result, under the name and with the arguments that were submitted."""
        if entry["f"] == _HAND_BACK:
            name, args, kwargs = entry["a"]
            entry = entry | {"f": name, "a": args, "k": kwargs}
        elif entry["f"] == _REPORT_UNREADABLE:
            entry = entry | {"f": _UNKNOWN, "a": ()}
        return dumps(entry)
