"""python -m dev.fuzz [--cases 10000] [--seed 1]"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import httpx

from dev.local.ports import free_port
from dev.local.processes import wait_until
from dev.services import POSTGRES_FAST, PostgresServer, ValkeyServer, server_variables, temporary_folder

PROJECT = Path(__file__).resolve().parents[2]
PASSWORD = "a password of the fuzzer"  # noqa: S105 - of accounts that live as long as the run
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
START_SECONDS = 60
SEQUENCES_PER_SECOND = 4
HOOKS = Path(__file__).parent / "hooks.py"
ROLES = ("anonymous", "user", "superuser")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one role's run gave."""

    role: str
    cases: int
    seconds: float
    passed: bool
    statuses: Mapping[str, int]


def _environment(postgres: PostgresServer, valkey: ValkeyServer) -> dict[str, str]:
    values = {
        "ENVIRONMENT": "local",
        "SECRET_KEY": "a secret of the fuzzer that is long enough for everything",
        # Longer than a run of any length that somebody waits for.
        "ACCESS_TOKEN_EXPIRE_MINUTES": "1440",
        "PASSWORD_HASH_ROUNDS": "4",
        "DEFAULT_RATE_LIMIT_LIMIT": "1000000",
        "LOGIN_RATE_LIMIT_LIMIT": "1000000",
        "REGISTRATION_RATE_LIMIT_LIMIT": "1000000",
        "LOG_LEVEL": "ERROR",
    }
    return os.environ | server_variables(postgres, valkey) | values


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/api/v1/health").is_success
    except httpx.HTTPError:
        return False


@contextmanager
def _api() -> Iterator[dict[str, str]]:
    """An application on servers of its own: the environment that the hooks need to use it."""
    with ExitStack() as stack:
        folder = stack.enter_context(temporary_folder())
        postgres = PostgresServer(folder / "postgres", password=PASSWORD, options=POSTGRES_FAST)
        environment = _environment(stack.enter_context(postgres), stack.enter_context(ValkeyServer(folder / "valkey")))
        port = free_port()
        command = [sys.executable, "-m", "uvicorn", "src.app.main:app", "--port", str(port), "--log-level", "error"]
        process = subprocess.Popen([*command, "--no-access-log"], cwd=PROJECT, env=environment)
        stack.callback(process.wait)
        stack.callback(process.terminate)
        url = f"http://127.0.0.1:{port}"
        if not wait_until(lambda: _answers(url), START_SECONDS):
            raise RuntimeError("the application does not start")
        where = f"{postgres.host}:{postgres.port}/postgres"
        database = f"postgresql://{postgres.user}:{quote(postgres.password)}@{where}"
        yield {"FUZZ_URL": url, "FUZZ_PASSWORD": PASSWORD, "FUZZ_DATABASE": database}


def _fuzz(api: Mapping[str, str], role: str, examples: int, seed: int, folder: Path) -> Outcome:
    """Single requests first. Sequences get their own run with a time limit, within which it begins again and again:

    a sequence that gives another result when it is repeated ends a run, and in a database that remembers many do.
    """
    single = ["--phases", "examples,coverage,fuzzing", "--max-examples", str(examples)]
    sequences = ["--phases", "stateful", "--max-time", str(max(5, examples // SEQUENCES_PER_SECOND))]
    environment = {**os.environ, **api, "FUZZ_ROLE": role, "SCHEMATHESIS_HOOKS": str(HOOKS)}
    begin, passed, statuses = time.monotonic(), True, Counter[str]()
    for phases in (single, sequences):
        command = [sys.executable, "-m", "schemathesis.cli", "run", f"{api['FUZZ_URL']}/openapi.json", *phases]
        command += ["--checks", CHECKS, "--seed", str(seed), "--continue-on-failure"]
        command += ["--warnings", "off", "--suppress-health-check", "all"]
        result = subprocess.run(command, cwd=folder, env=environment, check=False, capture_output=True, text=True)
        print(f"As {role}:\n{result.stdout}{result.stderr}", flush=True)
        passed &= result.returncode == 0
        statuses.update(json.loads((folder / "statuses.json").read_text(encoding="utf-8")))
    cases = statuses.total()
    return Outcome(role, cases, time.monotonic() - begin, passed and cases > 0, statuses)


def main() -> int:
    """Returns the exit status: 1 if a response was not as documented."""
    parser = argparse.ArgumentParser(prog="python -m dev.fuzz", description="Generated requests against the API.")
    parser.add_argument("--cases", type=int, default=10_000, help="generated requests, about (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same requests (%(default)s)")
    options = parser.parse_args()
    with _api() as api, temporary_folder() as folder:
        operations = sum(map(len, httpx.get(f"{api['FUZZ_URL']}/openapi.json").json()["paths"].values()))
        examples = max(1, options.cases // (len(ROLES) * operations))
        outcomes = [_fuzz(api, role, examples, options.seed, folder) for role in ROLES]
    for outcome in outcomes:
        verdict = "every response as documented" if outcome.passed else "FAILED"
        print(f"{outcome.role:<10} {outcome.cases:>8} requests {outcome.seconds:>6.0f} s  {verdict}")
        print(" " * 10, ", ".join(f"{status}: {number}" for status, number in sorted(outcome.statuses.items())))
    return int(not all(outcome.passed for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
