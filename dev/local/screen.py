"""The screen that shows how to use a local run."""

import shlex
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

RESET_PASSWORD = ".venv/bin/python -m src.scripts.create_first_superuser --reset-password"  # noqa: S105 - a command


def say(text: str) -> None:
    """One line of the run itself; a closed terminal must not keep the run from ending its programs."""
    with suppress(OSError):
        print(f"run: {text}", flush=True)


def login_lines(base: str, username: str, password: str) -> list[str]:
    """The login of the first superuser, which works."""
    fields = (f"username={username}", f"password={password}")
    data = " ".join(f"--data-urlencode {shlex.quote(field)}" for field in fields)
    return [
        f"Log in as      {username} with the password {password} (ADMIN_* in src/.env), or by",
        "",
        f"  curl -s {data} {base}/api/v1/login",
    ]


def wrong_password_lines(username: str) -> list[str]:
    """What to do if the first superuser has another password than the settings say."""
    return [
        f"Log in as      {username} with the password that was set before: ADMIN_PASSWORD is another one, and the",
        "               user was not changed. To set the password to ADMIN_PASSWORD:",
        "",
        f"  {RESET_PASSWORD}",
    ]


def failed_login_lines(username: str, problem: str) -> list[str]:
    """What to say if the API refuses a login that should work."""
    return [f"Log in as      {username}; this did not work just now: {problem}"]


def welcome(base: str, login: Sequence[str], servers: Sequence[str], local: Path) -> str:
    """Where the documentation is, how to log in, where the servers and data are, and how to stop."""
    lines = [
        "The API is ready.",
        "",
        f"Documentation  {base}/docs",
        f"ReDoc          {base}/redoc",
        *login,
        "",
        *servers,
        f"Data and logs  {local}",
        "Telemetry      OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318 make run (docs/observability.md)",
        "Stop           Ctrl-C",
    ]
    return "\n" + "\n".join(f"  {line}".rstrip() for line in lines) + "\n"
