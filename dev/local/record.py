"""Which programs a local run has started, so that the next one can end what a killed run left behind."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from signal import SIGKILL, SIGTERM
from typing import Any

from dev.local.processes import Process, command_line, living, send, wait_until

_END_SECONDS = 10.0


@dataclass(frozen=True)
class Leader:
    """The first process of a group; the group may still run when its leader has ended."""

    pid: int
    started: str


class RunRecord:
    """The file with the address and the programs of a run."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, address: str, pids: Sequence[int]) -> None:
        """Replaces the file; the pids are those of group leaders."""
        running = living()
        leaders = [asdict(Leader(pid, running[pid].started)) for pid in pids if pid in running]
        unfinished = self._path.with_suffix(".new")
        notes = {"address": address, "python": sys.executable, "leaders": leaders}
        unfinished.write_text(json.dumps(notes, indent=2), encoding="utf-8")
        unfinished.replace(self._path)

    def address(self) -> str:
        """Where the API of the run is; empty if that is not known."""
        return str(self._read().get("address", ""))

    def end_remains(self) -> bool:
        """Ends the programs of a run that was killed; whether there were any."""
        notes = self._read()
        leaders = [Leader(int(leader["pid"]), str(leader["started"])) for leader in notes.get("leaders", ())]

        def remains() -> list[int]:
            return _members(leaders, str(notes["python"]))

        found = bool(leaders) and bool(remains())
        if found:
            send(SIGTERM, remains())
            if not wait_until(lambda: not remains(), _END_SECONDS):
                send(SIGKILL, remains())
                wait_until(lambda: not remains(), _END_SECONDS)
        return found

    def remove(self) -> None:
        """At the end of a run: there is nothing left to end."""
        self._path.unlink(missing_ok=True)

    def _read(self) -> dict[str, Any]:
        try:
            notes = json.loads(self._path.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return {}
        return notes if isinstance(notes, dict) else {}


def _members(leaders: Sequence[Leader], python: str) -> list[int]:
    """The running processes of the groups; not those of a process that has got the same number since."""
    processes = living()
    groups = {leader.pid for leader in leaders if _is_same_or_ended(leader, processes.get(leader.pid))}
    # A program in the foreground belongs to the group of the run.
    members = [process.pid for process in processes.values() if groups & {process.group, process.pid}]
    return [pid for pid in members if python in command_line(pid)]


def _is_same_or_ended(leader: Leader, process: Process | None) -> bool:
    return process is None or process.started == leader.started
