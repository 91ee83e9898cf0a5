import argparse
import json
from dataclasses import asdict
from pathlib import Path

from benchmarks.compare.__main__ import RESULTS, ROOT
from benchmarks.scaling.model import Cost, Measured, Rest, Servers, Tasks
from benchmarks.scaling.report import report

COSTS = RESULTS / "scaling.json"


def read(file: Path) -> Measured:
    """What an earlier run has measured."""
    values = json.loads(file.read_text(encoding="utf-8"))
    return Measured(
        machine=values["machine"],
        costs={name: Cost(**cost) for name, cost in values["costs"].items()},
        web=Rest(**values["web"]),
        worker=Rest(**values["worker"]),
        tasks=Tasks(**values["tasks"]),
        memory=values["memory"],
    )


def write(file: Path, measured: Measured) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(asdict(measured), indent=2) + "\n", encoding="utf-8")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description="What many processes ask for.")
    parser.add_argument("--costs", type=Path, help=f"a file that an earlier run wrote ({COSTS.relative_to(ROOT)})")
    parser.add_argument("--rounds", type=int, default=3, help="of which the lowest costs count (%(default)s)")
    parser.add_argument("--seconds", type=float, default=2, help="of load for each scenario (%(default)s)")
    parser.add_argument("--rest", type=float, default=5, help="seconds of rest, for each process (%(default)s)")
    servers = Servers()
    parser.add_argument("--pool-size", type=int, default=servers.pool_size, help="DATABASE_POOL_SIZE (%(default)s)")
    parser.add_argument("--max-overflow", type=int, default=servers.max_overflow, help="and its overflow (%(default)s)")
    parser.add_argument(
        "--max-connections", type=int, default=servers.max_connections, help="PostgreSQL's (%(default)s)"
    )
    parser.add_argument("--cores", type=int, default=servers.postgres_cores, help="PostgreSQL's (%(default)s)")
    return parser.parse_args()


def main() -> None:
    options = _parse()
    if options.costs:
        measured = read(options.costs)
    else:
        from benchmarks.scaling.measure import measure  # noqa: PLC0415 - starts the settings of the application

        measured = measure(options.rounds, options.seconds, options.rest)
        write(COSTS, measured)
    servers = Servers(options.pool_size, options.max_overflow, options.max_connections, postgres_cores=options.cores)
    print(report(measured, servers))


if __name__ == "__main__":
    main()
