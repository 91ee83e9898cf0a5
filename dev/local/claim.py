"""Makes a run the only one of its checkout."""

import os
from contextlib import ExitStack
from pathlib import Path

from dev.local.locks import FileLock
from dev.local.ports import free_port, is_free
from dev.local.programs import ServiceError
from dev.local.record import RunRecord
from dev.local.screen import say


class AlreadyRunningError(ServiceError):
    """Another run of this checkout holds the lock."""


def claim(local: Path, stack: ExitStack) -> RunRecord:
    """Takes the checkout's lock and ends what a killed run has left running."""
    local.mkdir(exist_ok=True)
    if os.geteuid() == 0:
        local.chmod(0o755)  # root's PostgreSQL runs as another user
    lock = FileLock(local / "run.lock")
    record = RunRecord(local / "run.json")
    if not lock.acquire():
        pid, where = lock.holder(), record.address()
        raise AlreadyRunningError(f"already running as process {pid}{where and f' at {where}'}; `kill {pid}` stops it")
    stack.callback(lock.release)
    if record.end_remains():
        say("ended what a killed run had left running")
    stack.callback(record.remove)
    return record


def check_port(host: str, port: int) -> None:
    """Raises `ServiceError` if the API cannot listen there."""
    try:
        if is_free(port, host):
            return
    except OSError as error:
        raise ServiceError(f"the API cannot listen on {host}, port {port}: {error.strerror}") from None
    other = next((other for other in range(port + 1, min(port + 100, 65536)) if is_free(other, host)), free_port())
    raise ServiceError(f"port {port} is taken, another one is free: `make run PORT={other}`")
