"""What a web process costs before it has served anything."""

import json
import subprocess
import sys

import pytest

from tests.conftest import Services
from tests.support.readme import ROOT

NOT_NEEDED = (
    *("alembic", "mako", "pygments", "arq.cli", "gunicorn", "uvicorn_worker", "httpx", "pytest"),
    *("schemathesis", "hypothesis", "fastapi.testclient", "dns", "requests", "dev", "src"),
    *("opentelemetry.sdk", "opentelemetry.exporter", "google.protobuf", "prometheus_client", "app.core.telemetry.sdk"),
)
"""Modules that a web process does not use; the first three only where the database is to be migrated."""
START = """
import asyncio, json, sys, time
import app.main
loaded = set(sys.modules)
async def start():
    async with app.main.app.router.lifespan_context(app.main.app):
        return set(sys.modules)
print(json.dumps([sorted(loaded), sorted(asyncio.run(start()))]))
"""


def _modules(services: Services, index: int) -> set[str]:
    environment = {"PYTHONPATH": "src", "PATH": "/usr/bin:/bin", **services.environment()}
    result = subprocess.run([sys.executable, "-c", START], cwd=ROOT, env=environment, capture_output=True, check=True)
    return set(json.loads(result.stdout)[index])


@pytest.mark.usefixtures("rows")
@pytest.mark.parametrize("when", ["imported", "started"])
def test_a_web_process_loads_only_what_it_uses(services: Services, when: str) -> None:
    """The database is migrated already, as it is for all but the first process after a deployment."""
    modules = _modules(services, ["imported", "started"].index(when))
    needless = {module for module in modules for name in NOT_NEEDED if module == name or module.startswith(f"{name}.")}
    assert not needless
