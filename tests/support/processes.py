"""The project's programs as processes, with the command lines of the README."""

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from dev.local.ports import free_port
from tests.support.forks import Fork, start_python
from tests.support.readme import ROOT

START_SECONDS = 40.0
STOP_SECONDS = 20.0
API_HEALTH = "/api/v1/health"
UVICORN = ("uvicorn", "src.app.main:app", "--no-access-log", "--log-level", "warning", "--port", "{port}")


class Program:
    """A process in its own group, whose output is in a file; it runs at the latest until the `with` block ends."""

    def __init__(self, process: "subprocess.Popen[bytes] | Fork", log: Path) -> None:
        self.log = log
        self._process = process

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.is_running():
            self.terminate()
            try:
                self.wait()
            except subprocess.TimeoutExpired:
                self.kill()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def output(self) -> str:
        """Everything that the process has printed."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def is_running(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        """SIGKILL for the whole group, which cannot react to it."""
        if self.is_running():
            with suppress(ProcessLookupError):  # a fork that does not lead its group yet
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.kill()
        self._process.wait()

    def terminate(self) -> None:
        self._process.terminate()

    def reload(self) -> None:
        self._process.send_signal(signal.SIGHUP)

    def wait(self, seconds: float = STOP_SECONDS) -> int:
        """The exit status."""
        return self._process.wait(seconds)


def program(command: Sequence[str], log: Path, environment: Mapping[str, str]) -> Program:
    """A command in the project's root."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )
    return Program(process, log)


def python(*arguments: str, log: Path, environment: Mapping[str, str]) -> Program:
    """`python -m …` in the project's root, as a fork."""
    return Program(start_python(("-m", *arguments), log, environment), log)


def _status(url: str) -> int | None:
    """The status of the response; None without one. Cheaper than a client of httpx, which loads certificates."""
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=2)
    try:
        connection.request("GET", parts.path)
        return connection.getresponse().status
    except (OSError, HTTPException):
        return None
    finally:
        connection.close()


def wait_until_ready(url: str, *programs: Program, status: int = 200) -> None:
    """Returns when the URL has this status; fails with the programs' output if one of them ends or time is up."""
    deadline = time.monotonic() + START_SECONDS
    while (found := _status(url)) != status:
        if time.monotonic() > deadline or not all(program.is_running() for program in programs):
            output = "\n".join(program.output[-4000:] for program in programs)
            raise AssertionError(f"{url} does not become ready (status: {found})\n{output}")
        time.sleep(0.05)


@contextmanager
def web_servers(*environments: Mapping[str, str], command: tuple[str, ...] = UVICORN) -> Iterator[list[str]]:
    """The addresses of running applications, one per environment; they start at the same time."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        started: dict[str, Program] = {}
        for environment in environments:
            port = free_port()
            arguments = [part.format(port=port) for part in command]
            program = python(*arguments, log=Path(folder) / f"{port}.log", environment=environment)
            started[f"http://127.0.0.1:{port}"] = stack.enter_context(program)
        for address, program in started.items():
            wait_until_ready(address + API_HEALTH, program)
        yield list(started)


@contextmanager
def web_server(environment: Mapping[str, str], command: tuple[str, ...] = UVICORN) -> Iterator[str]:
    """The address of a running application."""
    with web_servers(environment, command=command) as (address,):
        yield address
