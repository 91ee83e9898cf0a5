"""Reports what the new migrations would lock, or break for the version of the code that still runs.

python -m dev.lint_migrations

New are the migrations after `released` in the table `tool.migrations` of pyproject.toml. Squawk judges the SQL that
Alembic prints. A migration that accepts such a risk names squawk's rule with the reason:

    ACCEPTED_RISKS = {"ban-drop-column": "no version since 1.3 reads it"}
"""

import io
import os
import subprocess
import sys
import tomllib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.script import Script, ScriptDirectory

PROJECT = Path(__file__).resolve().parents[1]
CONFIG = PROJECT / ".squawk.toml"
SQUAWK = Path(sys.executable).with_name("squawk")


def _toml(file: Path) -> dict[str, Any]:
    return tomllib.loads(file.read_text(encoding="utf-8"))


def newest_released() -> str:
    """The newest revision that a released version has; "base" if there is none."""
    return str(_toml(PROJECT / "pyproject.toml")["tool"]["migrations"]["released"])


def new_migrations(config: Config, released: str) -> Iterator[Script]:
    """The migrations after the released one, oldest first."""
    yield from reversed(list(ScriptDirectory.from_config(config).iterate_revisions("heads", released)))


def sql_of(migration: Script, ini: Path) -> str:
    """What the migration sends to PostgreSQL."""
    output = io.StringIO()
    parent = migration.down_revision or "base"
    command.upgrade(Config(ini, output_buffer=output), f"{parent}:{migration.revision}", sql=True)
    return output.getvalue()


def findings(sql: str, accepted: Collection[str], name: str) -> str:
    """Squawk's report, a line for each problem; empty if there is none."""
    # An --exclude replaces the list in the file.
    excluded = ",".join([*_toml(CONFIG)["excluded_rules"], *accepted])
    options = f"--config {CONFIG.name} --exclude {excluded} --reporter gcc --stdin-filepath {name}".split()
    command_line = [str(SQUAWK), *options]
    result = subprocess.run(command_line, cwd=PROJECT, input=sql, capture_output=True, text=True, check=False)
    if bool(result.returncode) != bool(result.stdout):
        raise RuntimeError(f"squawk failed: {result.stdout}{result.stderr}")
    return result.stdout


def lint(ini: Path, released: str) -> str:
    """The report on all new migrations."""
    reports = []
    for migration in new_migrations(Config(ini), released):
        if migration.is_merge_point:
            continue  # it joins two lines of migrations, and changes no table
        accepted: dict[str, str] = getattr(migration.module, "ACCEPTED_RISKS", {})
        reports.append(findings(sql_of(migration, ini), accepted, Path(migration.path).name))
    return "".join(reports)


def main() -> int:
    """Returns the exit status."""
    os.environ["ENVIRONMENT"] = "local"  # no secrets are needed to print SQL
    report = lint(PROJECT / "src" / "alembic.ini", newest_released())
    if report:
        print(report, end="")
        print("docs/production.md says how to change a table while the previous version runs. To accept a risk:")
        print('ACCEPTED_RISKS = {"rule": "reason"} in the migration.')
    return bool(report)


if __name__ == "__main__":
    sys.exit(main())
