"""Random faults against real processes, with a model beside them that knows what each response may say.

    make chaos SECONDS=120 SEED=1

Two web servers, two workers, PostgreSQL and two Valkeys run on this machine, each server behind a proxy of ours on
loopback. A seeded schedule kills, freezes, restarts and cuts them off, locks a table until the connection pools are
full, and sends bursts. Meanwhile clients register, rename, write, read, log in and out, and submit tasks, each against
a random server, and compare every response with the model. The parts:

- `proxy`: the connections that a partition stalls or cuts
- `cluster`: the processes, and how each one is broken and repaired
- `faults`: the schedule
- `clients`, `tasks`: what the clients do, and the model of users, posts, sessions, limits and tasks
- `outbox`: the tasks that registrations submit with their commits
- `api`: one request and its outcome
- `report`: the counts, and the table

A write without a response may or may not have happened, and may still happen later. The model then gives up on what it
concerns, so that only certain knowledge is compared.
"""

import src  # noqa: F401 - makes `app` importable from the root
