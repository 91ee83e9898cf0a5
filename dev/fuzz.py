"""Generated requests against the running API: no response of 500, and every response as the OpenAPI document says.

    make fuzz CASES=100000

Runs Schemathesis as an anonymous caller, as a user and as the superuser, with valid and invalid requests, and with
sequences in which a request uses what earlier responses returned (stateful testing).
"""

import argparse
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from dev.local.ports import free_port
from dev.local.processes import wait_until
from dev.services import POSTGRES_FAST, PostgresServer, ValkeyServer, server_variables, temporary_folder

PROJECT = Path(__file__).resolve().parents[1]
PASSWORD = "a password of the fuzzer"  # noqa: S105 - of accounts that live as long as the run
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
START_SECONDS = 60
ROLES = ("anonymous", "user", "superuser")
_GENERATED = re.compile(r"([\d,]+) generated")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one role's run gave."""

    role: str
    cases: int
    seconds: float
    passed: bool


def _environment(postgres: PostgresServer, valkey: ValkeyServer) -> dict[str, str]:
    values = {
        "ENVIRONMENT": "local",
        "SECRET_KEY": "a secret of the fuzzer that is long enough for everything",
        "PASSWORD_HASH_ROUNDS": "4",
        "ADMIN_USERNAME": "admin",
        "ADMIN_PASSWORD": PASSWORD,
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
def _api() -> Iterator[str]:
    """The address of an application on servers of its own, with a superuser."""
    with ExitStack() as stack:
        folder = stack.enter_context(temporary_folder())
        postgres = PostgresServer(folder / "postgres", password=PASSWORD, options=POSTGRES_FAST)
        environment = _environment(stack.enter_context(postgres), stack.enter_context(ValkeyServer(folder / "valkey")))
        create = [sys.executable, "-m", "src.scripts.create_first_superuser"]
        subprocess.run(create, cwd=PROJECT, env=environment, check=True, stdout=subprocess.DEVNULL)
        port = free_port()
        command = [sys.executable, "-m", "uvicorn", "src.app.main:app", "--port", str(port), "--log-level", "error"]
        process = subprocess.Popen([*command, "--no-access-log"], cwd=PROJECT, env=environment)
        stack.callback(process.wait)
        stack.callback(process.terminate)
        url = f"http://127.0.0.1:{port}"
        if not wait_until(lambda: _answers(url), START_SECONDS):
            raise RuntimeError("the application does not start")
        yield url


def _token(url: str, username: str) -> str:
    login = httpx.post(f"{url}/api/v1/login", data={"username": username, "password": PASSWORD}).raise_for_status()
    return str(login.json()["access_token"])


def _headers(url: str, role: str) -> list[str]:
    if role == "anonymous":
        return []
    if role == "user":
        body = {"name": "Fuzz", "username": "fuzz", "email": "fuzz@example.com", "password": PASSWORD}
        httpx.post(f"{url}/api/v1/user", json=body).raise_for_status()
    return ["--header", f"Authorization: Bearer {_token(url, 'fuzz' if role == 'user' else 'admin')}"]


def _fuzz(url: str, role: str, headers: Sequence[str], examples: int, seed: int, folder: Path) -> Outcome:
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json", *headers]
    command += ["--checks", CHECKS, "--max-examples", str(examples), "--seed", str(seed)]
    command += ["--continue-on-failure", "--warnings", "off", "--suppress-health-check", "all"]
    begin = time.monotonic()
    result = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
    print(f"As {role}:\n{result.stdout}{result.stderr}", flush=True)
    generated = _GENERATED.search(result.stdout)
    cases = int(generated[1].replace(",", "")) if generated else 0
    return Outcome(role, cases, time.monotonic() - begin, passed=result.returncode == 0 and cases > 0)


def main() -> int:
    """Returns the exit status: 1 if a response was not as documented."""
    parser = argparse.ArgumentParser(prog="python -m dev.fuzz", description="Generated requests against the API.")
    parser.add_argument("--cases", type=int, default=10_000, help="generated requests, about (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same requests (%(default)s)")
    options = parser.parse_args()
    with _api() as url, temporary_folder() as folder:
        operations = sum(map(len, httpx.get(f"{url}/openapi.json").json()["paths"].values()))
        examples = max(1, options.cases // (len(ROLES) * operations))
        # Before any request is generated, as generated logins may lock an account out.
        headers = {role: _headers(url, role) for role in ROLES}
        outcomes = [_fuzz(url, role, headers[role], examples, options.seed, folder) for role in ROLES]
    for outcome in outcomes:
        verdict = "every response as documented" if outcome.passed else "FAILED"
        print(f"{outcome.role:<10} {outcome.cases:>8} requests {outcome.seconds:>6.0f} s  {verdict}")
    return int(not all(outcome.passed for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
