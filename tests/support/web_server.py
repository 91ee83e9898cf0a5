"""The application in a process of its own, as people start it."""

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import httpx

from dev.local.ports import free_port
from tests.support.readme import ROOT

START_SECONDS = 30


@contextmanager
def web_server(environment: Mapping[str, str]) -> Iterator[str]:
    """The address of a server that answers."""
    port = free_port()
    address = f"http://localhost:{port}"
    command = [sys.executable, "-m", "uvicorn", "src.app.main:app", "--port", str(port), "--log-level", "warning"]
    with subprocess.Popen(command, cwd=ROOT, env=dict(environment)) as process:
        try:
            _wait_for(address, process)
            yield address
        finally:
            process.terminate()


def _wait_for(address: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            httpx.get(f"{address}/api/v1/health")
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError("the server does not answer")
