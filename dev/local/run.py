"""One local run: the programs in their order, the welcome screen, and what a changed file leads to."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path

from dev.local.changes import Changes, watch_changes
from dev.local.children import OTHER_PASSWORD, Children
from dev.local.database import prepare_database
from dev.local.environment import make_env_file, write_servers_file
from dev.local.login import find_login_problem, responds
from dev.local.migrations import HOW_TO_APPLY, Migrations
from dev.local.options import Options
from dev.local.places import LocalSettings, describe_servers
from dev.local.record import RunRecord
from dev.local.remains import end_servers
from dev.local.screen import failed_login_lines, login_lines, say, welcome, wrong_password_lines
from dev.local.servers import ServerChoice, Servers
from dev.local.signals import RestartRequested, StopRequested, StopSignals
from dev.local.supervisor import Child, Program, Supervisor
from dev.services import ServiceError

_PAUSE_SECONDS = 0.1
_SLOW_SECONDS = 30.0


class LocalRun:
    """Everything that is started is stopped by the stack, the last program first."""

    def __init__(
        self, project: Path, options: Options, record: RunRecord, signals: StopSignals, stack: ExitStack
    ) -> None:
        self._project = project
        self._source = project / "src"
        self._local = project / ".local"
        self._options = options
        self._record = record
        self._signals = signals
        self._stack = stack
        self._changes = self._watch()
        self._supervisor = Supervisor(say, self._note)
        stack.callback(self._supervisor.stop)

    def run(self) -> None:
        """Does not return: `StopRequested` or `RestartRequested` ends it, or a `ServiceError` when the start fails."""
        if make_env_file(self._source):
            say("made src/.env from src/.env.example, with a new SECRET_KEY")
        env_text = self._read_env_file()
        servers, settings = self._choose_servers()
        self._start_servers(servers, settings)
        children = Children(self._project, self._options)
        data = servers.postgres.data if servers.postgres else None
        migrations = Migrations(self._source / "migrations" / "versions", data, getattr(settings, "POSTGRES_DB", ""))
        worker = self._start_programs(children, settings, migrations)
        for changes in self._changes:
            if changes.settings and self._read_env_file() != env_text:
                self._restart_with_new_settings()
            if changes.migrations and (waiting := migrations.find_waiting()):
                say(f"new, not applied: {', '.join(waiting)}. {HOW_TO_APPLY}")
            if changes.code and worker:
                say("the code has changed, the worker starts again")
                self._supervisor.reload(worker)

    def _choose_servers(self) -> tuple[Servers, LocalSettings]:
        """The servers to start, and the settings that lead to them and to the given ones."""
        # Not sooner: importing the settings reads the file that `make_env_file` makes.
        settings: LocalSettings = import_module("src.app.core.config").settings
        base = import_module("src.app.core.settings.base")
        if self._source / ".env" != base.ENV_FILE:
            raise ServiceError("the variable ENV_FILE is set, but a local run reads src/.env: unset it")
        servers_file = self._project / base.LOCAL_SERVERS
        end_servers(self._local)
        kept = base.read_env_file(servers_file)
        servers = ServerChoice(settings, base.read_given(base.ENV_FILE), kept, say).choose(self._local)
        write_servers_file(servers_file, kept | servers.variables)
        return servers, base.load(type(settings))

    def _start_servers(self, servers: Servers, settings: LocalSettings) -> None:
        for server in (*([servers.postgres] if servers.postgres else []), *servers.valkeys):
            self._signals.check()
            self._supervisor.start(server)
        if servers.postgres:
            role = (settings.POSTGRES_USER, settings.POSTGRES_PASSWORD)
            asyncio.run(prepare_database(servers.postgres, *role, settings.POSTGRES_DB))
        self._signals.check()

    def _start_programs(self, children: Children, settings: LocalSettings, migrations: Migrations) -> Child | None:
        """The worker, if there is one; returns when everything works and the screen is shown."""
        has_database = hasattr(settings, "POSTGRES_SERVER") and hasattr(settings, "ADMIN_USERNAME")
        needs_api = not self._options.only_servers
        starts_early = needs_api and (not has_database or migrations.is_database_current())
        if starts_early:
            self._supervisor.start(children.api())
        password_is_right = has_database and self._create_first_rows(children)
        migrations.note_applied()
        if not needs_api:
            say("\n  ".join(["the servers are ready", *describe_servers(settings)]))
            return None
        if not starts_early:
            self._supervisor.start(children.api())
        self._await_api()
        login = self._login_lines(settings, password_is_right) if has_database else []
        if self._options.reload:
            next(self._changes)  # watches from now on, so that no change after the worker's start is missed
        # Last, as importing the application keeps a core busy for a second.
        worker = children.worker() if hasattr(settings, "REDIS_QUEUE_HOST") else None
        if worker:
            self._supervisor.start(worker)
        print(welcome(self._options.address, login, describe_servers(settings), self._local), flush=True)
        return worker

    def _create_first_rows(self, children: Children) -> bool:
        """Migrates, and creates the first superuser and tier; whether ADMIN_PASSWORD is the superuser's password."""
        scripts = children.first_rows()
        self._stack.callback(scripts.stop)
        scripts.start()
        while scripts.running:
            self._pause()
        if scripts.exit_status not in (0, OTHER_PASSWORD):
            raise ServiceError("the first superuser and the first tier could not be created, the reason is above")
        return scripts.exit_status == 0

    def _login_lines(self, settings: LocalSettings, password_is_right: bool) -> Sequence[str]:
        username, password = settings.ADMIN_USERNAME, settings.ADMIN_PASSWORD
        if not password_is_right:  # an attempt would count as a failed login
            return wrong_password_lines(username)
        problem = find_login_problem(self._options.address, username, password)
        if problem:
            return failed_login_lines(username, problem)
        return login_lines(self._options.address, username, password)

    def _await_api(self) -> None:
        complaint = time.monotonic() + _SLOW_SECONDS
        while not responds(self._options.address):
            self._pause()
            if time.monotonic() > complaint:
                say("the API does not respond yet, its own messages are above")
                complaint += _SLOW_SECONDS

    def _restart_with_new_settings(self) -> None:
        command = [sys.executable, "-m", "src.scripts.check_settings"]
        check = subprocess.run(
            command, cwd=self._project, capture_output=True, text=True, check=False, start_new_session=True
        )
        if check.returncode:
            say(f"src/.env has changed, but cannot be used; everything goes on with the old settings.\n{check.stderr}")
            return
        say("src/.env has changed, everything starts again")
        raise RestartRequested

    def _read_env_file(self) -> str:
        file = self._source / ".env"
        return file.read_text(encoding="utf-8") if file.exists() else ""

    def _watch(self) -> Iterator[Changes]:
        if not self._options.reload:
            while True:
                self._pause()
        for changes in watch_changes(self._source):
            self._signals.check()
            self._supervisor.check()
            yield changes
        raise StopRequested

    def _pause(self) -> None:
        """Keeps the programs running meanwhile."""
        self._signals.check()
        self._supervisor.check()
        time.sleep(_PAUSE_SECONDS)

    def _note(self, programs: Sequence[Program]) -> None:
        children = (program for program in programs if isinstance(program, Child))
        self._record.write(self._options.address, [child.pid for child in children if child.pid])
