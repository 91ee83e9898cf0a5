"""The measuring itself: rounds in which the applications take turns, so that other work falls on both."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from statistics import median

import httpx
from redis import Redis

from benchmarks.compare.cores import cpu_seconds
from benchmarks.compare.load import Outcome, Plan, WrongResponseError, run_load
from benchmarks.compare.scenarios import Scenario
from benchmarks.compare.stage import Application, Servers, Stage

CONNECTIONS = 32
WARM_UP_SECONDS = 1.0


@dataclass(slots=True)
class Series:
    """One application's rounds of one scenario; `cpu` in microseconds per request, empty where unknown."""

    outcomes: list[Outcome] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        return median(outcome.per_second for outcome in self.outcomes)

    @property
    def p50(self) -> float:
        return median(outcome.p50 for outcome in self.outcomes)

    @property
    def p99(self) -> float:
        return median(outcome.p99 for outcome in self.outcomes)

    @property
    def cpu_microseconds(self) -> float | None:
        return median(self.cpu) if self.cpu else None


@dataclass(slots=True)
class Comparison:
    """All applications in one scenario; `coalescing` is the comparison with our HTTP protocol."""

    scenario: Scenario
    bare: Series = field(default_factory=Series)
    coalescing: Series = field(default_factory=Series)
    ours: Series = field(default_factory=Series)

    @property
    def throughput(self) -> float:
        return self.ours.per_second / self.bare.per_second

    @property
    def throughput_if_both_coalesce(self) -> float:
        return self.ours.per_second / self.coalescing.per_second

    @property
    def throughputs(self) -> list[float]:
        pairs = zip(self.ours.outcomes, self.bare.outcomes, strict=True)
        return sorted(ours.per_second / bare.per_second for ours, bare in pairs)

    @property
    def p99(self) -> float:
        return self.ours.p99 / self.bare.p99


def compare(
    stage: Stage, scenarios: list[Scenario], rounds: int, seconds: float, report: Callable[[str], None]
) -> Iterator[Comparison]:
    """Yields each scenario when its rounds are complete. Raises `WrongResponseError`."""
    for scenario in scenarios:
        comparison = Comparison(scenario)
        for number in range(rounds):
            report(f"{scenario.name} {scenario.title}, round {number + 1} of {rounds}")
            turns = [
                (stage.bare, comparison.bare),
                (stage.ours, comparison.ours),
                (stage.coalescing, comparison.coalescing),
            ]
            for application, series in turns if number % 2 == 0 else reversed(turns):
                _measure(stage, application, scenario, seconds, series)
        yield comparison


def warmed_up(servers: Servers, application: Application, scenario: Scenario, token: str) -> Plan:
    """Empties the application's part of Valkey, fills its cache and its pools; returns the plan of the warm-up."""
    with Redis(servers.valkey.host, servers.valkey.port, application.redis_db) as redis:
        redis.flushdb()
    _prime(application, scenario, token)
    requests = scenario.requests(application.port, token)
    plan = Plan(application.port, requests, scenario.status, scenario.is_cached, CONNECTIONS, WARM_UP_SECONDS)
    run_load(plan)
    return plan


def _measure(stage: Stage, application: Application, scenario: Scenario, seconds: float, series: Series) -> None:
    try:
        plan = warmed_up(stage.servers, application, scenario, stage.token)
        before = cpu_seconds(application.pid)
        outcome = run_load(replace(plan, seconds=seconds))
        after = cpu_seconds(application.pid)
    except WrongResponseError as error:
        log = stage.servers.log.read_text(errors="replace")[-2000:]
        raise WrongResponseError(f"{scenario.name}, {application.name}: {error}\n{log}") from error
    series.outcomes.append(outcome)
    if before is not None and after is not None:
        series.cpu.append((after - before) / outcome.requests * 1e6)


def _prime(application: Application, scenario: Scenario, token: str) -> None:
    """Each request until it is a hit; others once, so that what they need is open."""
    base = f"http://127.0.0.1:{application.port}/api/v1"
    headers = {} if scenario.is_cached else {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=base, headers=headers, timeout=15) as client:
        for path in scenario.paths:
            for _ in range(20 if scenario.is_cached else 1):
                response = client.request(scenario.method, path, json=scenario.body)
                if response.headers.get("x-cache") == "hit":
                    break
