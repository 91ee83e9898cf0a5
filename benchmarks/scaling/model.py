"""The arithmetic, from measured costs to what many processes ask for. Times are microseconds of CPU."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass

from app.core.db.demand import connections_per_process

SECOND = 1_000_000.0
READ_MOSTLY = {"S1": 20, "S2": 20, "S3": 20, "S4": 20, "S5": 12, "S6": 2, "S7": 3, "S8": 3}
"""A share of requests for each scenario of `make bench`: four of five are hits of the cache."""
WEB_PER_WORKER = 4


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one request: CPU time of the web process, of PostgreSQL and of Redis, and round trips to both.

    `tasks` is how many it submits. Their own cost is in `Tasks`.
    """

    web: float
    postgres: float
    redis: float
    queries: float
    commands: float
    tasks: float = 0.0

    @property
    def per_second(self) -> float:
        """The requests that one web process with a core for itself can handle."""
        return SECOND / self.web


@dataclass(frozen=True, slots=True)
class Rest:
    """What a process asks for without requests and tasks: round trips a second, and connections to Redis."""

    queries: float
    commands: float
    redis_connections: float


@dataclass(frozen=True, slots=True)
class Tasks:
    """Of one task that does nothing: CPU time of the worker and of Redis, and bytes in Redis while it waits."""

    worker: float
    redis: float
    waiting_bytes: float


@dataclass(frozen=True, slots=True)
class Measured:
    """One process of each kind; `memory` is bytes in Redis for each thing that it has one of per user."""

    machine: str
    costs: Mapping[str, Cost]
    web: Rest
    worker: Rest
    tasks: Tasks
    memory: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Servers:
    """What there is to use up."""

    pool_size: int = 10
    max_overflow: int = 10
    max_connections: int = 100
    reserved: int = 3
    postgres_cores: int = 4
    redis_cores: float = 1.0

    @property
    def connections_per_process(self) -> int:
        return connections_per_process(self.pool_size, self.max_overflow)


@dataclass(frozen=True, slots=True)
class Demand:
    """What these processes ask for when every web process uses its core fully."""

    web: int
    workers: int
    requests: float
    postgres_connections: int
    redis_connections: float
    queries_at_rest: float
    commands_at_rest: float
    queries: float
    commands: float
    postgres_cores: float
    redis_cores: float


@dataclass(frozen=True, slots=True)
class Limit:
    """A part, the number of web processes with which it is full, and what to change then."""

    part: str
    web: float
    change: str


def lowest(rounds: Sequence[Cost]) -> Cost:
    """Each part at its lowest: other programs on the machine can only add to it."""
    return Cost(*map(min, zip(*map(astuple, rounds), strict=True)))


def mixed(costs: Mapping[str, Cost], shares: Mapping[str, float]) -> Cost:
    """The average request, of the scenarios that have both a cost and a share."""
    names = [name for name in costs if name in shares]
    total = sum(shares[name] for name in names)

    def average(part: str) -> float:
        return sum(shares[name] * float(getattr(costs[name], part)) for name in names) / total

    return Cost(*map(average, ("web", "postgres", "redis", "queries", "commands", "tasks")))


def workers_for(web: int) -> int:
    return math.ceil(web / WEB_PER_WORKER)


def demand(measured: Measured, cost: Cost, servers: Servers, web: int) -> Demand:
    """Of `web` processes and their workers."""
    workers = workers_for(web)
    requests = web * cost.per_second

    def at_rest(part: str) -> float:
        return web * float(getattr(measured.web, part)) + workers * float(getattr(measured.worker, part))

    return Demand(
        web=web,
        workers=workers,
        requests=requests,
        postgres_connections=(web + workers) * servers.connections_per_process,
        redis_connections=at_rest("redis_connections"),
        queries_at_rest=at_rest("queries"),
        commands_at_rest=at_rest("commands"),
        queries=at_rest("queries") + requests * cost.queries,
        commands=at_rest("commands") + requests * cost.commands,
        postgres_cores=requests * cost.postgres / SECOND,
        redis_cores=requests * (cost.redis + cost.tasks * measured.tasks.redis) / SECOND,
    )


def capacity(cost: Cost, servers: Servers, tasks: Tasks, web: int) -> float:
    """Requests a second: what the web processes, PostgreSQL's cores or Redis' can handle, whichever is least."""
    parts = [
        (web, cost.web),
        (servers.postgres_cores, cost.postgres),
        (servers.redis_cores, cost.redis + cost.tasks * tasks.redis),
    ]
    return min(cores * SECOND / each for cores, each in parts if each)


def web_until_connections_are_full(servers: Servers) -> int:
    """The largest number of web processes that fits together with its workers; 0 if none does."""
    allowed = (servers.max_connections - servers.reserved) // servers.connections_per_process
    return max((web for web in range(1, allowed + 1) if web + workers_for(web) <= allowed), default=0)


def limits(cost: Cost, servers: Servers, tasks: Tasks) -> list[Limit]:
    """The first one to be reached comes first."""
    load = cost.web / SECOND  # seconds in which a web process handles one request
    redis_per_request = cost.redis + cost.tasks * tasks.redis
    worker_per_request = cost.tasks * tasks.worker
    found = [
        Limit(
            f"connections to PostgreSQL ({servers.max_connections})",
            web_until_connections_are_full(servers),
            "smaller pools, a larger `max_connections`, or PgBouncer",
        ),
        Limit(
            f"PostgreSQL, {servers.postgres_cores} cores",
            servers.postgres_cores * SECOND / cost.postgres * load,
            "more cores; cache more responses, for longer",
        ),
        Limit(
            "Redis, one core for everything",
            servers.redis_cores * SECOND / redis_per_request * load,
            "a server each for the cache, the queue and the limits (`REDIS_..._HOST`)",
        ),
        Limit(
            "one worker, tasks that do nothing",
            SECOND / worker_per_request * load if worker_per_request else float("inf"),
            "more workers",
        ),
    ]
    return sorted(found, key=lambda limit: limit.web)
