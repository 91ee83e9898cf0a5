"""Load at a number of connections, each of which sends the next request when it has the response to the last.

`wrk` where it is installed, else a generator in Python, which needs more CPU time per request than the comparison
application itself and so hides part of its speed.
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

WRK_SCRIPT = Path(__file__).with_name("wrk.lua")


class WrongResponseError(Exception):
    """A response was not what its scenario promises."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to send where, for how long, and what every response must be."""

    port: int
    requests: Sequence[bytes]
    status: int
    is_cached: bool
    connections: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """Latencies in milliseconds."""

    requests: int
    seconds: float
    p50: float
    p99: float

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds


def find_wrk() -> str | None:
    return shutil.which("wrk")


def generator_name() -> str:
    return "wrk" if find_wrk() else "a generator in Python (wrk is not installed)"


def run_load(plan: Plan) -> Outcome:
    """Raises `WrongResponseError` for a response that is not as planned."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "plan.lua"
        file.write_text(_as_lua(plan), encoding="ascii")
        wrk = find_wrk()
        command = _wrk_command(wrk, plan, file) if wrk else _python_command(plan, Path(folder))
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=plan.seconds + 30)
    line = next((line for line in result.stdout.splitlines() if line.startswith("RESULT ")), None)
    if line is None:
        raise WrongResponseError(f"the load generator failed: {result.stdout}{result.stderr}")
    _, requests, microseconds, p50, p99, wrong, broken, *first_wrong = line.split(maxsplit=7)
    if int(wrong) or int(broken) or not int(requests):
        text = f"of {requests} responses {wrong} were wrong, {broken} connections broke; the first: {first_wrong}"
        raise WrongResponseError(text)
    return Outcome(int(requests), int(microseconds) / 1e6, int(p50) / 1e3, int(p99) / 1e3)


def _wrk_command(wrk: str, plan: Plan, file: Path) -> list[str]:
    # wrk takes whole seconds and "--" before the script's own arguments.
    address = f"http://127.0.0.1:{plan.port}"
    options = ["-t1", f"-c{plan.connections}", f"-d{max(1, round(plan.seconds))}s", "-s", str(WRK_SCRIPT)]
    return [wrk, *options, address, "--", str(file)]


def _python_command(plan: Plan, folder: Path) -> list[str]:
    file = folder / "requests"
    file.write_bytes(b"\0".join(plan.requests))
    values = (plan.port, plan.connections, plan.seconds, plan.status, int(plan.is_cached))
    return [sys.executable, "-m", "benchmarks.compare.clients", str(file), *map(str, values)]


def _as_lua(plan: Plan) -> str:
    requests = ", ".join('"' + "".join(rf"\{byte:03d}" for byte in request) + '"' for request in plan.requests)
    return f"return {{status = {plan.status}, cached = {str(plan.is_cached).lower()}, requests = {{{requests}}}}}"
