"""`make run` as its users see it: a copy of the project in a path with a space, real servers, real signals."""

import os
import re
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from dev.local.places import REDIS_PARTS
from dev.local.ports import free_port, is_free
from dev.local.programs import unprivileged_account
from dev.services import POSTGRES_FAST, PostgresServer, temporary_folder
from tests.support.local_run import ENV_FILE, Checkout, have_ended


@pytest.fixture
def folder() -> Iterator[Path]:
    with temporary_folder() as reachable:
        yield reachable


@pytest.fixture
def checkout(folder: Path) -> Iterator[Checkout]:
    with closing(Checkout(folder / "a project")) as checkout:
        yield checkout


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
