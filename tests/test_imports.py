"""What a process imports: a web process nothing that it does not need, and the others not what only the web needs."""

import json
import subprocess
import sys

import pytest

from tests.support.readme import ROOT

ELSEWHERE = {
    "app.core.redis.cluster": "if the URL of a Redis names a Cluster",
    "app.core.redis.primary": "if the URL of a Redis names Sentinels",
    "alembic": "where something is to be migrated",
    "arq.cli": "by the worker's command",
    "cryptography": "nowhere: it costs 10 MB, and no part of the application needs it",
    "gunicorn": "by the server that runs the application",
    "httpx": "in tests and tools",
    "hypothesis": "in tests",
    "opentelemetry.exporter": "if telemetry is on",
    "opentelemetry.sdk": "if telemetry is on",
    "pytest": "in tests",
    "schemathesis": "in tests",
    "uvicorn": "by the server that runs the application",
    "uvloop": "by the server that runs the application",
}
"""The modules that `app.main` does not import, and where they are imported."""
WEB = ("app.api", "app.main", "app.middleware", "uvicorn")
"""What only a web process needs."""
_IMPORT = "import json, sys, importlib; importlib.import_module({module!r}); print(json.dumps(sorted(sys.modules)))"


def modules_after_import(module: str) -> set[str]:
    """All modules of a new process that has imported this one."""
    command = [sys.executable, "-c", _IMPORT.format(module=module)]
    result = subprocess.run(command, cwd=ROOT / "src", stdout=subprocess.PIPE, text=True, check=True)
    return set(json.loads(result.stdout.splitlines()[-1]))


def test_web_process_imports_only_what_it_needs() -> None:
    imported = modules_after_import("app.main")

    assert {"app.main", "fastapi", "sqlalchemy"} <= imported
    assert {name: ELSEWHERE[name] for name in imported & ELSEWHERE.keys()} == {}


@pytest.mark.parametrize("module", ["app.core.worker.settings", "app.core.db.migrate", "app.core.config"])
def test_other_processes_do_not_import_the_web_application(module: str) -> None:
    assert not modules_after_import(module).intersection(WEB)
