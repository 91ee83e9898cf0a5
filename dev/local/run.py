"""One local run: the programs in their order, the welcome, and the restarts when code changes."""

import asyncio
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from http.client import HTTPConnection, HTTPException
from importlib import import_module
from pathlib import Path
from urllib.parse import urlsplit

from watchfiles import PythonFilter, watch

from dev.local.database import prepare_database
from dev.local.environment import LocalSettings, child_environment, make_env_file
from dev.local.record import RunRecord
from dev.local.screen import say, welcome
from dev.local.servers import local_postgres, local_valkey
from dev.local.signals import StopRequested, StopSignals
from dev.local.supervisor import Child, Program, Supervisor
from dev.services import ServiceError

_LOOK_MILLISECONDS = 100
_SLOW_SECONDS = 30.0


class LocalRun:
    """Everything that is started is ended by the stack, the last program first."""

    def __init__(self, project: Path, base: str, record: RunRecord, signals: StopSignals, stack: ExitStack) -> None:
        self._project = project
        self._local = project / ".local"
        self._base = base
        self._record = record
        self._signals = signals
        self._stack = stack
        self._supervisor = Supervisor(say, self._note)
        stack.callback(self._supervisor.stop)

    def run(self, host: str, port: int, reload: bool) -> None:
        """Does not return: `StopRequested` ends it, or a `ServiceError` when the start fails."""
        if make_env_file(self._project / "src"):
            say("made src/.env from src/.env.example, with a SECRET_KEY of its own")
        settings = self._load_settings()
        environment = self._start_servers(settings)
        api = ["src.app.main:app", "--host", host, "--port", str(port), "--timeout-graceful-shutdown", "5"]
        api += ["--reload", "--reload-dir", "src"] if reload else []
        self._supervisor.start(self._child("the API", environment, "uvicorn", *api))
        self._create_first_rows(environment)
        self._await_api()
        worker = self._child("the worker", environment, "arq", "src.app.core.worker.settings.WorkerSettings")
        self._supervisor.start(worker)
        print(welcome(self._base, settings, self._local), flush=True)
        for code_has_changed in self._looks(reload):
            if code_has_changed:
                say("the code has changed, the worker starts again")
                self._supervisor.reload(worker)

    def _load_settings(self) -> LocalSettings:
        # Not sooner: loading the module reads the file that `make_env_file` makes.
        settings: LocalSettings = import_module("src.app.core.config").settings
        return settings

    def _start_servers(self, settings: LocalSettings) -> Mapping[str, str]:
        postgres = local_postgres(settings, self._local, say)
        valkey = local_valkey(settings, self._local, say)
        for server in (postgres, valkey):
            self._signals.check()
            self._supervisor.start(server)
        role = (settings.POSTGRES_USER, settings.POSTGRES_PASSWORD)
        asyncio.run(prepare_database(postgres, *role, settings.POSTGRES_DB))
        self._signals.check()
        return child_environment(settings, postgres, valkey)

    def _create_first_rows(self, environment: Mapping[str, str]) -> None:
        scripts = self._child("first rows", environment, "dev.local.create_first_rows")
        self._stack.callback(scripts.stop)
        scripts.start()
        for _ in self._looks(reload=False):
            if not scripts.running:
                break
        if scripts.exit_status:
            raise ServiceError("the first superuser and the first tier could not be created, the reason is above")

    def _await_api(self) -> None:
        complaint = time.monotonic() + _SLOW_SECONDS
        for _ in self._looks(reload=False):
            if self._answers():
                break
            if time.monotonic() > complaint:
                say("the API does not answer yet, its own messages are above")
                complaint += _SLOW_SECONDS

    def _answers(self) -> bool:
        connection = HTTPConnection(urlsplit(self._base).netloc, timeout=1)
        try:
            connection.request("GET", "/api/v1/health")
            return connection.getresponse().status < 500
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()

    def _looks(self, reload: bool) -> Iterator[bool]:
        """Ten times a second, whether Python files have changed; keeps the programs running meanwhile."""
        for code_has_changed in self._changes() if reload else self._pauses():
            self._signals.check()
            self._supervisor.check()
            yield code_has_changed

    def _changes(self) -> Iterator[bool]:
        folder = self._project / "src"
        for changes in watch(
            folder,
            watch_filter=PythonFilter(),
            rust_timeout=_LOOK_MILLISECONDS,
            yield_on_timeout=True,
            raise_interrupt=False,
        ):
            yield bool(changes)
        raise StopRequested

    def _pauses(self) -> Iterator[bool]:
        while True:
            yield False
            time.sleep(_LOOK_MILLISECONDS / 1000)

    def _child(self, name: str, environment: Mapping[str, str], module: str, *arguments: str) -> Child:
        return Child(name, [sys.executable, "-m", module, *arguments], self._project, environment)

    def _note(self, programs: Sequence[Program]) -> None:
        children = (program for program in programs if isinstance(program, Child))
        self._record.write(self._base, [child.pid for child in children if child.pid])
