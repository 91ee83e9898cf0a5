"""The part that keeps arq's worker from losing tasks; a product changes only `settings.py` and `functions.py`.

- `reliable`: the base class of `WorkerSettings`, with arq's defaults replaced, and `scheduled` and `limited`.
- `retries`: tries, timeouts and back-off around a task; `hooks` keeps their counts in Redis.
- `handover`: tasks of a function that this worker does not have go back into the queue.
- `reconnect`: the worker's connection, which waits while Redis is unavailable.
- `context`: what a task receives as `ctx`.

Guaranteed: an accepted task runs to completion as long as Redis keeps its data, whatever process is killed; it may run
twice. Not covered: a Redis that loses data it has acknowledged.
"""
