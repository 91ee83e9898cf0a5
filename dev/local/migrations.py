"""Which migrations a start has applied, so that a reload applies none and the run can say which ones wait."""

import json
from pathlib import Path

HOW_TO_APPLY = "Apply with `cd src && ../.venv/bin/alembic upgrade head`, or stop and start the run."


class Migrations:
    """The migration files of the project, and the names of those that the last start has applied.

    The record is next to the server's data, so that it is deleted with them; a given server has no record.
    """

    def __init__(self, versions: Path, data: Path | None, database: str) -> None:
        self._versions = versions
        self._record = data / "applied-migrations.json" if data else None
        self._database = database
        self._at_start = self._find_names()

    def is_database_current(self) -> bool:
        """Whether an earlier start has applied every file."""
        if self._record is None or not self._record.exists():
            return False
        return bool(json.loads(self._record.read_text(encoding="utf-8")) == self._content())

    def note_applied(self) -> None:
        """Records that everything has been applied that was there at the start of this run."""
        if self._record is not None:
            self._record.write_text(json.dumps(self._content()), encoding="utf-8")

    def find_waiting(self) -> list[str]:
        """The files that have been added since the start of this run."""
        return sorted(self._find_names() - self._at_start)

    def _content(self) -> dict[str, list[str]]:
        return {self._database: sorted(self._at_start)}

    def _find_names(self) -> frozenset[str]:
        return frozenset(path.name for path in self._versions.glob("*.py") if path.name != "__init__.py")
