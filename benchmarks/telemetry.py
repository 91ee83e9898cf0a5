"""What telemetry costs a cached GET: `python -m benchmarks.telemetry [ROUNDS [SECONDS [VARIANTS]]]`.

Applications with other settings take turns on one core, so that other work of the machine falls on all of them. The
ratios are of the throughput and of the CPU time per request to those of the first, which has no telemetry.
"""

import os
import sys
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import replace
from statistics import median

from benchmarks.compare.cores import cpu_seconds, split_cores
from benchmarks.compare.load import run_load
from benchmarks.compare.rounds import warmed_up
from benchmarks.compare.scenarios import SCENARIOS
from benchmarks.compare.stage import log_in, open_servers, run_ours
from dev.local.ports import free_port
from tests.support.collector import collecting


def variants(collector: str) -> dict[str, dict[str, str]]:
    """The settings by name; the first is what the others are compared with."""
    return {
        "without": {"LOG_REQUESTS": "false"},
        "request log": {},
        "request log, metrics": {"PROMETHEUS_PORT": str(free_port())},
        "request log, metrics, 10 % of traces": {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector,
            "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
            "OTEL_TRACES_SAMPLER_ARG": "0.1",
        },
        "request log, metrics, all traces": {"OTEL_EXPORTER_OTLP_ENDPOINT": collector},
    }


def main(rounds: int = 7, seconds: float = 2.0, number_of_variants: int = 5) -> None:
    scenario = next(each for each in SCENARIOS if each.is_cached)
    throughput: dict[str, list[float]] = defaultdict(list)
    cpu: dict[str, list[float]] = defaultdict(list)
    with open_servers(split_cores()) as servers, collecting() as collector, ExitStack() as stack:
        common = {"LOG_LEVEL": "INFO", "LOG_FORMAT": "json"}
        running = {
            name: stack.enter_context(run_ours(servers, REDIS_CACHE_DB=str(number), **common, **variables))
            for number, (name, variables) in enumerate([*variants(collector.endpoint).items()][:number_of_variants])
        }
        token = log_in(next(iter(running.values())))
        plans = {name: warmed_up(servers, application, scenario, token) for name, application in running.items()}
        for number in range(rounds):
            for name, plan in list(plans.items())[:: -1 if number % 2 else 1]:
                before = cpu_seconds(running[name].pid) or 0.0
                outcome = run_load(replace(plan, seconds=seconds))
                throughput[name].append(outcome.per_second)
                cpu[name].append(((cpu_seconds(running[name].pid) or 0.0) - before) / outcome.requests * 1e6)
    print(f"{scenario.name} {scenario.title}, {rounds} rounds of {seconds:g} s, {os.cpu_count()} cores")
    print("| | requests/s | ratio | CPU, us | ratio |\n|---|---|---|---|---|")
    first, *_ = running
    for name in running:
        ratio = median(one / base for one, base in zip(throughput[name], throughput[first], strict=True))
        cpu_ratio = median(one / base for one, base in zip(cpu[name], cpu[first], strict=True))
        print(f"| {name} | {median(throughput[name]):.0f} | {ratio:.3f} | {median(cpu[name]):.1f} | {cpu_ratio:.3f} |")


if __name__ == "__main__":
    _, *given = sys.argv
    main(*(convert(value) for convert, value in zip((int, float, int), given, strict=False)))
