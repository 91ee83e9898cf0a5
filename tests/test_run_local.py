"""`make run` as its users meet it: a copy of the project in a path with a space, real servers, real signals."""

import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from threading import Thread

import httpx
import pytest

from dev.local.ports import free_port, is_free
from dev.local.processes import Process, descendants, living, send, wait_until
from dev.local.programs import unprivileged_account
from dev.services import temporary_folder

PROJECT = Path(__file__).resolve().parents[1]
PASSWORD = "it's $HOME made"
ENV_FILE = f'ADMIN_USERNAME="admin"\nADMIN_PASSWORD="{PASSWORD}"\nPOSTGRES_PASSWORD="first"\nSECRET_KEY="none"\n'
SECONDS = 60.0


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
        """Returns when the text was said."""
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
        """What the run has started and what that has started, as it is now."""
        everybody = living()
        return {pid: everybody[pid] for pid in descendants(self.process.pid) if pid in everybody}

    def close(self) -> None:
        """Leaves nothing behind, whatever the test did."""
        send(
            signal.SIGKILL,
            [*descendants(self.process.pid), *([] if self.process.poll() is not None else [self.process.pid])],
        )
        self.process.wait()
        self._reader.join(SECONDS)
        if self.process.stdout:
            self.process.stdout.close()


class Checkout:
    """A copy of the project with ports of its own, and the runs in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.local = folder / ".local"
        self.port, self.postgres_port, self.redis_port = free_port(), free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._runs: list[Run] = []
        ignored = shutil.ignore_patterns("__pycache__", ".env", "logs")
        for part in ("src", "dev"):
            shutil.copytree(PROJECT / part, folder / part, ignore=ignored)
        (folder / "src" / ".env.example").write_text(ENV_FILE)

    def run(self, *arguments: str, prefix: tuple[str, ...] = ()) -> Run:
        environment = {name: value for name, value in os.environ.items() if name != "ENV_FILE"}
        environment |= {"POSTGRES_PORT": str(self.postgres_port), "REDIS_CACHE_PORT": str(self.redis_port)}
        environment |= {"PASSWORD_HASH_ROUNDS": "4", "PYTHONUNBUFFERED": "1"}
        environment |= {"HOME": str(self.folder), "PYTHONDONTWRITEBYTECODE": ""}
        command = [*prefix, sys.executable, "-m", "dev.run", "--port", str(self.port), *arguments]
        self._runs.append(Run(command, self.folder, environment))
        return self._runs[-1]

    def close(self) -> None:
        for run in self._runs:
            run.close()

    def log_in(self) -> httpx.Response:
        data = {"username": "admin", "password": PASSWORD}
        return httpx.post(f"{self.url}/api/v1/login", data=data, timeout=10)

    def answers(self) -> bool:
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
        """Whether no port is in use and no note says that a run is alive."""
        ports = (self.port, self.postgres_port, self.redis_port)
        return all(map(is_free, ports)) and not (self.local / "run.json").exists()


@pytest.fixture
def checkout() -> Iterator[Checkout]:
    with temporary_folder() as reachable, closing(Checkout(reachable / "a project")) as checkout:
        yield checkout


def gone(processes: dict[int, Process]) -> bool:
    everybody = living()
    return not any(everybody.get(pid) == process for pid, process in processes.items())


def test_the_first_start_needs_nothing_and_tells_everything(checkout: Checkout) -> None:
    with socket.create_server(("127.0.0.1", checkout.redis_port)):
        run = checkout.run("--no-reload")
        run.until("Ctrl-C")
    assert f"port {checkout.redis_port} is taken, Valkey listens on " in run.output
    env_file = checkout.folder / "src" / ".env"
    assert stat.S_IMODE(env_file.stat().st_mode) == 0o600
    secret = re.search('SECRET_KEY="(.*)"', env_file.read_text())
    assert secret
    assert len(secret[1]) == 64
    assert env_file.read_text().replace(secret[1], "none") == ENV_FILE
    for page in ("/docs", "/redoc"):
        assert f"{checkout.url}{page}\n" in run.output
        assert httpx.get(checkout.url + page).is_success
    if shutil.which("curl"):
        (line,) = (line for line in run.output.splitlines() if "curl " in line)
        assert "access_token" in subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True).stdout

    second = checkout.run()
    assert second.end() == 1
    pid = run.process.pid
    assert second.output == f"run: already running as process {pid} at {checkout.url}; `kill {pid}` stops it\n"

    processes = run.processes()
    assert len(processes) > 6
    run.process.terminate()
    assert run.end() == 0
    assert gone(processes)
    assert checkout.is_quiet()


def test_a_taken_port_is_told_with_one_that_is_free(checkout: Checkout) -> None:
    with socket.create_server(("127.0.0.1", checkout.port)):
        run = checkout.run()
        assert run.end() == 1
    told = re.fullmatch(
        rf"run: port {checkout.port} is taken, another one is free: `make run PORT=(\d+)`\n", run.output
    )
    assert told
    assert is_free(int(told[1]))
    assert not (checkout.local / "postgres").exists()


@pytest.mark.parametrize("arguments", [("--port", "0"), ("--port", "http"), ("--host", "192.0.2.1")])
def test_an_address_that_cannot_be_is_told(checkout: Checkout, arguments: tuple[str, str]) -> None:
    run = checkout.run(*arguments)
    assert run.end() in (1, 2)
    assert arguments[1] in run.output


def test_what_dies_or_changes_starts_again_and_a_second_ctrl_c_kills(checkout: Checkout) -> None:
    run = checkout.run()
    run.until("Ctrl-C")
    api, worker = checkout.leaders()
    servers = [pid for pid, process in run.processes().items() if process.parent == run.process.pid]
    send(signal.SIGKILL, {api, worker, *servers})
    for name in ("PostgreSQL", "Valkey", "the API", "the worker"):
        run.until(f"{name} has ended, next start in 0.5 s")
    assert wait_until(checkout.answers, SECONDS)

    worker = checkout.leaders()[1]
    with (checkout.folder / "src" / "app" / "main.py").open("a") as file:
        file.write("\n")
    run.until("the code has changed, the worker starts again")
    assert wait_until(lambda: checkout.leaders()[1] != worker, SECONDS)

    processes = run.processes()
    os.kill(checkout.leaders()[0], signal.SIGSTOP)  # does not end when it is asked to
    run.interrupt()
    time.sleep(0.7)
    assert run.process.poll() is None
    run.interrupt()
    assert run.process.wait(5) == 1
    assert wait_until(lambda: gone(processes), 5)


def test_a_killed_run_is_cleared_up_by_the_next(checkout: Checkout) -> None:
    run = checkout.run()
    run.until("Ctrl-C")
    left_behind = run.processes()
    run.process.kill()
    run.process.wait()
    assert not gone(left_behind)
    env_file = checkout.folder / "src" / ".env"
    env_file.write_text(env_file.read_text().replace('"first"', '"second"') + 'POSTGRES_USER="somebody else"\n')
    again = checkout.run("--no-reload")
    again.until("Ctrl-C")
    assert "ended what a killed run had left behind" in again.output
    assert "superuser admin exists already" in again.output
    assert "is taken" not in again.output
    assert gone(left_behind)
    assert checkout.log_in().is_success
    again.interrupt()
    assert again.end() == 0
    assert checkout.is_quiet()


def test_ctrl_c_ends_a_run_at_every_moment_of_its_start(checkout: Checkout) -> None:
    moments: list[Callable[[Run], bool]] = [
        lambda _: (checkout.local / "run.lock").exists(),
        lambda _: (checkout.local / "postgres" / "cluster.new").exists(),
        lambda run: "Started reloader" in run.output,
        lambda run: "superuser" in run.output,
    ]
    for has_come in moments:
        run = checkout.run()
        assert wait_until(partial(has_come, run), SECONDS)
        processes = run.processes()
        run.interrupt()
        assert run.end() == 0
        assert run.output.endswith("run: stopped\n")
        assert gone(processes)
        assert checkout.is_quiet()


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="needs root who becomes somebody else")
def test_an_ordinary_user_can_run_it(checkout: Checkout) -> None:
    nobody = unprivileged_account(checkout.local)
    assert nobody
    for path in (checkout.folder, *checkout.folder.rglob("*")):
        os.chown(path, nobody.uid, nobody.gid)
    # May read everything, for a Python in root's private folder, but write nothing more than any user.
    read = "-all,+dac_read_search"
    become = ("setpriv", f"--reuid={nobody.uid}", f"--regid={nobody.gid}", "--clear-groups", f"--inh-caps={read}")
    run = checkout.run("--no-reload", prefix=(*become, f"--ambient-caps={read}", "--"))
    run.until("Ctrl-C")
    assert (checkout.local / "postgres" / "cluster").stat().st_uid == nobody.uid
    assert checkout.log_in().is_success
    run.process.terminate()
    assert run.end() == 0
    assert checkout.is_quiet()
