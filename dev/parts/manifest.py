"""What belongs to each part, as the files in `manifest` say."""

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from dev.parts.edits import FileEdits

FOLDER = Path(__file__).with_name("manifest")


class UnknownPartError(ValueError):
    """There is no such part; the text names those that exist."""


@dataclass(frozen=True, slots=True)
class Part:
    """A feature that can be removed.

    `files` are paths or patterns. `requires` are parts that cannot stay without this one. `decorators` are taken off
    every endpoint, those of your own entities included. A test that matches `uses` is a test of the part. Nothing that
    is left may match `words`, except lines that match `allowed`.
    """

    name: str
    about: str
    files: tuple[str, ...]
    requires: tuple[str, ...]
    decorators: tuple[str, ...]
    uses: re.Pattern[str] | None
    words: re.Pattern[str] | None
    allowed: re.Pattern[str] | None
    hints: tuple[str, ...]
    edits: Mapping[str, FileEdits]
    migration: Path | None

    def is_present(self, root: Path) -> bool:
        return any(path.is_file() for pattern in self.files for path in root.glob(pattern))


def _pattern(expressions: Iterable[str]) -> re.Pattern[str] | None:
    joined = "|".join(expressions)
    return re.compile(joined, re.MULTILINE) if joined else None


def _read(path: Path) -> Part:
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    migration = path.with_name(f"{path.stem}_migration.py.txt")
    return Part(
        name=path.stem,
        about=content["about"],
        files=tuple(content["files"]),
        requires=tuple(content.get("requires", ())),
        decorators=tuple(content.get("decorators", ())),
        uses=_pattern(content.get("uses", ())),
        words=_pattern(content.get("words", ())),
        allowed=_pattern(content.get("allowed", ())),
        hints=tuple(content.get("hints", ())),
        edits={name: FileEdits.of(values) for name, values in content.get("edits", {}).items()},
        migration=migration if migration.exists() else None,
    )


def read_parts() -> dict[str, Part]:
    return {path.stem: _read(path) for path in sorted(FOLDER.glob("*.toml"))}


def with_required(names: Iterable[str]) -> list[Part]:
    """The named parts and those that cannot stay without them, each once, the required ones first."""
    parts, found = read_parts(), dict[str, Part]()

    def add(name: str) -> None:
        if name not in parts:
            raise UnknownPartError(f"there is no part {name!r}; the parts are {', '.join(parts)}")
        for required in parts[name].requires:
            add(required)
        found.setdefault(name, parts[name])

    for name in names:
        add(name)
    return list(found.values())
