"""A copy of the project's text files, in which a removal is prepared before anything is changed."""

import shutil
from collections.abc import Iterator
from pathlib import Path

_EVERYWHERE = shutil.ignore_patterns(
    ".git", ".venv*", ".tools", ".local", ".*_cache", ".hypothesis", "__pycache__", "htmlcov", "logs", ".env",
    ".coverage*", "poetry.lock",
)  # fmt: skip
_RESULTS = "benchmarks/results"
_TEXTS = frozenset({".py", ".md", ".toml", ".yml", ".yaml", ".json", ".conf", ".sh", ".example", ".env", ".txt", ""})


def ignored(folder: str, names: list[str]) -> set[str]:
    """What `shutil.copytree` leaves out."""
    return {
        *_EVERYWHERE(folder, names),
        *(name for name in names if Path(folder, name).as_posix().endswith(f"/{_RESULTS}")),
    }


class Staging:
    """The copy; names are paths below the project's folder, with slashes."""

    def __init__(self, project: Path, folder: Path) -> None:
        self.project = project
        self.root = folder / "project"
        shutil.copytree(project, self.root, ignore=ignored, symlinks=True)
        self._copied = set(self.files("**/*"))

    def files(self, *patterns: str) -> Iterator[str]:
        found = {path for pattern in patterns for path in self.root.glob(pattern) if path.is_file()}
        yield from sorted(path.relative_to(self.root).as_posix() for path in found)

    def texts(self) -> Iterator[str]:
        """Every file that a person may have written."""
        yield from (name for name in self.files("**/*") if Path(name).suffix in _TEXTS)

    def read(self, name: str) -> str:
        return (self.root / name).read_text(encoding="utf-8")

    def write(self, name: str, text: str) -> None:
        (self.root / name).write_text(text, encoding="utf-8")

    def delete(self, name: str) -> None:
        (self.root / name).unlink()

    def changes(self) -> tuple[list[str], list[str]]:
        """The files that were written or changed, and those that were deleted."""
        now = set(self.files("**/*"))
        changed = [name for name in sorted(now) if name not in self._copied or self._differs(name)]
        return changed, sorted(self._copied - now)

    def _differs(self, name: str) -> bool:
        return (self.root / name).read_bytes() != (self.project / name).read_bytes()

    def carry_out(self) -> None:
        """Makes the changes in the project, and deletes folders that are empty then."""
        changed, deleted = self.changes()
        for name in changed:
            (self.project / name).parent.mkdir(parents=True, exist_ok=True)
            (self.project / name).write_bytes((self.root / name).read_bytes())
        for name in deleted:
            path = self.project / name
            path.unlink()
            _delete_empty(path.parent)


def _delete_empty(folder: Path) -> None:
    left = [path for path in folder.iterdir() if path.name != "__pycache__"]
    if not left:
        shutil.rmtree(folder)
        _delete_empty(folder.parent)
