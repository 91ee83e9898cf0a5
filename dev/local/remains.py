"""The servers whose data are in `.local`, whichever run has started them."""

from pathlib import Path

from dev.services import PostgresServer, Server, ValkeyServer


def find_servers(local: Path) -> list[Server]:
    """One server for each data folder, not started."""
    found: list[Server] = [PostgresServer(local / "postgres", password="")] if (local / "postgres").exists() else []
    return found + [ValkeyServer(folder) for folder in sorted(local.glob("valkey*")) if folder.is_dir()]


def end_servers(local: Path) -> None:
    """Ends what a killed run has left running; raises `ServiceError` if another process uses the data."""
    for server in find_servers(local):
        server.recover()
        server.stop()
