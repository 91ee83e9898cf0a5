"""Changes of the files that a run depends on."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from watchfiles import Change, PythonFilter, watch

_LOOK_MILLISECONDS = 100


@dataclass(frozen=True)
class Changes:
    """What has changed since the last look."""

    code: bool = False
    settings: bool = False
    migrations: bool = False


class _Filter(PythonFilter):
    def __init__(self, env_file: Path) -> None:
        super().__init__()
        self._env_file = env_file

    def __call__(self, change: Change, path: str) -> bool:
        return Path(path) == self._env_file or super().__call__(change, path)


def watch_changes(source: Path) -> Iterator[Changes]:
    """Ten times a second what has changed below `src`; ends after an interrupt."""
    env_file, versions = source / ".env", source / "migrations" / "versions"
    for changes in watch(
        source,
        watch_filter=_Filter(env_file),
        rust_timeout=_LOOK_MILLISECONDS,
        yield_on_timeout=True,
        raise_interrupt=False,
    ):
        paths = {Path(path) for _, path in changes}
        migrations = any(path.parent == versions for path in paths)
        yield Changes(
            code=any(path.suffix == ".py" for path in paths), settings=env_file in paths, migrations=migrations
        )
