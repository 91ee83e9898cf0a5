"""Starting in production: a limited wait for servers that are not available yet, and secrets from files."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.core.config import Settings
from app.core.settings.sources import ConfigurationError
from dev.local.ports import free_port
from dev.services import POSTGRES_FAST, PostgresServer, ValkeyServer, temporary_folder
from tests.conftest import Services
from tests.support.readme import ROOT

SUPERUSER = ("src.scripts.create_first_superuser",)
WEB = ("uvicorn", "src.app.main:app", "--port", "0")
GUNICORN = ("gunicorn", "app.main:app")
WORKER = ("arq", "src.app.core.worker.settings.WorkerSettings")


@pytest.fixture
def folder() -> Iterator[Path]:
    with temporary_folder() as folder:
        yield folder


async def start(module: tuple[str, ...], environment: dict[str, str]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        *module,
        cwd=ROOT,
        env=os.environ | environment | {"PYTHONPATH": "src", "HOST": "127.0.0.1", "PORT": str(free_port())},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


async def test_a_database_that_is_not_up_yet_is_waited_for(folder: Path) -> None:
    postgres = PostgresServer(folder / "postgres", password="secret", options=POSTGRES_FAST)
    environment = {"POSTGRES_SERVER": postgres.host, "POSTGRES_PORT": str(postgres.port), "POSTGRES_PASSWORD": "secret"}
    script = await start(SUPERUSER, environment)
    assert script.stdout
    first_line = (await script.stdout.readline()).decode()
    with postgres:
        output = (await script.stdout.read()).decode()
        status = await script.wait()
    assert first_line.startswith(f"waiting up to 11 s for the database at {postgres.host}:{postgres.port}: ")
    assert status == 0
    assert output.splitlines()[-1].startswith("superuser admin created ")


async def test_a_queue_that_is_not_up_yet_is_waited_for(folder: Path, services: Services) -> None:
    valkey = ValkeyServer(folder / "valkey")
    environment = services.environment(REDIS_QUEUE_PORT=str(valkey.port), REDIS_QUEUE_PASSWORD="")
    worker = await start(WORKER, environment)
    assert worker.stdout
    lines = [(await worker.stdout.readline()).decode()]
    with valkey:
        while "redis_version=" not in lines[-1]:
            assert lines[-1], lines
            lines.append((await worker.stdout.readline()).decode())
        worker.terminate()
        await worker.communicate()
    assert any("waiting for" in line or "retries remaining" in line for line in lines), lines


@pytest.mark.parametrize(
    ("module", "variable", "reason"),
    [
        (SUPERUSER, "DATABASE_WAIT_SECONDS", "error: cannot connect to the database"),
        (WEB, "DATABASE_WAIT_SECONDS", "cannot connect to the database"),
        (GUNICORN, "DATABASE_WAIT_SECONDS", "cannot connect to the database"),
        (WORKER, "REDIS_QUEUE_WAIT_SECONDS", "Connection refused"),
    ],
)
async def test_waiting_ends_with_a_reason(
    services: Services, module: tuple[str, ...], variable: str, reason: str
) -> None:
    nobody = str(free_port())
    environment = services.environment(POSTGRES_PORT=nobody, REDIS_QUEUE_PORT=nobody) | {variable: "1"}
    process = await start(module, environment)
    output, _ = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode not in (0, None)
    assert reason in output.decode().replace("Connect call failed", "Connection refused")


async def test_a_wrong_password_is_not_waited_for(services: Services) -> None:
    """A permanent error is reported at once."""
    script = await start(SUPERUSER, services.environment(POSTGRES_PASSWORD="wrong"))
    output, _ = await asyncio.wait_for(script.communicate(), 30)
    assert script.returncode == 1
    assert b"password authentication failed" in output


def test_a_secret_comes_from_the_file_that_a_variable_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file wins over the variable, its last line break does not count, and a `#` or `$` is a part of it."""
    secret = tmp_path / "secret"
    secret.write_text("pass$word #1\n", encoding="utf-8")
    monkeypatch.setenv("POSTGRES_PASSWORD", "from the environment")
    monkeypatch.setenv("POSTGRES_PASSWORD_FILE", str(secret))
    assert Settings().POSTGRES_PASSWORD == "pass$word #1"


def test_a_secret_file_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY_FILE", str(tmp_path / "missing"))
    with pytest.raises(ConfigurationError, match=r"SECRET_KEY_FILE: .*missing cannot be read"):
        Settings()


def test_production_accepts_secrets_from_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENVIRONMENT", "production")
    for name in ("SECRET_KEY", "POSTGRES_PASSWORD", "ADMIN_PASSWORD"):
        (tmp_path / name).write_text("0123456789abcdef" * 4)
        monkeypatch.setenv(f"{name}_FILE", str(tmp_path / name))
    assert Settings().SECRET_KEY == "0123456789abcdef" * 4
