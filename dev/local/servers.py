"""The PostgreSQL and the Valkey of this checkout, at the ports of the settings if those are free."""

import secrets
import tempfile
from collections.abc import Callable
from pathlib import Path

from dev.local.database import ADMINISTRATOR
from dev.local.environment import LocalSettings, redis_setting
from dev.local.ports import free_port, is_free
from dev.local.programs import unprivileged_account
from dev.services import VALKEY_DURABLE, PostgresServer, Server, ServiceError, ValkeyServer

_SHARED_STATE = Path("/var/lib/fastapi-boilerplate")
"""For root only: where another user can reach data that do not belong to that user's own project."""

Say = Callable[[str], None]


def local_postgres(settings: LocalSettings, local: Path, say: Say) -> PostgresServer:
    """Not yet started. Its superuser is ours, so that the application's role can follow `src/.env`."""
    data = _reachable_folder(local / "postgres", say)
    password = _kept_password(data)
    server = PostgresServer(data, port=settings.POSTGRES_PORT, user=ADMINISTRATOR, password=password)
    _settle_port(server, say)
    return server


def local_valkey(settings: LocalSettings, local: Path, say: Say) -> ValkeyServer:
    """Not yet started. One server for cache, queue and rate limits, which keeps the queue."""
    port = int(redis_setting(settings, "PORT") or 6379)
    password = redis_setting(settings, "PASSWORD")
    server = ValkeyServer(local / "valkey", port=port, password=password, options=VALKEY_DURABLE)
    _settle_port(server, say)
    return server


def _settle_port(server: Server, say: Say) -> None:
    server.recover()
    wanted = server.port
    if not is_free(wanted):
        server.port = free_port()
        say(f"port {wanted} is taken, {server.name} listens on {server.port}")


def _kept_password(data: Path) -> str:
    file = data / "administrator-password"
    if not file.exists():
        if (data / "cluster").exists():
            raise ServiceError(f"{file} is gone: `make clean` removes the local data, then start again.")
        file.touch(mode=0o600)
        file.write_text(secrets.token_urlsafe(32), encoding="utf-8")
    return file.read_text(encoding="utf-8")


def _reachable_folder(folder: Path, say: Say) -> Path:
    """The folder, or one that it links to if root's PostgreSQL, which runs as somebody else, cannot come here."""
    if folder.is_symlink() and not folder.exists():
        folder.unlink()
    folder.mkdir(exist_ok=True)
    data = folder.resolve()
    account = unprivileged_account(data / "cluster")
    if account is None:
        return data
    data.chmod(0o755)
    if account.can("x", data):
        return data
    _SHARED_STATE.mkdir(parents=True, exist_ok=True)
    elsewhere = Path(tempfile.mkdtemp(dir=_SHARED_STATE))
    elsewhere.chmod(0o755)
    folder.rmdir()
    folder.symlink_to(elsewhere)
    say(f"PostgreSQL runs as the user {account.name}, who cannot come here: its data are in {elsewhere}")
    return elsewhere
