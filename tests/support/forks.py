"""`python -m MODULE` and `python -c CODE` in a fraction of the time: forks of a process that has imported `preload`.

Each fork reads its settings anew. In a copy of the project it imports that copy's modules.
Forks are for programs that a test uses; a test of the start itself starts a real process.
"""

import os
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from tests.support.readme import ROOT

_PROJECT = {ROOT, ROOT / "src"}
_CONTEXT = get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.support.preload"])


class Fork:
    """A running Python with the methods of a `Popen`; it leads a process group of its own."""

    def __init__(
        self, arguments: Sequence[str], log: Path, environment: Mapping[str, str], folder: Path = ROOT
    ) -> None:
        self._process: ForkServerProcess = _CONTEXT.Process(
            target=_run, args=(tuple(arguments), log, dict(environment), folder), daemon=True
        )
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("python", timeout or 0)
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):  # it has ended, which the fork server has not said yet
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _run(arguments: Sequence[str], log: Path, environment: Mapping[str, str], folder: Path) -> None:
    """In the fork: becomes what a new interpreter would be, as far as programs can see."""
    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(output, 1)
    os.dup2(output, 2)
    added = [str(folder), *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
    packages = [entry for entry in sys.path if entry and Path(entry) not in _PROJECT]
    sys.path[:] = [*(str(Path(entry).resolve()) for entry in added), *packages]
    if set(map(Path, sys.path[: len(added)])) <= _PROJECT and environment.get("ENV_FILE") == os.devnull:
        _read_settings()
    else:
        _forget_project()
    option, program, *rest = arguments
    sys.argv[:] = [option, *rest]
    if option == "-c":
        exec(program, {"__name__": "__main__"})  # noqa: S102 - as the interpreter does
    else:
        runpy.run_module(program, run_name="__main__", alter_sys=True)


def _read_settings() -> None:
    config = sys.modules["app.core.config"]
    config.settings = config.load(config.Settings)  # type: ignore[attr-defined] # the last statement of the module


def _forget_project() -> None:
    for name in [name for name in sys.modules if name.split(".")[0] in {"app", "src", "dev", "tests"}]:
        del sys.modules[name]


def start_python(
    arguments: Sequence[str], log: Path, environment: Mapping[str, str], folder: Path = ROOT
) -> "Fork | subprocess.Popen[bytes]":
    """`python` with both outputs in the log; a new interpreter where coverage is measured, as a fork has none.

    The first of the arguments is `-m` or `-c`.
    """
    if "COVERAGE_PROCESS_START" not in environment and "COVERAGE_PROCESS_CONFIG" not in environment:
        return Fork(arguments, log, environment, folder)
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, *arguments],
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def run_python(
    *arguments: str, environment: Mapping[str, str], folder: Path = ROOT, seconds: float = 60
) -> tuple[int, str]:
    """The exit status of `python …` and everything printed."""
    with tempfile.NamedTemporaryFile() as log:
        status = start_python(arguments, Path(log.name), environment, folder).wait(seconds)
        return status, Path(log.name).read_text(encoding="utf-8", errors="replace")
