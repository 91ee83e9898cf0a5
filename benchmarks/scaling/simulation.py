"""The model of `benchmarks.scaling.model` by simulation: single requests, which wait where all cores are busy.

A request takes turns on its web process and on a server: CPU time of the web process before, between and after its
round trips. Each station serves in the order of arrival. Times are microseconds.
"""

import heapq
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count

from benchmarks.scaling.model import SECOND, Cost, Servers, Tasks

CALLERS = 32
"""Of each web process, as in `make bench`."""
SEED = 1

Visit = tuple[str, float]
"""A station and the time that the request needs there; the web process is "web"."""


@dataclass(frozen=True, slots=True)
class Simulated:
    """What the requests of one simulation met; `busy` is the share of its cores that each station used."""

    per_second: float
    p50: float
    p99: float
    busy: Mapping[str, float]


@dataclass(slots=True)
class _Station:
    """Cores that serve in the order of arrival; `free_at` is a heap with the time at which each is free."""

    free_at: list[float]
    used: float = 0.0

    def serve(self, now: float, time: float) -> float:
        """When a request is done that arrives now; arrivals come in the order of time."""
        end = max(now, self.free_at[0]) + time
        heapq.heapreplace(self.free_at, end)
        self.used += time
        return end


@dataclass(slots=True)
class _Request:
    begin: float
    web: int
    visits: Sequence[Visit]
    done: int = 0


@dataclass(slots=True)
class _Machine:
    """The stations of some web processes, and the requests under way by the time of their next arrival."""

    web: list[_Station]
    servers: dict[str, _Station]
    order: "count[int]" = field(default_factory=count)
    arrivals: list[tuple[float, int, _Request]] = field(default_factory=list)

    def add(self, now: float, request: _Request) -> None:
        heapq.heappush(self.arrivals, (now, next(self.order), request))

    def next_finished(self) -> tuple[float, _Request]:
        """Runs until a request is done."""
        while True:
            now, _, request = heapq.heappop(self.arrivals)
            if request.done == len(request.visits):
                return now, request
            name, time = request.visits[request.done]
            station = self.web[request.web] if name == "web" else self.servers[name]
            request.done += 1
            self.add(station.serve(now, time), request)


def visits(cost: Cost, tasks: Tasks) -> list[Visit]:
    """The way of one request. What its task costs Redis counts as part of its own commands."""
    queries, commands = round(cost.queries), round(cost.commands)
    slice_of_web = cost.web / (queries + commands + 1)
    way: list[Visit] = [("web", slice_of_web)]
    redis = cost.redis + cost.tasks * tasks.redis
    for name, times, total in (("Redis", commands, redis), ("PostgreSQL", queries, cost.postgres)):
        for _ in range(times):
            way += [(name, total / times), ("web", slice_of_web)]
    return way


class Simulation:
    """A mix of requests on a number of web processes."""

    def __init__(
        self, costs: Mapping[str, Cost], shares: Mapping[str, float], tasks: Tasks, servers: Servers, web: int
    ) -> None:
        names = [name for name in costs if name in shares]
        self._ways = [visits(costs[name], tasks) for name in names]
        self._shares = [shares[name] for name in names]
        self._web = web
        self._cores = {"PostgreSQL": servers.postgres_cores, "Redis": max(1, round(servers.redis_cores))}
        self._random = random.Random(SEED)

    def with_callers(self, callers: int, requests: int) -> Simulated:
        """Each caller of each web process sends the next request when it has the response to the last."""
        machine = self._machine()
        for number in range(self._web * callers):
            self._send(machine, 0.0, number % self._web)
        times: list[float] = []
        now = 0.0
        while len(times) < requests:
            now, request = machine.next_finished()
            times.append(now - request.begin)
            self._send(machine, now, request.web)
        return self._summary(machine, times, now)

    def with_arrivals(self, per_second: float, requests: int) -> Simulated:
        """Requests arrive at random times, whether earlier ones have their responses or not."""
        machine = self._machine()
        begin = 0.0
        for _ in range(requests):
            begin += self._random.expovariate(per_second / SECOND)
            self._send(machine, begin, self._random.randrange(self._web))
        times: list[float] = []
        now = 0.0
        for _ in range(requests):
            now, request = machine.next_finished()
            times.append(now - request.begin)
        return self._summary(machine, times, now)

    def _machine(self) -> _Machine:
        servers = {name: _Station([0.0] * cores) for name, cores in self._cores.items()}
        return _Machine([_Station([0.0]) for _ in range(self._web)], servers)

    def _send(self, machine: _Machine, now: float, web: int) -> None:
        (way,) = self._random.choices(self._ways, self._shares)
        machine.add(now, _Request(now, web, way))

    def _summary(self, machine: _Machine, times: list[float], end: float) -> Simulated:
        times.sort()
        busy = {"web": sum(station.used for station in machine.web) / self._web / end}
        busy |= {name: station.used / len(station.free_at) / end for name, station in machine.servers.items()}
        return Simulated(
            per_second=len(times) / end * SECOND,
            p50=times[len(times) // 2],
            p99=times[int(len(times) * 0.99)],
            busy=busy,
        )
