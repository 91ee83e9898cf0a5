"""Keeps programs running: starts them in order, restarts what ends, and stops them in reverse order."""

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL, SIGTERM
from typing import IO, Protocol

from dev.local.processes import send, wait_until
from dev.local.programs import ServiceError

_STOP_SECONDS = 10.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 15.0
_STABLE_SECONDS = 30.0


class Program(Protocol):
    """What can be supervised: a `Child`, or a local server."""

    @property
    def name(self) -> str: ...
    @property
    def running(self) -> bool: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...


class Child:
    """A program in its own process group, which Ctrl-C in the terminal does not reach; `log` takes its output."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        log: Path | None = None,
    ) -> None:
        self.name = name
        self._command = command
        self._folder = folder
        self._environment = environment
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """The group's leader, running or not; None before the first start."""
        return self._process.pid if self._process else None

    @property
    def exit_status(self) -> int | None:
        """Negative for a signal, None while the program runs."""
        return self._process.poll() if self._process else None

    def start(self) -> None:
        """Starts a new process; what an earlier one has left of its group is killed before."""
        self._kill_rest()
        with self._log.open("ab") if self._log else nullcontext() as output:
            self._process = self._launch(output)

    def stop(self) -> None:
        """SIGTERM, and SIGKILL for the whole group when that is not enough."""
        if self._process and self.running:
            send(SIGTERM, [self._process.pid])
            wait_until(lambda: not self.running, _STOP_SECONDS)
        self._kill_rest()

    def _launch(self, output: IO[bytes] | None) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=self._folder,
            env=self._environment,
            start_new_session=True,
        )

    def _kill_rest(self) -> None:
        if self._process:
            with suppress(ProcessLookupError, PermissionError):  # none is left; macOS reports the second for a zombie
                os.killpg(self._process.pid, SIGKILL)
            self._process.wait()


class ForegroundChild(Child):
    """A program that has the terminal, for a debugger; Ctrl-C reaches it together with the run itself."""

    def _launch(self, output: IO[bytes] | None) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self._command, stdout=output, stderr=output, cwd=self._folder, env=self._environment)

    def _kill_rest(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()


@dataclass
class _Watched:
    program: Program
    started: float
    pause: float = _FIRST_PAUSE
    restart: float | None = None


class Supervisor:
    """Owns the programs of a run; `on_start` is called after each start, `say` gets one line for each event."""

    def __init__(
        self,
        say: Callable[[str], None],
        on_start: Callable[[Sequence[Program]], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._say = say
        self._on_start = on_start
        self._clock = clock
        self._watched: list[_Watched] = []

    def start(self, program: Program) -> None:
        """Starts a program and keeps it running from now on."""
        watched = _Watched(program, started=0)
        self._watched.append(watched)
        self._start(watched)

    def reload(self, program: Program) -> None:
        """Stops the program and starts it at once, for code that has changed."""
        watched = next(watched for watched in self._watched if watched.program is program)
        program.stop()
        watched.pause = _FIRST_PAUSE
        self._start(watched)

    def check(self) -> None:
        """To be called often: restarts what has ended, after a pause that doubles while it ends quickly."""
        now = self._clock()
        for watched in self._watched:
            if watched.restart is None and not watched.program.running:
                self._plan_restart(watched, now)
            if watched.restart is not None and now >= watched.restart:
                self._start_or_plan(watched)

    def stop(self) -> None:
        """Stops everything, the last program first."""
        for watched in reversed(self._watched):
            watched.program.stop()

    def _plan_restart(self, watched: _Watched, now: float, reason: str = "has ended") -> None:
        if now - watched.started > _STABLE_SECONDS:
            watched.pause = _FIRST_PAUSE
        watched.restart = now + watched.pause
        self._say(f"{watched.program.name} {reason}, next start in {watched.pause:g} s")
        watched.pause = min(2 * watched.pause, _LONGEST_PAUSE)

    def _start_or_plan(self, watched: _Watched) -> None:
        try:
            self._start(watched)
        except (ServiceError, OSError) as error:
            self._say(str(error))
            self._plan_restart(watched, self._clock(), "did not start")

    def _start(self, watched: _Watched) -> None:
        watched.restart = None
        watched.started = self._clock()
        watched.program.start()
        self._on_start([watched.program for watched in self._watched])
