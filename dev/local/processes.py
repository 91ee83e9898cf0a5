"""The processes of this machine, from `/proc` or else from `ps`, so that slim systems need no further tools."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_BOOT_ID = _PROC / "sys/kernel/random/boot_id"


@dataclass(frozen=True)
class Process:
    """One running process; `pid` and `started` together are unique, `pid` alone may be used again."""

    pid: int
    parent: int
    group: int
    started: str


def living() -> dict[int, Process]:
    """All processes by pid, without zombies."""
    found = _from_proc() if _BOOT_ID.exists() else _from_ps()
    return {process.pid: process for process in found}


def _from_proc() -> list[Process]:
    boot = _BOOT_ID.read_text().strip()
    processes = []
    for folder in _PROC.iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            # The name may hold spaces and brackets, what follows it is plain.
            state, parent, group, *rest = (folder / "stat").read_bytes().rpartition(b")")[2].split()
        except OSError:
            continue
        if state not in (b"Z", b"X"):
            processes.append(Process(int(folder.name), int(parent), int(group), f"{boot} {rest[16].decode()}"))
    return processes


def _from_ps() -> list[Process]:
    command = ["ps", "-A", "-o", "pid=,ppid=,pgid=,stat=,lstart="]
    lines = subprocess.run(command, capture_output=True, text=True, check=True, env={"LC_ALL": "C"}).stdout.splitlines()
    rows = (line.split(maxsplit=4) for line in lines)
    return [Process(int(pid), int(up), int(group), at) for pid, up, group, state, at in rows if "Z" not in state]


def command_line(pid: int) -> str:
    """The process's program and arguments; empty if there is no such process or it is a zombie."""
    try:
        if _BOOT_ID.exists():
            return os.fsdecode((_PROC / str(pid) / "cmdline").read_bytes()).replace("\0", " ")
    except OSError:
        return ""
    return subprocess.run(["ps", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout


def descendants(pid: int) -> list[int]:
    """Children, their children and so on, without the process itself."""
    processes = living().values()
    found = [pid]
    for parent in found:
        found += [process.pid for process in processes if process.parent == parent]
    return found[1:]


def send(signal_number: int, pids: Iterable[int]) -> None:
    """Signals every process that still exists."""
    for pid in pids:
        try:
            os.kill(pid, signal_number)
        except ProcessLookupError:
            continue


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether the condition became true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def kill_tree(pid: int) -> None:
    """SIGKILL for a process and all its descendants; returns when the descendants have ended."""
    send(signal.SIGSTOP, [pid])  # a parent that sleeps starts no further children
    children = descendants(pid)
    send(signal.SIGKILL, [pid, *children])
    wait_until(lambda: living().keys().isdisjoint(children), seconds=5)
