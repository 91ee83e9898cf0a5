"""Measurements of what the code costs. Each is run from the root of the project with `.venv/bin/python -m`:

benchmarks.compare             `make bench`: eight hot requests, the template against an application written by hand
benchmarks.profile             `make profile SCENARIO=S5`: a flame graph of one of these requests
benchmarks.scale               pages, rows and writes with 1,000 and with 1,000,000 rows
benchmarks.scaling            what 1, 10 and 100 web processes ask of PostgreSQL and Redis, and what is full first
benchmarks.two_servers        two web servers behind NGINX against one
benchmarks.idle                queries per second of a process that nobody asks for anything
benchmarks.start               CPU time of `import app.main`, and the memory of a fresh worker
benchmarks.cache_hit           a hit of the cache against the same endpoint without it
benchmarks.cache_invalidation  dropping entries next to 0 and 1,000,000 unrelated ones
benchmarks.rate_limit          what the limiter adds to a request, in GETs of Redis
benchmarks.login_storm         what a storm of logins costs other clients, and logins against bare bcrypt
benchmarks.outbox              a request with and without a task in the outbox, tasks per second, the table's size
benchmarks.kill_workers        tasks lost and repeated while workers are killed at random
benchmarks.kill_outbox         the same for tasks in the outbox, while the processes that submit them are killed too
"""

import src  # noqa: F401 - makes `app` importable from the root
