"""The tables."""

from collections.abc import Iterable, Sequence

from benchmarks.compare.scenarios import SCENARIOS
from benchmarks.scaling.model import (
    READ_MOSTLY,
    SECOND,
    Cost,
    Measured,
    Servers,
    capacity,
    demand,
    limits,
    mixed,
)
from benchmarks.scaling.simulation import CALLERS, Simulated, Simulation

PROCESSES = (1, 10, 100)
SIMULATED = (1, 2, 5, 10, 20, 40)
"""Web processes, up to more than the servers can handle."""
LOADS = (0.5, 0.7, 0.9)
PROCESSES_UNDER_LOAD = (1, 5, 10)
REQUESTS = 40_000
"""In each simulation."""
USERS = 1_000_000
MIX = "mix"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def number(value: float) -> str:
    """Three digits, which is more than the measurement is good for."""
    if value >= 100:
        return f"{float(f'{value:.3g}'):,.0f}"
    return f"{value:.2g}" if value < 10 else f"{value:.0f}"


def costs(measured: Measured, mix: Cost) -> str:
    titles = {scenario.name: f"{scenario.name} {scenario.title}" for scenario in SCENARIOS} | {MIX: "the mix"}
    header = (
        "one request",
        "web, us",
        "PostgreSQL, us",
        "Redis, us",
        "queries",
        "commands",
        "web processes per core of PostgreSQL",
    )
    rows = [
        [
            titles[name],
            number(cost.web),
            number(cost.postgres),
            number(cost.redis),
            f"{cost.queries:.2g}",
            f"{cost.commands:.2g}",
            number(cost.web / cost.postgres) if cost.queries else "",
        ]
        for name, cost in {**measured.costs, MIX: mix}.items()
    ]
    return table(header, rows)


def demands(measured: Measured, mix: Cost, servers: Servers) -> str:
    found = [demand(measured, mix, servers, web) for web in PROCESSES]
    header = ("web processes", *(str(each.web) for each in found))
    rows = [
        ("workers", *(str(each.workers) for each in found)),
        ("requests a second", *(number(each.requests) for each in found)),
        ("connections to PostgreSQL, at most", *(f"{each.postgres_connections:,}" for each in found)),
        ("connections to Redis in use", *(number(each.redis_connections) for each in found)),
        ("queries a second at rest", *(number(each.queries_at_rest) for each in found)),
        ("queries a second under load", *(number(each.queries) for each in found)),
        ("cores that PostgreSQL uses", *(number(each.postgres_cores) for each in found)),
        ("commands a second at rest", *(number(each.commands_at_rest) for each in found)),
        ("commands a second under load", *(number(each.commands) for each in found)),
        ("cores that Redis uses, with the tasks", *(number(each.redis_cores) for each in found)),
    ]
    return table(header, rows)


def saturation(measured: Measured, mix: Cost, servers: Servers) -> str:
    found = limits(mix, servers, measured.tasks)
    header = ("what is full", "at this number of web processes", "what to change")
    return table(header, [(limit.part, number(limit.web), limit.change) for limit in found])


def _simulated(result: Simulated) -> list[str]:
    busy = [f"{min(1, result.busy[name]):.0%}" for name in ("web", "PostgreSQL", "Redis")]
    return [number(result.per_second), f"{result.p50 / 1000:.1f}", f"{result.p99 / 1000:.1f}", *busy]


_SIMULATED = ("requests a second", "p50, ms", "p99, ms", "web", "PostgreSQL", "Redis")


def simulated_limits(measured: Measured, servers: Servers) -> str:
    """Callers that never pause: the part that is full is the one that they wait for."""
    rows = []
    for web in SIMULATED:
        simulation = Simulation(measured.costs, READ_MOSTLY, measured.tasks, servers, web)
        rows.append([str(web), *_simulated(simulation.with_callers(CALLERS, REQUESTS))])
    return table((f"web processes, {CALLERS} callers each", *_SIMULATED), rows)


def simulated_waiting(measured: Measured, mix: Cost, servers: Servers) -> str:
    """Requests that arrive at random: the nearer to full, the longer they wait."""
    rows = []
    for web in PROCESSES_UNDER_LOAD:
        full = capacity(mix, servers, measured.tasks, web)
        for load in LOADS:
            simulation = Simulation(measured.costs, READ_MOSTLY, measured.tasks, servers, web)
            rows.append([f"{web}, {load:.0%}", *_simulated(simulation.with_arrivals(full * load, REQUESTS))])
    return table(("web processes, load", *_SIMULATED), rows)


def memory(measured: Measured) -> str:
    header = ("for each of a million users", "bytes", "MB in all")
    rows = [(name, number(size), number(size * USERS / 1e6)) for name, size in measured.memory.items()]
    return table(header, rows)


def queue(measured: Measured) -> str:
    tasks = measured.tasks
    rows = [
        ("tasks a second that one worker can run", number(SECOND / tasks.worker)),
        ("tasks a second that one core of Redis can handle", number(SECOND / tasks.redis)),
        ("bytes of a waiting task", number(tasks.waiting_bytes)),
    ]
    return table(("tasks that do nothing", ""), rows)


def report(measured: Measured, servers: Servers) -> str:
    mix = mixed(measured.costs, READ_MOSTLY)
    tables = (
        costs(measured, mix),
        demands(measured, mix, servers),
        saturation(measured, mix, servers),
        simulated_limits(measured, servers),
        simulated_waiting(measured, mix, servers),
        memory(measured),
        queue(measured),
    )
    return "\n\n".join([f"{measured.machine}.", *tables])
