"""What a process loads before it has served anything: a web process, and a worker without telemetry."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Services
from tests.support.readme import ROOT

TELEMETRY = ("opentelemetry.sdk", "opentelemetry.exporter", "google.protobuf", "prometheus_client")
NOT_NEEDED = (
    *("alembic", "mako", "pygments", "arq.cli", "gunicorn", "uvicorn_worker", "httpx", "pytest"),
    *("schemathesis", "hypothesis", "fastapi.testclient", "dns", "requests", "dev", "src", "app.core.telemetry.sdk"),
    *TELEMETRY,
)
"""Modules that a web process does not use; the first three only where the database is to be migrated."""
START = """
import asyncio, gc, json, sys, time
import app.main
loaded = set(sys.modules)
async def start():
    async with app.main.app.router.lifespan_context(app.main.app):
        assert gc.get_freeze_count() > 10_000, "collections look through everything that was imported"
        return set(sys.modules)
print(json.dumps([sorted(loaded), sorted(asyncio.run(start()))]))
"""
START_WORKER = """
import asyncio, json, sys
from arq.worker import create_worker
from app.core.worker.settings import WorkerSettings
loaded = set(sys.modules)
async def start():
    worker = create_worker(WorkerSettings, burst=True, handle_signals=False)
    await worker.async_run()
    await worker.close()
    return set(sys.modules)
print(json.dumps([sorted(loaded), sorted(asyncio.run(start()))]))
"""


def _modules(services: Services, index: int, script: str = START, **variables: str) -> set[str]:
    environment = {"PATH": "/usr/bin:/bin", **services.environment(**variables), "PYTHONPATH": "src"}
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, check=False)
    assert result.returncode == 0, result.stderr.decode()
    return set(json.loads(result.stdout)[index])


def _needless(modules: set[str], names: tuple[str, ...]) -> set[str]:
    return {module for module in modules for name in names if module == name or module.startswith(f"{name}.")}


@pytest.mark.usefixtures("rows")
@pytest.mark.parametrize("when", ["imported", "started"])
def test_a_web_process_loads_only_what_it_uses(services: Services, when: str) -> None:
    """The database is migrated already, as it is for all but the first process after a deployment."""
    assert not _needless(_modules(services, ["imported", "started"].index(when)), NOT_NEEDED)


@pytest.mark.usefixtures("rows")
@pytest.mark.parametrize("script", [START, START_WORKER], ids=["web", "worker"])
@pytest.mark.parametrize("variables", ["", "OTEL_SDK_DISABLED=true\nOTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1\n"])
def test_nothing_of_telemetry_is_loaded_while_it_is_off(
    services: Services, tmp_path: Path, script: str, variables: str
) -> None:
    """By default, and where `src/.env` switches it off by the standard variable."""
    file = tmp_path / "env"
    file.write_text(variables, encoding="utf-8")
    assert not _needless(_modules(services, 1, script, ENV_FILE=str(file)), TELEMETRY)
