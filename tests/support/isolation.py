"""Keeps the developer's configuration out of the tests; `tests/conftest.py` imports this before the application.

The tests and the processes that they start get their settings from the tests alone: the variables that
`src/.env.example` names are deleted from the environment, and `ENV_FILE` makes the application read no file in place of
`src/.env`.
Only `TEST_…` is taken over, from the environment or else from `src/.env`: the README's account for tests of your own.
A setting of your own that has no default needs a value here: `os.environ["NAME"] = "value"`.
"""

import os
import re
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2] / "src"
PROCESS_VARIABLES = ("HOST", "PORT", "WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS", "GRACEFUL_TIMEOUT_SECONDS")
"""Read by uvicorn and gunicorn."""
PREFIX_FOR_TESTS = "TEST_"


def _names() -> set[str]:
    example = (SOURCE / ".env.example").read_text(encoding="utf-8")
    settings = re.findall(r"^([A-Z][A-Z0-9_]*)=", example, re.MULTILINE)
    return {*settings, *(f"{name}_FILE" for name in settings), *PROCESS_VARIABLES}


def isolate() -> None:
    """May run again in every process of a test run."""
    for name in _names():
        if not name.startswith(PREFIX_FOR_TESTS):
            os.environ.pop(name, None)
    os.environ["ENV_FILE"] = os.devnull
    # A hundred processes of a run share the bytecode, even if images and editors have switched that off.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    # Reads ENV_FILE when it is imported.
    from app.core.settings.sources import read_env_file  # noqa: PLC0415

    for name, value in read_env_file(SOURCE / ".env").items():
        if name.startswith(PREFIX_FOR_TESTS):
            os.environ.setdefault(name, value)


isolate()
