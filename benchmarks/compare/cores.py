"""Which core does what: the web server has one to itself, everything else shares the others."""

import os
from collections.abc import Collection
from dataclasses import dataclass

from dev.local.processes import descendants


@dataclass(frozen=True, slots=True)
class Cores:
    """Empty sets where the system cannot pin processes, or has one core only."""

    server: frozenset[int]
    others: frozenset[int]

    @property
    def description(self) -> str:
        if not self.server:
            return "one core for everything" if (os.cpu_count() or 1) == 1 else "processes not pinned to cores"
        return "the web server alone on one core, load generator, PostgreSQL and Valkey on the others"


def split_cores() -> Cores:
    available = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(available) < 2:
        return Cores(frozenset(), frozenset())
    return Cores(frozenset(available[:1]), frozenset(available[1:]))


def pin(pid: int, cores: Collection[int]) -> None:
    """Moves a process with its children, and all that they start later; does nothing without cores."""
    for process in (pid, *descendants(pid)) if cores else ():
        os.sched_setaffinity(process, cores)


def cpu_seconds(pid: int) -> float | None:
    """CPU time of a process and its threads; None where there is no /proc."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - as short as it gets
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
