"""With LOG_FORMAT=json every line of the API and the worker is JSON, also the lines of uvicorn, gunicorn and arq."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys

import httpx
import pytest

from app.core.log_formats import is_json
from dev.local.ports import free_port
from tests.conftest import Services
from tests.helper import API
from tests.support.readme import ROOT

WEB = ("uvicorn", "src.app.main:app")
WEB_WITH_FORMAT = (*WEB, "--log-config", "src/app/core/uvicorn_logging.json")
GUNICORN = ("gunicorn", "app.main:app", "--workers", "1")
WORKER = ("arq", "src.app.core.worker.settings.WorkerSettings")
WORKER_WITH_FORMAT = (*WORKER, "--custom-log-dict", "src.app.core.log_formats.WORKER_LOGGING")


PRODUCTION = {"ENVIRONMENT": "production"}


async def lines_of(services: Services, module: tuple[str, ...], ready: str, **changes: str) -> list[str]:
    """The output from the start to the end, with a request in between if it is a server."""
    port = free_port()
    arguments = (*module, "--port", str(port)) if module[0] == "uvicorn" else module
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": "src", "HOST": "127.0.0.1", "PORT": str(port)}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        *arguments,
        cwd=ROOT,
        env=environment | services.environment(**changes),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdout
    lines: list[str] = []
    try:
        async with asyncio.timeout(60):
            while not lines or ready not in lines[-1]:
                line = (await process.stdout.readline()).decode()
                assert line, lines
                lines.append(line)
            if module[0] != "arq":
                async with httpx.AsyncClient() as client:
                    await client.get(f"http://127.0.0.1:{port}{API}/health")
            process.send_signal(signal.SIGTERM)
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return [*lines, *output.decode().splitlines()]


def is_entry(line: str) -> bool:
    try:
        return bool({"time", "level", "logger", "message"} <= json.loads(line).keys())
    except (ValueError, AttributeError):
        return False


@pytest.mark.parametrize(
    ("module", "ready"),
    [
        (WEB_WITH_FORMAT, "Uvicorn running on"),
        (GUNICORN, "Application startup complete."),
        (WORKER_WITH_FORMAT, "redis_version="),
    ],
    ids=["uvicorn", "gunicorn", "arq"],
)
async def test_every_line_is_json(services: Services, module: tuple[str, ...], ready: str) -> None:
    lines = await lines_of(services, module, ready, LOG_FORMAT="json")

    assert len(lines) >= 3
    assert [line for line in lines if not is_entry(line)] == []
    assert len({json.loads(line)["message"] for line in lines}) == len(lines), "a line is repeated"


async def test_without_options_every_line_after_the_start_is_json(services: Services) -> None:
    lines = await lines_of(services, WEB, "Uvicorn running on", LOG_FORMAT="json")
    begin = next(number for number, line in enumerate(lines) if "Uvicorn running on" in line)

    assert len(lines) > begin + 2
    assert [line for line in lines[begin:] if not is_entry(line)] == []


@pytest.mark.parametrize(
    ("module", "ready"),
    [
        (WEB_WITH_FORMAT, "Uvicorn running on"),
        (GUNICORN, "Application startup complete."),
        (WORKER_WITH_FORMAT, "redis_version="),
    ],
    ids=["uvicorn", "gunicorn", "arq"],
)
async def test_every_line_of_text_has_one_form(services: Services, module: tuple[str, ...], ready: str) -> None:
    lines = await lines_of(services, module, ready, LOG_FORMAT="text")
    form = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} (DEBUG|INFO|WARNING|ERROR|CRITICAL) +[a-z._]+: ")
    assert [line for line in lines if not form.match(line)] == []


@pytest.mark.parametrize(
    ("values", "form"),
    [
        ({}, "text"),
        ({"ENVIRONMENT": "production"}, "json"),
        ({"ENVIRONMENT": "production", "LOG_FORMAT": "text"}, "text"),
    ],
)
def test_the_form_follows_from_the_environment(
    services: Services, monkeypatch: pytest.MonkeyPatch, values: dict[str, str], form: str
) -> None:
    settings = services.settings(**{"PASSWORD_HASH_ROUNDS": 12, **values})
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    assert settings.log_format == form
    assert is_json() == (form == "json")
