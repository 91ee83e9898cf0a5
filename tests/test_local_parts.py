"""The parts of the local runner and of the installation, each where it can go wrong."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import asyncpg
import pytest

from dev import install
from dev.local import processes, servers
from dev.local.claim import claim
from dev.local.clean import remove_local_data
from dev.local.database import ADMINISTRATOR, prepare_database
from dev.local.environment import child_environment, make_env_file, redis_setting
from dev.local.ports import free_port
from dev.local.processes import living, wait_until
from dev.local.record import RunRecord
from dev.local.screen import address, welcome
from dev.local.supervisor import Child, Program, Supervisor
from dev.services import POSTGRES_FAST, PostgresServer, ServiceError, ValkeyServer, temporary_folder

PROJECT = Path(__file__).resolve().parents[1]
SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


@pytest.fixture
def folder() -> Iterator[Path]:
    with temporary_folder() as reachable:
        yield reachable


def settings(**changes: object) -> SimpleNamespace:
    defaults = {
        "POSTGRES_USER": "app",
        "POSTGRES_PASSWORD": "p",
        "POSTGRES_DB": "app",
        "POSTGRES_PORT": free_port(),
        "ADMIN_USERNAME": "admin",
        "ADMIN_PASSWORD": "it's",
    }
    return SimpleNamespace(**(defaults | changes))


class TestEnvironment:
    def test_an_existing_file_is_never_touched(self, tmp_path: Path) -> None:
        (tmp_path / ".env.example").write_text("SECRET_KEY=example\n")
        (tmp_path / ".env").write_text("mine")
        assert not make_env_file(tmp_path)
        assert (tmp_path / ".env").read_text() == "mine"

    def test_without_an_example_there_is_nothing_to_make(self, tmp_path: Path) -> None:
        assert not make_env_file(tmp_path)
        assert list(tmp_path.iterdir()) == []

    def test_each_file_gets_a_secret_of_its_own(self, tmp_path: Path) -> None:
        made = set()
        (tmp_path / ".env.example").write_text("A=1\nSECRET_KEY=example # a hint\nB=2\n")
        for _ in range(2):
            assert make_env_file(tmp_path)
            made.add((tmp_path / ".env").read_text())
            (tmp_path / ".env").unlink()
        assert len(made) == 2
        assert all(text.startswith('A=1\nSECRET_KEY="') and text.endswith('"\nB=2\n') for text in made)

    def test_one_valkey_serves_all_parts_that_are_there(self, tmp_path: Path) -> None:
        values = settings(REDIS_QUEUE_PORT=7000, REDIS_RATE_LIMIT_PORT=7001, REDIS_RATE_LIMIT_PASSWORD="secret")
        assert redis_setting(values, "PORT") == "7000"
        assert redis_setting(values, "PASSWORD") == "secret"
        valkey = ValkeyServer(tmp_path, port=7002, password="secret")
        environment = child_environment(values, PostgresServer(tmp_path, port=7003, password="other"), valkey)
        assert environment["REDIS_CACHE_PORT"] == environment["REDIS_QUEUE_PORT"] == "7002"
        assert (environment["POSTGRES_PORT"], environment["POSTGRES_PASSWORD"]) == ("7003", "p")


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


class TestServers:
    def test_a_lost_password_is_told_with_its_mend(self, folder: Path) -> None:
        (folder / "postgres" / "cluster").mkdir(parents=True)
        with pytest.raises(ServiceError, match="make clean"):
            servers.local_postgres(settings(), folder, print)

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root's PostgreSQL runs as somebody else")
    def test_data_that_postgres_could_not_reach_are_kept_elsewhere(
        self, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tmp_path.chmod(0o700)
        monkeypatch.setattr(servers, "_SHARED_STATE", folder / "state")
        said: list[str] = []
        for _ in range(2):
            server = servers.local_postgres(settings(), tmp_path, said.append)
            assert server.data.parent == folder / "state"
            server.stop()
        assert len(said) == 1
        remove_local_data(tmp_path)
        assert list((folder / "state").iterdir()) == []


class TestClaim:
    def test_the_second_is_told_who_the_first_is(self, tmp_path: Path) -> None:
        with ExitStack() as stack:
            claim(tmp_path, stack).write("http://there", [])
            with pytest.raises(ServiceError, match=f"already running as process {os.getpid()} at http://there"):
                remove_local_data(tmp_path)
        remove_local_data(tmp_path)
        assert not tmp_path.exists()
        remove_local_data(tmp_path)

    def test_a_group_is_ended_though_its_leader_is_dead(self, tmp_path: Path) -> None:
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
        assert member in living()
        assert record.end_remains()
        assert member not in living()
        assert not record.end_remains()

    def test_a_stranger_with_a_former_pid_is_left_alone(self, tmp_path: Path) -> None:
        with subprocess.Popen(SLEEP, start_new_session=True) as stranger:
            record = RunRecord(tmp_path / "run.json")
            record.write("", [stranger.pid])
            notes = json.loads((tmp_path / "run.json").read_text())
            notes["leaders"][0]["started"] = "long ago"
            (tmp_path / "run.json").write_text(json.dumps(notes))
            assert not record.end_remains()
            assert stranger.poll() is None
            stranger.kill()

    def test_notes_that_are_broken_are_no_notes(self, tmp_path: Path) -> None:
        (tmp_path / "run.json").write_text("{")
        assert not RunRecord(tmp_path / "run.json").end_remains()


class TestSupervisor:
    def test_what_dies_at_once_is_started_with_growing_pauses(self, tmp_path: Path) -> None:
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

    def test_a_failed_start_is_told_and_tried_again(self) -> None:
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


class TestScreen:
    @pytest.mark.parametrize(
        ("host", "name"),
        [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::", "[::1]"), ("::1", "[::1]"), ("box", "box")],  # noqa: S104
    )
    def test_the_address_works_in_a_browser_of_this_machine(self, host: str, name: str) -> None:
        assert address(host, 8000) == f"http://{name}:8000"

    def test_a_password_is_quoted_for_the_shell(self, tmp_path: Path) -> None:
        (line,) = (line for line in welcome("http://a", settings(), tmp_path).splitlines() if "curl" in line)
        words = subprocess.run(
            ["sh", "-c", line.replace("curl", "printf %s\\\\n")], capture_output=True, text=True, check=True
        )
        assert "password=it's" in words.stdout.splitlines()


@pytest.mark.skipif(not Path("/bin/ps").exists(), reason="no ps")
def test_systems_without_proc_are_asked_by_ps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(processes, "_BOOT_ID", tmp_path / "missing")
    assert living()[os.getpid()].parent == os.getppid()
    assert Path(sys.executable).name in processes.command_line(os.getpid())
    assert processes.command_line(2**22 + 1) == ""


class TestInstall:
    def test_a_stamp_says_what_is_there(self, tmp_path: Path) -> None:
        environment = install.Environment(tmp_path / "venv", "one")
        assert not environment.is_current()
        environment.python.parent.mkdir(parents=True)
        environment.python.touch()
        environment.finish()
        assert environment.is_current()
        assert not install.Environment(tmp_path / "venv", "two").is_current()

    def test_a_failure_shows_the_words_of_the_tool(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(install, "TOOLS", tmp_path)
        code = "print('WARNING: noise'); print('No route to the index'); raise SystemExit(1)"
        with pytest.raises(install.InstallError, match="installing it failed") as caught:
            install.run([sys.executable, "-c", code], "installing it")
        assert str(caught.value).endswith("No route to the index")
        assert "noise" not in str(caught.value)
        assert "noise" in (tmp_path / "install.log").read_text()

    def test_an_environment_that_cannot_be_made_is_told(self) -> None:
        with pytest.raises(install.InstallError):
            install.wait_for(subprocess.Popen([sys.executable, "-c", "raise SystemExit(1)"]))


class TestMake:
    def make(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["make", *arguments], cwd=PROJECT, capture_output=True, text=True, check=False)

    def test_help_lists_every_target(self) -> None:
        listed = {line.split()[1] for line in self.make().stdout.splitlines()}
        assert listed >= {"help", "run", "install", "test", "check", "format", "clean"}

    def test_a_missing_python_is_told(self) -> None:
        result = self.make("install", "PYTHON=/no where/python3")
        assert result.returncode
        assert 'Python 3.11 or newer is needed as "/no where/python3"' in result.stderr
