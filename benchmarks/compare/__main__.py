import argparse
import sys
from pathlib import Path

from benchmarks.compare.cores import split_cores
from benchmarks.compare.load import WrongResponseError, generator_name
from benchmarks.compare.plot import write_plot
from benchmarks.compare.report import Conditions, table, write_into, write_json
from benchmarks.compare.rounds import compare
from benchmarks.compare.scenarios import SCENARIOS, Scenario
from benchmarks.compare.stage import open_stage
from dev.services import ServiceError

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"
DOCUMENT = ROOT / "docs" / "performance.md"
PLOT = ROOT / "docs" / "images" / "performance.png"


def _scenarios(text: str) -> list[Scenario]:
    names = text.upper().replace(" ", "").split(",") if text else [scenario.name for scenario in SCENARIOS]
    if unknown := set(names) - {scenario.name for scenario in SCENARIOS}:
        raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: the scenarios are S1 to S{len(SCENARIOS)}")
    return [scenario for scenario in SCENARIOS if scenario.name in names]


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description="The template and bare metal.")
    parser.add_argument("--only", type=_scenarios, default="", help="scenarios, for example S1,S4 (all)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each scenario (%(default)s)")
    parser.add_argument("--seconds", type=float, default=5, help="of each round and application (%(default)s)")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder for compare.json and compare.png")
    parser.add_argument("--document", action="store_true", help=f"renew {DOCUMENT.name} and its plot, too")
    return parser.parse_args()


def main() -> int:
    """Returns the exit status: 1 if a response was wrong or something did not start."""
    options = _parse()
    cores = split_cores()
    conditions = Conditions(generator_name(), cores.description, options.rounds, options.seconds)
    print("\n".join(conditions.lines()), flush=True)

    def report(text: str) -> None:
        print(f"  {text}", file=sys.stderr, flush=True)

    try:
        with open_stage(cores) as stage:
            comparisons = list(compare(stage, options.only, options.rounds, options.seconds, report))
    except (WrongResponseError, ServiceError) as error:
        print(error, file=sys.stderr)
        return 1
    print(table(comparisons))
    options.output.mkdir(parents=True, exist_ok=True)
    write_json(options.output / "compare.json", comparisons, conditions)
    write_plot(options.output / "compare.png", comparisons)
    if options.document:
        write_into(DOCUMENT, comparisons, conditions)
        write_plot(PLOT, comparisons)
    print(f"written to {options.output}: compare.json, compare.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
