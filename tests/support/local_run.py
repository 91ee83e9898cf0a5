"""Copies of the project in which `make run` runs with real servers."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from threading import Thread

import httpx
import pytest

from app.core.settings.sources import read_env_file
from dev.local.environment import write_servers_file
from dev.local.ports import free_port, is_free
from dev.local.processes import Process, descendants, living, send, wait_until
from tests.helper import PLAIN_HTTP
from tests.support.forks import run_python
from tests.support.readme import ROOT

PASSWORD = "it's $HOME made"
ENV_FILE = f'ADMIN_USERNAME="admin"\nADMIN_PASSWORD="{PASSWORD}"\nPOSTGRES_PASSWORD="first"\nSECRET_KEY="none"\n'
SECONDS = 60.0
NOT_OURS = ("POSTGRES_", "REDIS_", "ENV_FILE")


class Run:
    """A local run whose output is read while it runs."""

    def __init__(self, command: list[str], folder: Path, environment: dict[str, str]) -> None:
        self.output = ""
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        for line in self.process.stdout or ():
            self.output += line

    def until(self, text: str) -> None:
        """Returns when the text has been printed."""
        if not wait_until(lambda: text in self.output or self.process.poll() is not None, SECONDS):
            pytest.fail(f"{text!r} did not come:\n{self.output}")
        assert text in self.output

    def interrupt(self) -> None:
        """Ctrl-C as the terminal does it: for everything in the foreground."""
        os.killpg(self.process.pid, signal.SIGINT)

    def end(self) -> int:
        """The exit status; afterwards `output` is complete."""
        status = self.process.wait(SECONDS)
        self._reader.join(SECONDS)
        assert not self._reader.is_alive(), "a process that was left behind holds the output open"
        assert "Traceback" not in self.output
        return status

    def processes(self) -> dict[int, Process]:
        """The descendants of the run, as they are now."""
        running = living()
        return {pid: running[pid] for pid in descendants(self.process.pid) if pid in running}

    def close(self) -> None:
        """Kills what is left, whatever the test did."""
        send(
            signal.SIGKILL,
            [*descendants(self.process.pid), *([] if self.process.poll() is not None else [self.process.pid])],
        )
        self.process.wait()
        self._reader.join(SECONDS)
        if self.process.stdout:
            self.process.stdout.close()


class Checkout:
    """A copy of the project and the runs in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.local = folder / ".local"
        self.env_file = folder / "src" / ".env"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._runs: list[Run] = []
        ignored = shutil.ignore_patterns(".env", "logs")
        for part in ("src", "dev"):
            shutil.copytree(ROOT / part, folder / part, ignore=ignored)
        (folder / "src" / ".env.example").write_text(ENV_FILE)

    def environment(self, **changes: str) -> dict[str, str]:
        """The environment without the servers of the tests."""
        own = {name: value for name, value in os.environ.items() if not name.startswith(NOT_OURS)}
        own |= {"PASSWORD_HASH_ROUNDS": "4", "PYTHONUNBUFFERED": "1"}
        return own | {"HOME": str(self.folder)} | changes

    def run(self, *arguments: str, prefix: tuple[str, ...] = (), environment: Mapping[str, str] | None = None) -> Run:
        command = [*prefix, sys.executable, "-m", "dev.run", "--port", str(self.port), *arguments]
        self._runs.append(Run(command, self.folder, self.environment(**(environment or {}))))
        return self._runs[-1]

    def python(self, *arguments: str, folder: str = ".", **changes: str) -> str:
        """Both outputs of a Python command of the README in this checkout."""
        return run_python("-m", *arguments, environment=self.environment(**changes), folder=self.folder / folder)[1]

    def add_breakpoint(self) -> None:
        """In the handler of /health."""
        health = self.folder / "src" / "app" / "api" / "v1" / "health.py"
        code = '    return Health(status="ok")'
        assert code in health.read_text()
        health.write_text(health.read_text().replace(code, f"    breakpoint()\n{code}"))

    def variables(self) -> dict[str, str]:
        """The contents of `.local/servers.env`."""
        return read_env_file(self.local / "servers.env")

    def write_variables(self, **values: object) -> None:
        self.local.mkdir(exist_ok=True)
        write_servers_file(self.local / "servers.env", {name: str(value) for name, value in values.items()})

    def close(self) -> None:
        for run in self._runs:
            run.close()

    def log_in(self) -> httpx.Response:
        data = {"username": "admin", "password": PASSWORD}
        return httpx.post(f"{self.url}/api/v1/login", data=data, timeout=10, verify=PLAIN_HTTP)

    def works(self) -> bool:
        """Whether the API and its database work."""
        with suppress(httpx.TransportError):
            if self.log_in().is_success:
                return True
        time.sleep(0.2)
        return False

    def leaders(self) -> list[int]:
        """The API's and the worker's first process."""
        notes = json.loads((self.local / "run.json").read_text())
        return [leader["pid"] for leader in notes["leaders"]]

    def is_quiet(self) -> bool:
        """Whether no port is in use and no file shows that a run is active."""
        ports = {int(value) for name, value in self.variables().items() if name.endswith("_PORT")}
        return all(map(is_free, {self.port, *ports})) and not (self.local / "run.json").exists()


def have_ended(processes: dict[int, Process]) -> bool:
    running = living()
    return not any(running.get(pid) == process for pid, process in processes.items())
