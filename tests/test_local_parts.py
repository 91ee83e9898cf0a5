"""The parts of the local run and of the installation, each where it can fail."""

import asyncio
import io
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import asyncpg
import pytest

from app.core.settings.sources import read_env_file
from dev import install
from dev.local import clean, places, processes, psql, servers, valkey_cli
from dev.local.breakpoints import explain
from dev.local.claim import AlreadyRunningError, claim
from dev.local.clean import delete_data
from dev.local.database import ADMINISTRATOR, prepare_database
from dev.local.environment import child_environment, make_env_file, write_servers_file
from dev.local.login import find_login_problem, responds
from dev.local.migrations import Migrations
from dev.local.options import Options, parse
from dev.local.ports import free_port
from dev.local.processes import command_line, living, wait_until
from dev.local.record import RunRecord
from dev.local.screen import failed_login_lines, login_lines, welcome, wrong_password_lines
from dev.local.servers import ServerChoice, Servers
from dev.local.supervisor import Child, Program, Supervisor
from dev.services import POSTGRES_FAST, PostgresServer, ServiceError, ValkeyServer, temporary_folder
from tests.helper import Rows

PROJECT = Path(__file__).resolve().parents[1]
SET_BY_THE_USER = "which is set in src/.env or the environment"
SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


@pytest.fixture
def folder() -> Iterator[Path]:
    with temporary_folder() as reachable:
        yield reachable


def settings(**changes: object) -> SimpleNamespace:
    """Settings as `make run` reads them, without Redis."""
    defaults = {
        "POSTGRES_USER": "app",
        "POSTGRES_PASSWORD": "p",
        "POSTGRES_SERVER": "localhost",
        "POSTGRES_PORT": 5432,
        "POSTGRES_DB": "app",
        "ADMIN_USERNAME": "admin",
        "ADMIN_PASSWORD": "it's",
    }
    return SimpleNamespace(**(defaults | changes))


def redis_settings(**changes: object) -> SimpleNamespace:
    """Settings without PostgreSQL: what `changes` does not say has its default."""
    values: dict[str, object] = {}
    for part in places.REDIS_PARTS:
        values |= {f"{part}_HOST": "localhost", f"{part}_PORT": 6379, f"{part}_PASSWORD": "", f"{part}_SSL": False}
        values[f"{part}_URL"] = "redis://localhost:6379/0"
    return SimpleNamespace(**(values | changes))


class TestEnvironment:
    def test_an_existing_file_is_never_changed(self, tmp_path: Path) -> None:
        (tmp_path / ".env.example").write_text("SECRET_KEY=example\n")
        (tmp_path / ".env").write_text("mine")
        assert not make_env_file(tmp_path)
        assert (tmp_path / ".env").read_text() == "mine"

    def test_without_an_example_no_file_is_made(self, tmp_path: Path) -> None:
        assert not make_env_file(tmp_path)
        assert list(tmp_path.iterdir()) == []

    def test_each_file_has_another_secret(self, tmp_path: Path) -> None:
        made = set()
        (tmp_path / ".env.example").write_text("A=1\nSECRET_KEY=example # a hint\nB=2\n")
        for _ in range(2):
            assert make_env_file(tmp_path)
            made.add((tmp_path / ".env").read_text())
            (tmp_path / ".env").unlink()
        assert len(made) == 2
        assert all(text.startswith('A=1\nSECRET_KEY="') and text.endswith('"\nB=2\n') for text in made)

    def test_the_servers_file_holds_any_password(self, tmp_path: Path) -> None:
        values = {"REDIS_RATE_LIMIT_PASSWORD": 'it\'s a \\ "quoted" $HOME #1', "REDIS_RATE_LIMIT_PORT": "1"}
        write_servers_file(tmp_path / "servers.env", values)
        assert read_env_file(tmp_path / "servers.env") == values

    def test_the_environment_of_the_user_wins(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PYTHONBREAKPOINT", "ipdb.set_trace")
        monkeypatch.setenv("CREATE_TABLES_ON_START", "")
        environment = child_environment({"PYTHONBREAKPOINT": "ours", "CREATE_TABLES_ON_START": "false"})
        assert (environment["PYTHONBREAKPOINT"], environment["CREATE_TABLES_ON_START"]) == ("ipdb.set_trace", "false")


class TestServerChoice:
    """Which servers a run starts; nothing is started here."""

    def choose(
        self, values: SimpleNamespace, given: dict[str, object], folder: Path, kept: dict[str, str] | None = None
    ) -> tuple[Servers, list[str]]:
        said: list[str] = []
        for name, value in given.items():
            setattr(values, name, value)
        return ServerChoice(values, given, kept or {}, said.append).choose(folder), said

    def test_what_is_not_given_is_started_and_written_down(self, folder: Path) -> None:
        chosen, said = self.choose(settings(), {}, folder)
        assert chosen.postgres
        assert chosen.variables["POSTGRES_PORT"] == str(chosen.postgres.port) != "5432"
        assert len(chosen.variables["POSTGRES_PASSWORD"]) > 20
        again, _ = self.choose(settings(), {}, folder, chosen.variables)
        assert again.variables == chosen.variables
        assert said == []

    def test_a_password_that_is_given_is_kept(self, folder: Path) -> None:
        chosen, _ = self.choose(settings(), {"POSTGRES_PASSWORD": "mine"}, folder)
        assert "POSTGRES_PASSWORD" not in chosen.variables

    def test_a_server_of_another_machine_is_used(self, folder: Path) -> None:
        chosen, said = self.choose(settings(), {"POSTGRES_SERVER": "db.example.com"}, folder)
        assert (chosen.postgres, chosen.variables) == (None, {})
        assert said == [
            "POSTGRES: uses the PostgreSQL at db.example.com:5432, which is set in src/.env or the environment"
        ]
        assert list(folder.iterdir()) == []

    def test_a_given_port_is_used_if_a_program_listens_there_and_else_started(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            chosen, said = self.choose(settings(), {"POSTGRES_PORT": port}, folder)
            assert chosen.postgres is None
            assert said == [
                f"POSTGRES: uses the server at localhost:{port}, which is set in src/.env or the environment"
            ]
        chosen, said = self.choose(settings(), {"POSTGRES_PORT": port}, folder)
        assert chosen.postgres
        assert (chosen.postgres.port, chosen.variables, said) == (port, {}, [])

    def test_the_server_of_another_checkout_is_refused(self, folder: Path) -> None:
        with ValkeyServer(folder / "other") as other, pytest.raises(ServiceError, match="Valkey of another checkout"):
            self.choose(redis_settings(), {"REDIS_RATE_LIMIT_PORT": other.port}, folder / "this")

    @pytest.mark.parametrize(
        ("part", "variable", "value"),
        [("POSTGRES", "POSTGRES_SERVER", "your_server"), ("REDIS", "REDIS_RATE_LIMIT_HOST", "your_host")],
    )
    def test_a_placeholder_is_refused(self, folder: Path, part: str, variable: str, value: str) -> None:
        values = settings() if part == "POSTGRES" else redis_settings()
        with pytest.raises(ServiceError, match=f"{variable}: replace the placeholder"):
            self.choose(values, {variable: value}, folder)

    def test_one_valkey_serves_the_parts_that_are_not_given(self, folder: Path) -> None:
        port = free_port()
        given = {"REDIS_QUEUE_PORT": port, "REDIS_RATE_LIMIT_PASSWORD": "secret"}
        chosen, _ = self.choose(redis_settings(), given, folder)
        ports = {server.port: server.password for server in chosen.valkeys}
        assert ports[port] == ""
        assert ports[int(chosen.variables["REDIS_CACHE_PORT"])] == "secret"
        assert chosen.variables["REDIS_RATE_LIMIT_PORT"] == chosen.variables["REDIS_CACHE_PORT"]
        assert chosen.variables["REDIS_CACHE_PASSWORD"] == "secret"
        assert not any(name.startswith("REDIS_QUEUE") or "RATE_LIMIT_PASS" in name for name in chosen.variables)

    @pytest.mark.parametrize(
        "given",
        [{"REDIS_CACHE_PASSWORD": "one", "REDIS_RATE_LIMIT_PASSWORD": "two"}, {"REDIS_CACHE_SSL": True}],
        ids=["passwords", "TLS"],
    )
    def test_what_one_valkey_cannot_do_is_refused(self, folder: Path, given: dict[str, object]) -> None:
        with pytest.raises(ServiceError, match="share one local Valkey"):
            self.choose(redis_settings(), given, folder)

    def test_the_server_of_a_url_is_used_and_the_others_are_started(self, folder: Path) -> None:
        given = {"REDIS_QUEUE_URL": f"redis://app:secret@localhost:{free_port()}/0", "REDIS_QUEUE_HOST": "your_host"}
        chosen, said = self.choose(redis_settings(), dict(given), folder)
        assert len(chosen.valkeys) == 1
        assert {name.rpartition("_")[0] for name in chosen.variables} == {"REDIS_CACHE", "REDIS_RATE_LIMIT"}
        address = given["REDIS_QUEUE_URL"].partition("@")[2].partition("/")[0]
        assert said == [f"REDIS_QUEUE: uses the Redis at {address}, {SET_BY_THE_USER}"]

    def test_a_feature_that_is_switched_off_starts_nothing(self, folder: Path) -> None:
        chosen, _ = self.choose(SimpleNamespace(), {}, folder)
        assert (chosen.postgres, chosen.valkeys, chosen.variables) == (None, [], {})

    @pytest.mark.parametrize(
        ("url", "address"),
        [("rediss://app:p%40ss@limits:7000/1", "limits:7000"), ("unix:///run/limits?db=1", "/run/limits")],
    )
    def test_the_servers_are_described(self, url: str, address: str) -> None:
        values = SimpleNamespace(**vars(settings()), **vars(redis_settings(REDIS_RATE_LIMIT_URL=url)))
        shown = [line.split()[1].rstrip(",") for line in places.describe_servers(values)]
        assert (shown[0], shown[-1]) == ("localhost:5432", address)


class TestMigrations:
    def test_new_files_wait_and_the_next_start_applies_them(self, tmp_path: Path) -> None:
        (tmp_path / "1_first.py").touch()
        data = tmp_path / "data"
        data.mkdir()
        migrations = Migrations(tmp_path, data, "app")
        assert not migrations.is_database_current()
        migrations.note_applied()
        assert Migrations(tmp_path, data, "app").is_database_current()
        assert not Migrations(tmp_path, data, "other").is_database_current()
        (tmp_path / "2_second.py").touch()
        assert migrations.find_waiting() == ["2_second.py"]
        assert not Migrations(tmp_path, data, "app").is_database_current()

    def test_a_given_database_is_never_assumed_to_be_current(self, tmp_path: Path) -> None:
        migrations = Migrations(tmp_path, None, "app")
        migrations.note_applied()
        assert not migrations.is_database_current()


def test_the_database_follows_the_settings(folder: Path) -> None:
    async def run(server: PostgresServer, user: str, password: str, statement: str) -> str | None:
        connection = await asyncpg.connect(
            host=server.host, port=server.port, user=user, password=password, database='my "db"', timeout=5
        )
        try:
            value: str | None = await connection.fetchval(statement)
            return value
        finally:
            await connection.close()

    def prepare(server: PostgresServer, user: str, password: str) -> None:
        asyncio.run(prepare_database(server, user, password, 'my "db"'))

    with PostgresServer(folder / "pg", password="x", user=ADMINISTRATOR, options=POSTGRES_FAST) as server:
        for password in ("first", "it's \\ the % second"):
            prepare(server, "old role", password)
            asyncio.run(run(server, "old role", password, "CREATE TABLE IF NOT EXISTS kept (id int)"))
        prepare(server, "postgres", "third")
        asyncio.run(run(server, "postgres", "third", "ALTER TABLE kept ADD COLUMN more int"))
        asyncio.run(prepare_database(server, "postgres", "third", "postgres"))
        server.password = "wrong"
        with pytest.raises(ServiceError, match="cannot be prepared"):
            prepare(server, "postgres", "third")


class TestDataFolder:
    def test_a_lost_password_is_reported_with_its_fix(self, folder: Path) -> None:
        (folder / "postgres" / "cluster").mkdir(parents=True)
        with pytest.raises(ServiceError, match="make reset"):
            ServerChoice(settings(), (), {}, print).choose(folder)

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root's PostgreSQL runs as another user")
    def test_data_that_postgres_cannot_reach_are_kept_elsewhere(
        self, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tmp_path.chmod(0o700)
        monkeypatch.setattr(servers, "_SHARED_STATE", folder / "state")
        said: list[str] = []
        for _ in range(2):
            server = ServerChoice(settings(), (), {}, said.append).choose(tmp_path).postgres
            assert server
            assert server.data.parent == folder / "state"
        assert len(said) == 1
        delete_data(tmp_path)
        assert list((folder / "state").iterdir()) == []
        assert not (tmp_path / "postgres").is_symlink()


class TestClaim:
    def test_a_second_run_reports_the_first(self, tmp_path: Path) -> None:
        with ExitStack() as stack:
            claim(tmp_path, stack).write("http://there", [])
            with pytest.raises(AlreadyRunningError, match=f"already running as process {os.getpid()} at http://there"):
                delete_data(tmp_path)

    def test_a_group_is_ended_though_its_leader_has_ended(self, tmp_path: Path) -> None:
        leader = subprocess.Popen(
            [sys.executable, "-c", f"import subprocess; print(subprocess.Popen({SLEEP!r}).pid, flush=True); input()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        with leader:
            assert leader.stdout
            member = int(leader.stdout.readline())
            record = RunRecord(tmp_path / "run.json")
            record.write("", [leader.pid])
            leader.kill()
        # Linux shows the arguments a moment after the program has begun.
        assert wait_until(lambda: sys.executable in command_line(member), 10)
        assert record.end_remains()
        assert member not in living()
        assert not record.end_remains()

    def test_a_program_in_the_foreground_is_ended_too(self, tmp_path: Path) -> None:
        with subprocess.Popen(SLEEP) as program:
            record = RunRecord(tmp_path / "run.json")
            record.write("", [program.pid])
            assert record.end_remains()
            assert program.wait(10)

    def test_another_process_with_a_former_pid_is_not_ended(self, tmp_path: Path) -> None:
        with subprocess.Popen(SLEEP, start_new_session=True) as other:
            record = RunRecord(tmp_path / "run.json")
            record.write("", [other.pid])
            notes = json.loads((tmp_path / "run.json").read_text())
            notes["leaders"][0]["started"] = "long ago"
            (tmp_path / "run.json").write_text(json.dumps(notes))
            assert not record.end_remains()
            assert other.poll() is None
            other.kill()

    def test_a_broken_record_is_ignored(self, tmp_path: Path) -> None:
        (tmp_path / "run.json").write_text("{")
        assert not RunRecord(tmp_path / "run.json").end_remains()


class TestClean:
    @pytest.fixture(autouse=True)
    def local(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """Data of a Valkey that a killed run has left running, and the ports of the checkout."""
        monkeypatch.setattr(clean, "LOCAL", folder / ".local")
        (folder / ".local").mkdir()
        (folder / ".local" / "servers.env").write_text("REDIS_RATE_LIMIT_PORT='1'\n")
        return folder / ".local"

    def test_reset_asks_first_and_keeps_the_ports(self, local: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with ValkeyServer(local / "valkey") as server:
            pid = server.pid
            server._lock.release()  # as if its run had been killed
            monkeypatch.setattr("builtins.input", lambda _: "no")
            assert clean.main(["--ask"]) == 1
            assert (local / "valkey").exists()
            monkeypatch.setattr("builtins.input", lambda _: "y")
            assert clean.main(["--ask"]) == 0
            assert pid not in living()
        assert not (local / "valkey" / "server.pid").exists()
        assert (local / "servers.env").exists()

    def test_no_terminal_means_no(self, local: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO())
        assert clean.main(["--ask"]) == 1

    def test_everything_is_deleted_also_twice(self, local: Path) -> None:
        (local / "valkey").mkdir()
        assert clean.main(["--everything"]) == 0
        assert not local.exists()
        assert clean.main(["--everything"]) == 0

    def test_data_in_use_are_not_deleted(self, local: Path, capsys: pytest.CaptureFixture[str]) -> None:
        with ValkeyServer(local / "valkey") as server:
            assert clean.main([]) == 1
            assert server.running
        assert "is already in use by process" in capsys.readouterr().out


class TestSupervisor:
    def test_what_ends_at_once_is_restarted_with_growing_pauses(self, tmp_path: Path) -> None:
        said: list[str] = []
        starts: list[int] = []
        now = 1000.0
        supervisor = Supervisor(said.append, lambda programs: starts.append(len(programs)), clock=lambda: now)
        child = Child("it", [sys.executable, "-c", "raise SystemExit(3)"], tmp_path, os.environ)
        supervisor.start(child)
        for _ in range(8):
            assert wait_until(lambda: not child.running, 10)
            supervisor.check()
            now += 20
            supervisor.check()
        assert wait_until(lambda: child.exit_status == 3, 10)
        supervisor.stop()
        assert [line.rpartition("in ")[2] for line in said] == [
            "0.5 s",
            "1 s",
            "2 s",
            "4 s",
            "8 s",
            "15 s",
            "15 s",
            "15 s",
        ]
        assert len(starts) == 9

    def test_a_failed_start_is_reported_and_tried_again(self) -> None:
        class Failing:
            name = "it"
            running = False

            def start(self) -> None:
                raise ServiceError("no luck")

            def stop(self) -> None: ...

        said: list[str] = []
        now = 1000.0
        supervisor = Supervisor(said.append, lambda _: None, clock=lambda: now)
        program: Program = Failing()
        with pytest.raises(ServiceError):
            supervisor.start(program)
        supervisor.check()
        now += 0.5
        supervisor.check()
        assert said == ["it has ended, next start in 0.5 s", "no luck", "it did not start, next start in 1 s"]

    def test_a_child_that_ignores_the_request_is_killed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("dev.local.supervisor._STOP_SECONDS", 0.1)
        deaf = [sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)"]
        child = Child("it", deaf, tmp_path, os.environ)
        child.start()
        child.stop()
        assert not child.running


class TestOptions:
    @pytest.mark.parametrize(
        ("host", "name"),
        [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::", "[::1]"), ("::1", "[::1]"), ("box", "box")],  # noqa: S104
    )
    def test_the_address_works_in_a_browser_of_this_machine(self, host: str, name: str) -> None:
        assert Options(host=host).address == f"http://{name}:8000"

    def test_a_debugger_excludes_reloads(self) -> None:
        assert parse([]).reload
        assert parse(["--debug", "api"]) == Options(debug="api", reload=False)


class TestScreen:
    def test_a_password_is_quoted_for_the_shell(self) -> None:
        (line,) = (line for line in login_lines("http://a", "admin", "it's") if "curl" in line)
        words = subprocess.run(
            ["sh", "-c", line.replace("curl", "printf '%s\\n'")], capture_output=True, text=True, check=True
        )
        assert "password=it's" in words.stdout.splitlines()

    def test_only_a_login_that_works_is_shown(self, tmp_path: Path) -> None:
        shown = welcome("http://a", login_lines("http://a", "admin", "secret"), ["PostgreSQL"], tmp_path)
        assert "admin with the password secret" in shown
        for lines in (wrong_password_lines("admin"), failed_login_lines("admin", "503 Service unavailable.")):
            shown = welcome("http://a", lines, [], tmp_path)
            assert "Log in as      admin" in shown
            assert "secret" not in shown

    def test_a_breakpoint_without_a_terminal_is_explained(self, capsys: pytest.CaptureFixture[str]) -> None:
        explain()
        assert re.search(r"breakpoint\(\) at test_local_parts.py:\d+ is skipped", capsys.readouterr().err)


class TestLogin:
    async def test_a_real_login_is_tried(self, server: str, rows: Rows) -> None:
        root = await rows.superuser()

        async def find(password: str) -> str:
            return await asyncio.to_thread(find_login_problem, server, root.username, password)

        assert responds(server)
        assert await find("correct horse battery staple") == ""
        assert await find("wrong") == "401 Wrong username, email or password."

    def test_a_server_that_does_not_respond_is_reported(self) -> None:
        base = f"http://127.0.0.1:{free_port()}"
        assert not responds(base)
        assert find_login_problem(base, "admin", "p").startswith("ConnectionRefusedError")


class TestClients:
    def test_psql_gets_the_settings(self) -> None:
        command, environment = psql.psql_command(["-c", "SELECT 1"])
        assert Path(command[0]).exists()
        assert command[1:] == ["-c", "SELECT 1"]
        assert {"PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGDATABASE"} <= environment.keys()

    def test_valkey_cli_shows_replies_and_errors(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with ValkeyServer(folder / "valkey", password="secret") as server:
            url = f"redis://:secret@{server.host}:{server.port}/0"
            module = SimpleNamespace(settings=SimpleNamespace(REDIS_CACHE_URL=url, REDIS_RATE_LIMIT_URL=url))
            monkeypatch.setattr(
                valkey_cli, "import_module", lambda name: module if name.endswith("config") else import_module(name)
            )
            assert valkey_cli.main(["RPUSH", "list", "a", "b c"]) == 0
            assert valkey_cli.main(["--part", "rate_limit", "LRANGE", "list", "0", "-1"]) == 0
            assert valkey_cli.main(["NONSENSE"]) == 1
            lines = iter(["GET list", "", "GET 'open", "GET none", "quit"])
            monkeypatch.setattr("builtins.input", lambda _: next(lines))
            assert valkey_cli.main([]) == 0
        shown = capsys.readouterr().out.splitlines()
        assert shown[:3] == ["(integer) 2", "1) a", "2) b c"]
        assert shown[3].startswith("(error) unknown command")
        assert shown[4].startswith("(error) WRONGTYPE")
        assert shown[5:] == ["(error) No closing quotation", "(nil)"]


@pytest.mark.skipif(not Path("/bin/ps").exists(), reason="no ps")
def test_ps_is_used_on_systems_without_proc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(processes, "_BOOT_ID", tmp_path / "missing")
    assert living()[os.getpid()].parent == os.getppid()
    assert Path(sys.executable).name in processes.command_line(os.getpid())
    assert processes.command_line(2**22 + 1) == ""


class TestInstall:
    def test_a_stamp_file_records_what_is_installed(self, tmp_path: Path) -> None:
        environment = install.Environment(tmp_path / "venv", "one")
        assert not environment.is_current()
        environment.python.parent.mkdir(parents=True)
        environment.python.touch()
        environment.finish()
        assert environment.is_current()
        assert not install.Environment(tmp_path / "venv", "two").is_current()

    def test_a_failure_shows_the_output_of_the_tool(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(install, "TOOLS", tmp_path)
        code = "print('WARNING: noise'); print('No route to the index'); raise SystemExit(1)"
        with pytest.raises(install.InstallError, match="installing it failed") as caught:
            install.run([sys.executable, "-c", code], "installing it")
        assert str(caught.value).endswith("No route to the index")
        assert "noise" not in str(caught.value)
        assert "noise" in (tmp_path / "install.log").read_text()

    def test_an_environment_that_cannot_be_created_is_reported(self) -> None:
        with pytest.raises(install.InstallError):
            install.wait_for(subprocess.Popen([sys.executable, "-c", "raise SystemExit(1)"]))


class TestVisualStudioCode:
    """.vscode works with the servers of the checkout."""

    def read(self, name: str) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((PROJECT / ".vscode" / name).read_text(encoding="utf-8"))
        return content

    def test_each_configuration_can_be_launched(self) -> None:
        tasks = {task["label"] for task in self.read("tasks.json")["tasks"]}
        for configuration in self.read("launch.json")["configurations"]:
            assert find_spec(configuration["module"]), configuration["name"]
            assert {configuration.get("preLaunchTask")} <= {None, *tasks}

    @pytest.mark.parametrize("line", ["run: the servers are ready", "run: already running as process 1 at http://a"])
    def test_the_task_notices_that_the_servers_are_ready(self, line: str) -> None:
        (task,) = self.read("tasks.json")["tasks"]
        assert task["command"] == "make servers"
        assert re.match(task["problemMatcher"]["background"]["endsPattern"], line)


class TestMake:
    def make(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["make", *arguments], cwd=PROJECT, capture_output=True, text=True, check=False)

    def test_help_lists_every_target(self) -> None:
        listed = {line.split()[1] for line in self.make().stdout.splitlines()}
        text = (PROJECT / "Makefile").read_text(encoding="utf-8")
        targets = set(re.findall(r"^([a-z][a-z-]*):", text, re.MULTILINE))
        assert targets - listed == {"python"}
        assert listed >= {"run", "debug", "servers", "psql", "valkey-cli", "logs", "reset"}

    def test_a_missing_python_is_reported(self) -> None:
        result = self.make("install", "PYTHON=/no where/python3")
        assert result.returncode
        assert 'Python 3.11 or newer is needed as "/no where/python3"' in result.stderr
