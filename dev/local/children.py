"""The programs of a run that are written in Python: the API, the worker, and the scripts for the first rows."""

import sys
from pathlib import Path

from dev.local.environment import child_environment
from dev.local.options import Options
from dev.local.supervisor import Child, ForegroundChild

LOG_CONFIG = "src/app/core/uvicorn_logging.json"
HTTP_PROTOCOL = "src.app.core.http_protocol:CoalescingProtocol"
"""As in production, where gunicorn's workers have it."""
WORKER_LOG_CONFIG = "src.app.core.log_formats.WORKER_LOGGING"
OTHER_PASSWORD = 3
"""The exit status of the first rows if the superuser has another password than ADMIN_PASSWORD."""


class Children:
    """Makes the programs; with `options.debug` one of them has the terminal, and the other one writes to a file."""

    def __init__(self, project: Path, options: Options) -> None:
        self._project = project
        self._options = options

    def api(self) -> Child:
        options = self._options
        arguments = ["src.app.main:app", "--host", options.host, "--port", str(options.port)]
        arguments += ["--timeout-graceful-shutdown", "5", "--log-config", LOG_CONFIG, "--http", HTTP_PROTOCOL]
        arguments += ["--reload", "--reload-dir", "src"] if options.reload else []
        return self._child("the API", "api", "uvicorn", *arguments)

    def worker(self) -> Child:
        arguments = ["src.app.core.worker.settings.WorkerSettings", "--custom-log-dict", WORKER_LOG_CONFIG]
        return self._child("the worker", "worker", "arq", *arguments)

    def first_rows(self) -> Child:
        """Applies the migrations and creates the first rows; ends then."""
        command = [sys.executable, "-m", "dev.local.create_first_rows"]
        return Child("first rows", command, self._project, child_environment({}))

    def _child(self, name: str, short_name: str, module: str, *arguments: str) -> Child:
        command = [sys.executable, "-m", module, *arguments]
        # The start has applied the migrations; a reload must not apply one that nobody has read yet.
        variables = {"CREATE_TABLES_ON_START": "false"}
        if self._options.debug == short_name:
            return ForegroundChild(name, command, self._project, child_environment(variables))
        variables |= {"PYTHONBREAKPOINT": "dev.local.breakpoints.explain"}
        log = self._project / ".local" / f"{short_name}.log" if self._options.debug else None
        return Child(name, command, self._project, child_environment(variables), log)
