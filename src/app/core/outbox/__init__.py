"""The transactional outbox: a task is submitted by the commit that it belongs to, or not at all.

`enqueue` of `app.core.utils.queue` writes the task into the table `outbox`, in the caller's own transaction. A relay
moves committed rows to the queue. The parts:

- `table`: the rows. `tasks`: a task before it is stored. `outbox`: accepts and stores tasks.
- `writes`: the statements that store a task, alone or together with another write, and those of the relay.
- `relay`: sends what this process has committed, right after the commit and outside of the request.
- `sweep`: sends, from every worker, what a killed process or an outage left behind, and tasks that follow others.
- `delivery`: what both do with a batch of rows. `view`: rows as tasks, for the endpoints.

Guaranteed:

- **Committed is run, rolled back is not.** A row is visible to a relay only after its commit, and is deleted only when
  Redis has the task. From then on the guarantees of `app.core.worker.runtime` apply. A `kill -9` at any moment leaves
  the row, or the task in Redis, or both.
- **At least once.** A relay that is killed after Redis has the task, and before the row is deleted, leaves a row that
  is sent again. The queue refuses an id that waits, runs, or has a result: the second delivery has no effect as long as
  the result is kept (TASK_RESULT_TTL_SECONDS). Only a row that outlives its task's result is run again. That takes a
  database that becomes unavailable right after the delivery, and stays so for longer.
- **An unavailable Redis delays tasks, never writes.** Their rows wait. No connection to the database and no lock is
  held while Redis is waited for: a relay claims rows by one statement that sets `claimed_until`, sends them, and
  settles them by another. A claim that is not settled ends by itself after OUTBOX_LEASE_SECONDS.
- **A task that Redis refuses holds up no other**, unless they share an `_after` key. It is sent again every
  `RETRY_SECONDS`, and the reason is in the row, in the log and in `GET /tasks`.
- **Order where it is asked for.** Transactions that use the same `_after` key are serialized by an advisory lock. A
  task is sent when each earlier one with its key has ended, whether it succeeded or failed.
- **Bounded.** What no worker could run, what is too large and what is not plain data is refused before the commit. A
  process keeps at most `MAX_WAITING` tasks in memory, and a relay uses one connection at a time.

Not covered: a Redis that loses what it has acknowledged, and one order over several keys.
"""

from app.core.outbox.outbox import Outbox, accepts, open_outbox, require_outbox
from app.core.outbox.sweep import Sweep, open_sweep
from app.core.outbox.tasks import NewTask, TaskFunction, TaskRefusedError
from app.core.outbox.view import OutboxDepth, OutboxView, find_task, read_outbox, read_outbox_depth

__all__ = [
    "NewTask",
    "Outbox",
    "OutboxDepth",
    "OutboxView",
    "Sweep",
    "TaskFunction",
    "TaskRefusedError",
    "accepts",
    "find_task",
    "open_outbox",
    "open_sweep",
    "read_outbox",
    "read_outbox_depth",
    "require_outbox",
]
