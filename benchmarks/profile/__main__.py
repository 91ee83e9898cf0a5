import argparse
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

from benchmarks.compare.cores import split_cores
from benchmarks.compare.load import WrongResponseError, run_load
from benchmarks.compare.rounds import warmed_up
from benchmarks.compare.scenarios import SCENARIOS, Scenario
from benchmarks.compare.stage import log_in, open_servers, run_ours
from benchmarks.profile.flame import busiest, draw, read_stacks
from dev.local.processes import wait_until
from dev.services import ServiceError

RESULTS = Path(__file__).resolve().parents[1] / "results"
SHOWN = 20


def _sample(scenario: Scenario, seconds: float, file: Path) -> float:
    """Requests per second while the samples were taken."""
    os.environ["SAMPLES"] = str(file)
    file.unlink(missing_ok=True)
    with open_servers(split_cores()) as servers, run_ours(servers, "benchmarks.profile.server") as ours:
        plan = warmed_up(servers, ours, scenario, log_in(ours))
        os.kill(ours.pid, signal.SIGUSR1)
        outcome = run_load(replace(plan, seconds=seconds))
        os.kill(ours.pid, signal.SIGUSR1)
        if not wait_until(file.exists, seconds=10):
            raise ServiceError("The web server wrote no samples.")
    return outcome.per_second


def main() -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile", description="A flame graph of a scenario.")
    parser.add_argument("scenario", choices=[scenario.name for scenario in SCENARIOS])
    parser.add_argument("--seconds", type=float, default=10, help="under load (%(default)s)")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the files")
    options = parser.parse_args()
    scenario = next(scenario for scenario in SCENARIOS if scenario.name == options.scenario)
    options.output.mkdir(parents=True, exist_ok=True)
    samples = options.output.resolve() / f"profile-{scenario.name}.txt"
    try:
        per_second = _sample(scenario, options.seconds, samples)
    except (WrongResponseError, ServiceError) as error:
        print(error, file=sys.stderr)
        return 1
    stacks = read_stacks(samples.read_text(encoding="utf-8"))
    title = f"{scenario.name} {scenario.title}: {sum(stacks.values())} samples at {per_second:,.0f} requests/s"
    samples.with_suffix(".svg").write_text(draw(stacks, title), encoding="utf-8")
    print(title)
    for name, share in busiest(stacks, SHOWN):
        print(f"{share:6.1%}  {name}")
    print(f"flame graph (open it in a browser): {samples.with_suffix('.svg')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
