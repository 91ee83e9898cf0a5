"""The local run: PostgreSQL, Valkey, the API and the worker of one checkout, without Docker.

Which servers are used (`servers`): a server whose host or port is set, in the environment or in `src/.env`, is used as
it is. For every other one the run starts its own on a port of its own, and writes host, port and password to
`.local/servers.env` (`environment`). The settings read that file last, so that Alembic, the scripts, uvicorn and arq in
this checkout reach the same servers, and those of another checkout never do: ports and passwords differ.

What runs (`run`): first the servers, then the migrations and the first rows, then the API and the worker. `supervisor`
restarts what ends; `changes` reports changed code, a changed `src/.env` and new migrations. A new migration is applied
by the next start, never by a reload (`migrations`).

How it ends (`signals`, `claim`, `record`): Ctrl-C and SIGTERM stop everything in reverse order. A lock allows one run
per checkout. After `kill -9` the next run ends what is left, found by the notes in `.local/run.json`.

Not covered: Windows without WSL, as there is no Valkey for it.
"""

import sys

if sys.platform == "win32":
    raise SystemExit("The local servers do not run on Windows itself: use WSL, or Docker Compose as the README shows.")
