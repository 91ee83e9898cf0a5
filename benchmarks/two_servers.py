"""Two web servers behind NGINX against one, with one process each.

All of them share the cores of this machine with the load generator, PostgreSQL and Valkey, so that a ratio of two is
out of reach where there are few cores: the table shows what a second server adds here.
"""

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

from benchmarks.compare.cores import Cores
from benchmarks.compare.load import Outcome, generator_name, run_load
from benchmarks.compare.report import machine
from benchmarks.compare.rounds import warmed_up
from benchmarks.compare.scenarios import SCENARIOS, Scenario
from benchmarks.compare.stage import Application, Servers, log_in, open_servers
from benchmarks.scaling.report import table
from tests.support.topology import Topology

NUMBERS = (1, 2)


@dataclass(slots=True)
class Measurement:
    """The rounds of one scenario, by the number of servers."""

    scenario: Scenario
    outcomes: dict[int, list[Outcome]] = field(default_factory=lambda: {number: [] for number in NUMBERS})

    def row(self) -> list[str]:
        one, two = (self.outcomes[number] for number in NUMBERS)
        ratios = sorted(b.per_second / a.per_second for a, b in zip(one, two, strict=True))
        return [
            f"{self.scenario.name} {self.scenario.title}",
            *(f"{median(outcome.per_second for outcome in each):,.0f}" for each in (one, two)),
            f"{median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})",
            *(f"{median(outcome.p99 for outcome in each):.1f} ms" for each in (one, two)),
        ]


@contextmanager
def _behind_nginx(servers: Servers, number: int) -> Iterator[Application]:
    """NGINX's port; each topology has its own part of Valkey."""
    databases = {f"REDIS_{part}_DB": str(number) for part in ("CACHE", "RATE_LIMIT", "QUEUE")}
    with tempfile.TemporaryDirectory() as folder:
        environment = {**servers.variables, **databases, "TRUSTED_PROXIES": "127.0.0.1"}
        with Topology(Path(folder), environment, servers=number, processes=1) as topology:
            yield Application(f"{number} behind NGINX", int(topology.url.rpartition(":")[2]), number, 0)


def measure(scenarios: list[Scenario], rounds: int, seconds: float) -> Iterator[Measurement]:
    """One server and two take turns."""
    with ExitStack() as stack:
        servers = stack.enter_context(open_servers(Cores(frozenset(), frozenset())))
        applications = {number: stack.enter_context(_behind_nginx(servers, number)) for number in NUMBERS}
        token = log_in(applications[1])
        for scenario in scenarios:
            measurement = Measurement(scenario)
            for turn in range(rounds):
                for number in NUMBERS if turn % 2 == 0 else reversed(NUMBERS):
                    plan = warmed_up(servers, applications[number], scenario, token)
                    measurement.outcomes[number].append(run_load(replace(plan, seconds=seconds)))
            yield measurement


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.two_servers")
    parser.add_argument("--only", default="S1,S5,S7", help="scenarios (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="of each scenario (%(default)s)")
    parser.add_argument("--seconds", type=float, default=4, help="of each round (%(default)s)")
    options = parser.parse_args()
    scenarios = [scenario for scenario in SCENARIOS if scenario.name in options.only.split(",")]
    print(f"{machine()}; the load comes from {generator_name()}.\n", flush=True)
    header = ("requests a second", "1 server", "2 servers", "ratio", "p99, 1 server", "p99, 2 servers")
    print(table(header, [each.row() for each in measure(scenarios, options.rounds, options.seconds)]))


if __name__ == "__main__":
    main()
