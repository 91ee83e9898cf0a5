"""Merges the template's current commit into the product, and resolves the conflicts."""

import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dev.rehearsal.edits import EDITS, LOCK
from dev.rehearsal.product import ROOT, RehearsalError, commit_all, git, run
from dev.upgrade import upgrade

MAX_CONFLICTS = 5
"""Files with conflicts among those that were edited by hand; the lock counts too."""
_CONFLICTING_FILE = re.compile(r"(?m)^CONFLICT ")


@dataclass(frozen=True, slots=True)
class Conflicts:
    """The files with conflicts."""

    edited: Sequence[str]
    """Those that were edited by hand, and the lock."""
    others: Sequence[str]
    plain_merge: int
    """How many conflicts `git merge` has without `dev.upgrade`."""

    def check(self) -> None:
        """Raises `RehearsalError` if there are too many."""
        if self.others:
            raise RehearsalError(f"conflicts in files that nobody edited by hand: {', '.join(self.others)}")
        if len(self.edited) > MAX_CONFLICTS:
            raise RehearsalError(f"more than {MAX_CONFLICTS} files with conflicts: {', '.join(self.edited)}")

    def __str__(self) -> str:
        names = f" ({', '.join(self.edited)})" if self.edited else ""
        return (
            f"{len(self.edited) + len(self.others)} files with conflicts, {len(self.others)} of them not edited by hand"
            f"{names}; {self.plain_merge} with `git merge` alone"
        )


def _plain_merge(project: Path, commit: str) -> int:
    try:
        git(project, "merge", "--no-commit", "--no-ff", commit)
        output = ""
    except RehearsalError as error:
        output = str(error)
    git(project, "reset", "--quiet", "--hard")
    return len(_CONFLICTING_FILE.findall(output))


def merge(project: Path, tools: Path | None) -> Conflicts:
    """Leaves the merge in the work tree, with its conflicts."""
    commit = git(ROOT, "rev-parse", "HEAD")
    plain = _plain_merge(project, commit)
    files = upgrade(project, commit, tools)
    edited = [name for name in files if name in EDITS or name == LOCK]
    return Conflicts(edited, [name for name in files if name not in edited], plain)


def resolve(project: Path, conflicts: Conflicts) -> None:
    """Takes the template's file and makes the product's edit again; of the lock, takes the template's."""
    for name in conflicts.edited:
        git(project, "checkout", "--theirs", "--", name)
        if name in EDITS:
            file = project / name
            file.write_text(EDITS[name](file.read_text(encoding="utf-8")), encoding="utf-8")
    commit_all(project, "Merge the template")


def join_migrations(project: Path) -> int:
    """Makes one newest migration of several, as docs/upgrading.md says; returns how many there were."""
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # alembic.ini calls ruff

    def alembic(*arguments: str) -> str:
        command = [sys.executable, "-m", "alembic", *arguments]
        return run(project / "src", *command, environment={**os.environ, "PATH": programs})

    heads = len(alembic("heads").splitlines())
    if heads > 1:
        alembic("merge", "heads", "--message", "merge the template")
        commit_all(project, "Join the migrations")
    return heads
