"""What PostgreSQL and Valkey have in common as local processes: lock, log, pid file, start, and the ways to end."""

import os
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from signal import SIGCONT, SIGSTOP, Signals
from typing import ClassVar, Self

from dev.local.locks import FileLock
from dev.local.ports import free_port
from dev.local.processes import command_line, descendants, kill_tree, send, wait_until
from dev.local.programs import Account, ServiceError, as_user

_START_SECONDS = 60.0
_STOP_SECONDS = 10.0
_LOG_LIMIT = 5 * 1024 * 1024


@dataclass(frozen=True)
class Launch:
    """How to start a server: its command, the user it runs as (None: ours), what it reads from its standard input."""

    command: Sequence[str]
    account: Account | None = None
    standard_input: bytes = b""


class Server(ABC):
    """A server on 127.0.0.1 whose data, log and lock are in one folder.

    `start` after any end finds the same data at the same port. All failures are `ServiceError`.
    """

    name: ClassVar[str]
    stop_signal: ClassVar[Signals]
    host = "127.0.0.1"

    def __init__(self, data: Path, *, port: int | None, password: str, user: str, options: Sequence[str]) -> None:
        self.data = data.resolve()
        self.port = port or free_port()
        self.user = user
        self.password = password
        self.options = tuple(options)
        self.log = self.data / "server.log"
        self._lock = FileLock(self.data / "lock")
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    @abstractmethod
    def _pid_file(self) -> Path:
        """Where the server itself writes its pid."""

    @abstractmethod
    def _prepare(self) -> Launch:
        """Creates what the first start needs."""

    @abstractmethod
    def _accepts_clients(self) -> bool:
        """Whether clients can connect; may raise `OSError` while they cannot."""

    @property
    def running(self) -> bool:
        """Whether the process exists, paused or not."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The server's main process."""
        if self._process is None:
            raise ServiceError(f"{self.name} is not running.")
        return self._process.pid

    def start(self) -> None:
        """Returns when clients can connect."""
        if self.running:
            return
        try:
            self.recover()
            self._launch(self._prepare())
        except OSError as error:
            self.kill()
            raise ServiceError(f"{self.name} cannot start in {self.data}: {error}.") from error
        except BaseException:
            self.kill()
            raise

    def recover(self) -> None:
        """Locks the folder and ends what a killed owner has left running there, so that its port is free too."""
        self.data.mkdir(parents=True, exist_ok=True)
        if not self._lock.acquire():
            raise ServiceError(f"{self.name} in {self.data} is already in use by process {self._lock.holder()}.")
        self._clear_remains()

    def stop(self) -> None:
        """Stops cleanly, paused or not; does nothing if the server does not run."""
        if self._process:
            self.resume()
            send(self.stop_signal, [self.pid] if self.running else [])
            wait_until(lambda: not self.running, _STOP_SECONDS)
        self.kill()

    def kill(self) -> None:
        """SIGKILL, also for the children, like a power failure; the port is free afterwards."""
        if self._process:
            if self.running:
                kill_tree(self.pid)
            self._process.wait()
            self._process = None
        self._lock.release()

    def pause(self) -> None:
        """Freezes the server: connections stay open and get no response."""
        send(SIGSTOP, [self.pid])
        send(SIGSTOP, descendants(self.pid))

    def resume(self) -> None:
        """Reverts `pause`."""
        send(SIGCONT, [*descendants(self.pid), self.pid])

    def _clear_remains(self) -> None:
        self._process = None
        pid_text = self._pid_file.read_text().partition("\n")[0].strip() if self._pid_file.exists() else ""
        if not pid_text.isdecimal():
            return
        pid = int(pid_text)

        def is_ours() -> bool:
            return f"{self.data}{os.sep}" in command_line(pid)

        if is_ours():
            send(SIGCONT, [*descendants(pid), pid])
            send(self.stop_signal, [pid])
            if not wait_until(lambda: not is_ours(), _STOP_SECONDS):
                kill_tree(pid)
                wait_until(lambda: not is_ours(), _STOP_SECONDS)

    def _launch(self, launch: Launch) -> None:
        too_long = self.log.exists() and self.log.stat().st_size > _LOG_LIMIT
        with self.log.open("wb" if too_long else "ab") as log, tempfile.TemporaryFile() as standard_input:
            standard_input.write(launch.standard_input)
            standard_input.seek(0)
            begin = log.tell()
            self._process = subprocess.Popen(
                launch.command,
                stdin=standard_input,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd="/",
                env={**os.environ, "LC_ALL": "C"},
                start_new_session=True,
                **as_user(launch.account),
            )
        wait_until(lambda: self._is_ready() or not self.running, _START_SECONDS)
        if not (self.running and self._is_ready()):
            end = "\n".join(self.log.read_bytes()[begin:].decode(errors="replace").splitlines()[-10:])
            raise ServiceError(f"{self.name} does not start. The end of its log, {self.log}:\n{end}")

    def _is_ready(self) -> bool:
        try:
            return self._accepts_clients()
        except OSError:
            return False
