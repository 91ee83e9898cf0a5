"""PostgreSQL and Valkey without an installation, for the local runner and the tests.

Both listen on 127.0.0.1 only and keep data, log and lock in one folder each:

    with temporary_folder() as folder, PostgresServer(folder / "postgres", password="secret") as postgres:
        connect(postgres.host, postgres.port, postgres.user, postgres.password)
"""

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from signal import SIGINT, SIGTERM

from dev.local.programs import (
    Account,
    ServiceError,
    postgres_programs,
    run_as,
    unprivileged_account,
    valkey_program,
)
from dev.local.server import Launch, Server

__all__ = [
    "POSTGRES_FAST",
    "VALKEY_DURABLE",
    "PostgresServer",
    "Server",
    "ServiceError",
    "ValkeyServer",
    "server_variables",
    "temporary_folder",
]

POSTGRES_FAST = ("-c", "fsync=off", "-c", "full_page_writes=off")
"""For tests: rows survive a killed server, but not a crash of the machine."""
VALKEY_DURABLE = ("--appendonly", "yes", "--appendfsync", "everysec")
"""Without it Valkey keeps nothing when it ends."""


def _quoted(value: str) -> str:
    """A word of Valkey's configuration language, whatever its characters."""
    return '"' + "".join(f"\\x{byte:02x}" for byte in value.encode()) + '"'


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A short-lived folder for servers.

    Root's PostgreSQL runs as another user, who cannot reach pytest's `tmp_path`.
    """
    folder = Path(tempfile.mkdtemp(prefix="services-"))
    try:
        folder.chmod(0o755)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class PostgresServer(Server):
    """PostgreSQL with `user` as superuser; every connection needs a password, also on 127.0.0.1.

    Started by root it runs as the owner of its cluster, at first `nobody`, who must be able to reach the data folder.
    """

    name = "PostgreSQL"
    stop_signal = SIGINT  # "fast": ends the sessions, then writes a checkpoint

    def __init__(
        self,
        data: Path,
        *,
        port: int | None = None,
        password: str,
        user: str = "postgres",
        options: Sequence[str] = (),
    ) -> None:
        super().__init__(data, port=port, password=password, user=user, options=options)
        self._cluster = self.data / "cluster"

    def _prepare(self) -> Launch:
        account = unprivileged_account(self._cluster)
        if account:
            self.data.chmod(0o755)
            if not account.can("x", self.data):
                raise ServiceError(
                    f"PostgreSQL runs as the user {account.name} instead of root, who cannot reach {self.data}: "
                    "move the project out of private folders, or start as another user."
                )
        programs = postgres_programs(account, self.data)
        if not self._cluster.exists():
            self._initialise(programs, account)
        self._pid_file.unlink(missing_ok=True)  # its process has ended, but the pid may be in use again
        settings = {"listen_addresses": self.host, "port": self.port, "unix_socket_directories": "", "timezone": "UTC"}
        arguments = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return Launch([str(programs / "postgres"), "-D", str(self._cluster), *arguments, *self.options], account)

    def _initialise(self, programs: Path, account: Account | None) -> None:
        unfinished = self.data / "cluster.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        password_file = self.data / "password.new"
        password_file.touch(mode=0o600)
        password_file.write_text(self.password, encoding="utf-8")
        if account:
            for path in (unfinished, password_file):
                os.chown(path, account.uid, account.gid)
        command = [str(programs / "initdb"), "-D", str(unfinished), "-U", self.user, "--encoding=UTF8", "--locale=C"]
        command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--auth=scram-sha-256", "--no-sync"]
        result = run_as(account, [*command, f"--pwfile={password_file}"])
        password_file.unlink()
        if result.returncode:
            raise ServiceError(f"The database folder {self._cluster} cannot be created.\n{result.stdout}")
        unfinished.rename(self._cluster)

    @property
    def _pid_file(self) -> Path:
        return self._cluster / "postmaster.pid"

    def _accepts_clients(self) -> bool:
        # `pg_ctl` waits in the same way: the eighth line is the state.
        lines = self._pid_file.read_text().splitlines() if self._pid_file.exists() else []
        return len(lines) >= 8 and lines[0] == str(self.pid) and lines[7].strip() == "ready"


class ValkeyServer(Server):
    """Valkey, which speaks Redis's protocol; in memory only unless `VALKEY_DURABLE` is among the options."""

    name = "Valkey"
    stop_signal = SIGTERM

    def __init__(self, data: Path, *, port: int | None = None, password: str = "", options: Sequence[str] = ()) -> None:
        super().__init__(data, port=port, password=password, user="default", options=options)

    @property
    def _pid_file(self) -> Path:
        return self.data / "server.pid"

    def _prepare(self) -> Launch:
        settings = {"bind": self.host, "dir": str(self.data), "save": ""}
        settings |= {"requirepass": self.password} if self.password else {}
        # By standard input: other users can read arguments.
        lines = [f"{name} {_quoted(value)}" for name, value in settings.items()]
        command = [
            str(valkey_program()),
            "-",
            "--port",
            str(self.port),
            "--pidfile",
            str(self._pid_file),
            "--set-proc-title",
            "no",
            *self.options,
        ]
        return Launch(command, standard_input="\n".join(lines).encode())

    def _accepts_clients(self) -> bool:
        if self._pid_file.read_text().strip() != str(self.pid):
            return False
        with (
            socket.create_connection((self.host, self.port), timeout=1) as connection,
            connection.makefile("rwb") as stream,
        ):
            if self.password:
                password = self.password.encode()
                stream.write(b"*2\r\n$4\r\nAUTH\r\n$%d\r\n%b\r\n" % (len(password), password))
            stream.write(b"PING\r\n")
            stream.flush()
            return (not self.password or stream.readline() == b"+OK\r\n") and stream.readline() == b"+PONG\r\n"


def server_variables(postgres: Server, valkey: Server) -> dict[str, str]:
    """The environment variables with which an application uses these servers, the Valkey for all three purposes."""
    variables = {
        "POSTGRES_SERVER": postgres.host,
        "POSTGRES_PORT": str(postgres.port),
        "POSTGRES_USER": postgres.user,
        "POSTGRES_PASSWORD": postgres.password,
    }
    for part in ["CACHE", "QUEUE", "RATE_LIMIT"]:
        variables |= {
            f"REDIS_{part}_HOST": valkey.host,
            f"REDIS_{part}_PORT": str(valkey.port),
            f"REDIS_{part}_PASSWORD": valkey.password,
        }
    return variables
