"""`make run` as its users see it: a copy of the project in a path with a space, real servers, real signals."""

import json
import os
import pty
import re
import select
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from threading import Thread

import httpx
import pytest

from app.core.settings.sources import read_env_file
from dev.local.environment import write_servers_file
from dev.local.places import REDIS_PARTS
from dev.local.ports import free_port, is_free
from dev.local.processes import Process, descendants, living, send, wait_until
from dev.local.programs import unprivileged_account
from dev.services import POSTGRES_FAST, PostgresServer, temporary_folder
from tests.support.forks import run_python

PROJECT = Path(__file__).resolve().parents[1]
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
            shutil.copytree(PROJECT / part, folder / part, ignore=ignored)
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
        return httpx.post(f"{self.url}/api/v1/login", data=data, timeout=10)

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


@pytest.fixture
def folder() -> Iterator[Path]:
    with temporary_folder() as reachable:
        yield reachable


@pytest.fixture
def checkout(folder: Path) -> Iterator[Checkout]:
    with closing(Checkout(folder / "a project")) as checkout:
        yield checkout


def have_ended(processes: dict[int, Process]) -> bool:
    running = living()
    return not any(running.get(pid) == process for pid, process in processes.items())


def test_the_first_start_needs_no_configuration(checkout: Checkout) -> None:
    taken = free_port()
    checkout.write_variables(**{f"{REDIS_PARTS[0]}_PORT": taken})
    with socket.create_server(("127.0.0.1", taken)):
        run = checkout.run("--no-reload")
        run.until("Ctrl-C")
    assert f"port {taken} is taken, Valkey gets another one" in run.output
    assert stat.S_IMODE(checkout.env_file.stat().st_mode) == 0o600
    assert stat.S_IMODE((checkout.local / "servers.env").stat().st_mode) == 0o600
    secret = re.search('SECRET_KEY="(.*)"', checkout.env_file.read_text())
    assert secret
    assert len(secret[1]) == 64
    assert checkout.env_file.read_text().replace(secret[1], "none") == ENV_FILE
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
    assert checkout.run("--only-servers").end() == 0, "an editor may use the servers of the run"

    processes = run.processes()
    assert len(processes) > 6
    run.process.terminate()
    assert run.end() == 0
    assert have_ended(processes)
    assert checkout.is_quiet()


def test_a_taken_port_is_reported_with_a_free_one(checkout: Checkout) -> None:
    with socket.create_server(("127.0.0.1", checkout.port)):
        run = checkout.run()
        assert run.end() == 1
    found = re.fullmatch(
        rf"run: port {checkout.port} is taken, another one is free: `make run PORT=(\d+)`\n", run.output
    )
    assert found
    assert is_free(int(found[1]))
    assert not (checkout.local / "postgres").exists()


@pytest.mark.parametrize("arguments", [("--port", "0"), ("--port", "http"), ("--host", "192.0.2.1")])
def test_an_impossible_address_is_reported(checkout: Checkout, arguments: tuple[str, str]) -> None:
    run = checkout.run(*arguments)
    assert run.end() in (1, 2)
    assert arguments[1] in run.output


def test_what_ends_is_restarted_and_a_second_ctrl_c_kills(checkout: Checkout) -> None:
    run = checkout.run()
    run.until("Ctrl-C")
    api, worker = checkout.leaders()
    servers = [pid for pid, process in run.processes().items() if process.parent == run.process.pid]
    send(signal.SIGKILL, {api, worker, *servers})
    for name in ("PostgreSQL", "Valkey", "the API", "the worker"):
        run.until(f"{name} has ended, next start in 0.5 s")
    # The API's second process may still respond after the first has ended.
    assert wait_until(lambda: len(checkout.leaders()) == 2 and checkout.works(), SECONDS)

    processes = run.processes()
    os.kill(checkout.leaders()[0], signal.SIGSTOP)  # does not end when it is asked to
    run.interrupt()
    time.sleep(0.7)
    assert run.process.poll() is None
    run.interrupt()
    assert run.process.wait(5) == 1
    assert wait_until(lambda: have_ended(processes), 5)


NEW_MIGRATION = """
import sqlalchemy as sa
from alembic import op

revision = "new"
down_revision = "{head}"


def upgrade() -> None:
    op.create_table("new", sa.Column("id", sa.Integer))
"""


def test_changes_of_code_migrations_and_settings(checkout: Checkout) -> None:
    run = checkout.run()
    run.until("Ctrl-C")
    worker = checkout.leaders()[1]
    checkout.add_breakpoint()
    run.until("the code has changed, the worker starts again")
    assert wait_until(lambda: checkout.leaders()[1] != worker, SECONDS)

    def is_explained() -> bool:
        with suppress(httpx.TransportError):
            httpx.get(f"{checkout.url}/api/v1/health")
        return "breakpoint() at health.py:" in run.output

    assert wait_until(is_explained, SECONDS)

    head = checkout.python("alembic", "heads", folder="src").split()[0]
    versions = checkout.folder / "src" / "migrations" / "versions"
    (versions / "2999_new.py").write_text(NEW_MIGRATION.format(head=head))
    run.until("new, not applied: 2999_new.py. Apply with")
    assert wait_until(checkout.works, SECONDS)
    assert head in checkout.python("alembic", "current", folder="src"), "a reload applied a migration"

    original = checkout.env_file.read_text()
    checkout.env_file.write_text(f"{original}LOG_LEVEL=loud\n")
    run.until("LOG_LEVEL: ")
    run.until("src/.env has changed, but cannot be used; everything goes on with the old settings")
    checkout.env_file.write_text(original.replace(PASSWORD, "another password"))
    run.until("src/.env has changed, everything starts again")
    run.until("with the password that was set before: ADMIN_PASSWORD is another one")
    assert "its password is not ADMIN_PASSWORD" in run.output
    assert wait_until(checkout.works, SECONDS)
    assert "new (head)" in checkout.python("alembic", "current", folder="src")
    assert run.process.poll() is None
    run.interrupt()
    assert run.end() == 0


def test_the_commands_of_a_checkout_reach_its_own_servers(folder: Path) -> None:
    """Two checkouts run at once; Alembic and the scripts of each change its own database only."""
    with closing(Checkout(folder / "first")) as first, closing(Checkout(folder / "second")) as second:
        for checkout, name in ((first, "firstadmin"), (second, "secondadmin")):
            (checkout.folder / "src" / ".env.example").write_text(ENV_FILE.replace("POSTGRES_PASSWORD", "UNUSED"))
            run = checkout.run("--only-servers")
            run.until("the servers are ready")
            where = f"(database postgres at 127.0.0.1:{checkout.variables()['POSTGRES_PORT']})"
            admin = {"ADMIN_USERNAME": name, "ADMIN_EMAIL": f"{name}@example.com"}
            created = checkout.python("src.scripts.create_first_superuser", **admin)
            assert created == f"superuser {name} created {where}\n"
            assert "(head)" in checkout.python("alembic", "current", folder="src")
        assert not set(first.variables().values()) & set(second.variables().values()) - {"127.0.0.1"}
        statement = 'SELECT username FROM "user" ORDER BY 1'
        assert second.python("dev.local.psql", "-Atc", statement).split() == ["admin", "secondadmin"]
        assert first.python("dev.local.psql", "-Atc", statement).split() == ["admin", "firstadmin"]
        assert first.python("dev.local.valkey_cli", "SET", "key", "first") == "OK\n"
        assert second.python("dev.local.valkey_cli", "GET", "key") == "(nil)\n"

        run.process.terminate()
        assert run.end() == 0
        port = first.variables()["POSTGRES_PORT"]
        refused = second.run("--only-servers", environment={"POSTGRES_PORT": port})
        assert refused.end() == 1
        assert f"port {port} belongs to the PostgreSQL of another checkout" in refused.output


@pytest.mark.skipif(sys.platform != "linux", reason="needs a second address of this machine")
def test_a_given_server_is_used_and_the_others_are_started(checkout: Checkout, folder: Path) -> None:
    options = (*POSTGRES_FAST, "-c", "listen_addresses=127.0.0.1,127.0.0.2")
    with PostgresServer(folder / "given", password="given", options=options) as given:
        values = {"POSTGRES_SERVER": "127.0.0.2", "POSTGRES_PORT": str(given.port), "POSTGRES_PASSWORD": "given"}
        run = checkout.run("--no-reload", environment=values)
        run.until("Ctrl-C")
        assert f"POSTGRES: uses the PostgreSQL at 127.0.0.2:{given.port}" in run.output
        assert f"(database postgres at 127.0.0.2:{given.port})" in run.output
        assert checkout.log_in().is_success
        assert not (checkout.local / "postgres").exists()
        assert (checkout.local / "valkey").exists()
        assert not any(name.startswith("POSTGRES") for name in checkout.variables())
        run.process.terminate()
        assert run.end() == 0


def test_a_breakpoint_has_the_terminal_with_debug(checkout: Checkout) -> None:
    checkout.add_breakpoint()
    terminal, its_end = pty.openpty()
    command = [sys.executable, "-m", "dev.run", "--port", str(checkout.port), "--debug", "api"]
    process = subprocess.Popen(
        command,
        cwd=checkout.folder,
        env=checkout.environment(TERM="dumb"),
        stdin=its_end,
        stdout=its_end,
        stderr=its_end,
        start_new_session=True,
    )
    os.close(its_end)
    output = ""

    def until(text: str) -> None:
        nonlocal output
        deadline = time.monotonic() + SECONDS
        while text not in output:
            assert time.monotonic() < deadline, output
            if select.select([terminal], [], [], 0.1)[0]:
                output += os.read(terminal, 65536).decode(errors="replace")

    try:
        # The run's own question whether the API responds is the first request.
        until("(Pdb) ")
        os.write(terminal, b"print('six times', 6 * 7)\n")
        until("six times 42")
        os.write(terminal, b"import sys; sys.breakpointhook = lambda: None\n")
        os.write(terminal, b"continue\n")
        until("Ctrl-C")
        assert checkout.log_in().is_success
        os.killpg(process.pid, signal.SIGINT)
        until("run: stopped")
        assert process.wait(SECONDS) == 0
        assert checkout.is_quiet()
    finally:
        if process.poll() is None:
            send(signal.SIGKILL, [*descendants(process.pid), process.pid])
        process.wait()
        os.close(terminal)


def test_the_next_run_ends_what_a_killed_run_has_left(checkout: Checkout) -> None:
    run = checkout.run()
    run.until("Ctrl-C")
    left_behind = run.processes()
    run.process.kill()
    run.process.wait()
    assert not have_ended(left_behind)
    env_text = checkout.env_file.read_text()
    checkout.env_file.write_text(env_text.replace('"first"', '"second"') + 'POSTGRES_USER="somebody else"\n')
    again = checkout.run("--no-reload")
    again.until("Ctrl-C")
    assert "ended what a killed run had left running" in again.output
    assert "superuser admin exists already" in again.output
    assert "is taken" not in again.output
    assert have_ended(left_behind)
    assert checkout.log_in().is_success
    again.interrupt()
    assert again.end() == 0
    assert checkout.is_quiet()


def test_ctrl_c_ends_a_run_at_every_moment_of_its_start(checkout: Checkout) -> None:
    cluster = checkout.local / "postgres" / "cluster"
    moments: list[Callable[[Run], bool]] = [
        lambda _: (checkout.local / "run.lock").exists(),
        # On a busy machine the first of the two may be seen too late.
        lambda _: cluster.with_suffix(".new").exists() or cluster.exists(),
        lambda run: "Started reloader" in run.output,
        lambda run: "superuser" in run.output,
    ]
    for number, has_come in enumerate(moments):
        if number == 1:
            shutil.rmtree(cluster, ignore_errors=True)
        run = checkout.run()
        assert wait_until(partial(has_come, run), SECONDS)
        processes = run.processes()
        run.interrupt()
        assert run.end() == 0
        assert run.output.endswith("run: stopped\n")
        assert have_ended(processes)
        assert checkout.is_quiet()


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="needs root, who can become another user")
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
